"""How the page is served: whole, unframed, never two releases together."""

import re

import pytest

from serve_app.routes.web import FOLDER, page
from tests.support import Live, assert_problem


@pytest.fixture(scope="module")
def addresses(live: Live) -> list[str]:
    """Every address that the document names."""
    return re.findall(r'(?:src|href)="(/web/[^"]+)"', live.client.get("/").text)


def test_the_document_allows_nothing_from_outside_and_no_inline_code(live: Live) -> None:
    """A policy without 'unsafe-inline', no frame around the page, no address told to others."""
    response = live.client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_every_file_is_served_as_it_is_packaged(live: Live, addresses: list[str]) -> None:
    """With its own media type, for ever under its version."""
    assert len(addresses) > 20
    for address in addresses:
        response = live.client.get(address)
        assert response.status_code == 200, address
        assert response.content == (FOLDER / address.split("/", 3)[3]).read_bytes()
        assert "immutable" in response.headers["cache-control"]


def test_every_module_is_named_by_the_document(addresses: list[str]) -> None:
    """So that all come at once, and none is there that nobody loads."""
    named = {address.split("/", 3)[3] for address in addresses}
    assert named == {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.*")} - {"index.html"}


def test_the_document_is_asked_for_anew_and_answered_shortly(live: Live) -> None:
    """A browser that has it is told so; one that has an older one is not."""
    first = live.client.get("/")
    assert first.headers["cache-control"] == "no-cache"
    again = live.client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert live.client.get("/", headers={"If-None-Match": '"older"'}).status_code == 200


def test_a_file_of_another_release_is_not_there(live: Live) -> None:
    """Rather none than one that does not fit the rest; and nothing outside the page's folder is a file of it."""
    assert_problem(live.client.get("/web/0123456789abcdef/js/main.js"), 404, "not_found")
    for path in ("js/none.js", "%2e%2e/service.py", "index.html", ""):
        assert live.client.get(f"/web/{page().version}/{path}").status_code == 404


def test_an_unknown_path_is_a_problem_document(live: Live) -> None:
    """The page's own places are behind the hash, so no other path answers with it."""
    assert_problem(live.client.get("/budget"), 404, "not_found")
    assert_problem(live.client.post("/"), 405, "method_not_allowed")


def test_the_page_names_no_other_origin() -> None:
    """No address with a scheme in any of its files, but for the name of SVG and where a standard is written."""
    allowed = {"http://www.w3.org/2000/svg", "https://html.spec.whatwg.org/multipage/server-sent-events.html"}
    for path in FOLDER.rglob("*.*"):
        assert set(re.findall(r"(?:https?:)//[^\s\"'`)]+", path.read_text())) <= allowed, path
