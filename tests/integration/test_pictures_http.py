"""Pictures of a tenant's loss over HTTP, and the numbers in them."""

import xml.etree.ElementTree as ElementTree
from decimal import Decimal

import pytest

from tests.support import PICTURE, Caller, Live, assert_problem


@pytest.fixture
def engine(live: Live) -> Caller:
    """An engine whose tenant has a little history."""
    caller = live.new(epsilon="3")
    for epsilon in ("0.5", "0.25"):
        caller.allocate(epsilon=epsilon)
    held = caller.allocate(epsilon="1", mode="reserve").json()
    caller.settle(held["allocation_id"], "void")
    return caller


def test_a_picture_is_a_png(engine: Caller) -> None:
    """Unless asked otherwise, the picture is a whole PNG file, from signature to end chunk."""
    response = engine.get(PICTURE)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert response.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert response.content.endswith(b"IEND\xaeB`\x82")


def test_a_picture_is_an_svg(engine: Caller) -> None:
    """Asked for SVG, the picture is well-formed XML with an SVG root."""
    response = engine.get(PICTURE, params={"format": "svg"})
    assert response.headers["content-type"].startswith("image/svg+xml")
    assert ElementTree.fromstring(response.content).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_numbers_are_those_of_the_ledger(engine: Caller) -> None:
    """Asked for JSON, the answer has one point for each ledger entry, with the balance spent there."""
    answer = engine.get(PICTURE, params={"format": "json"}).json()
    assert answer["tenant_id"] == engine.tenant
    assert len(answer["times"]) == engine.state().seq == 5
    text = str(answer)
    for spent in ("0.5", "0.75", "1.75"):
        assert f"'{spent}'" in text or str(float(Decimal(spent))) in text


def test_a_renewing_budget_tells_the_loss_over_all_windows(live: Live) -> None:
    """Beside the window's, and when windows began; in the first window both are the same."""
    admin = live.new("admin")
    assert admin.put_budget(epsilon="3", delta="0.00001", renewal_days=30).status_code == 200
    admin.allocate(epsilon="0.5")
    answer = admin.get(PICTURE, params={"format": "json"}).json()
    assert answer["renewals"] == []
    exact = answer["members"]["basic"]["exact"]
    assert exact["epsilon_lifetime"] == exact["epsilon_spent"] == ["0", "0.5"]
    assert admin.get(PICTURE).status_code == 200


def test_each_filter_of_the_budget_can_be_drawn(engine: Caller) -> None:
    """Every filter that the numbers name has a picture of its own, unlike the others."""
    filters = engine.get(PICTURE, params={"format": "json"}).json()["members"]
    assert list(filters) == ["basic", "renyi"]
    drawn = {name: engine.get(PICTURE, params={"format": "svg", "member": name}).content for name in filters}
    assert len(set(drawn.values())) == 2
    assert engine.get(PICTURE, params={"format": "svg"}).content == drawn["basic"]


def test_a_filter_that_the_budget_lacks_is_refused(engine: Caller) -> None:
    """A kind of filter that exists elsewhere is refused by name, with those there are here."""
    document = assert_problem(engine.get(PICTURE, params={"member": "gdp"}), 404, "not_found", "member")
    assert "basic, renyi" in document["detail"]


def test_a_tenant_without_a_budget_has_no_picture(live: Live) -> None:
    """There is no empty picture: a tenant without a ledger is unknown."""
    assert_problem(live.new("viewer").get(PICTURE), 404, "unknown_tenant")


def test_another_tenants_picture_is_refused(live: Live, engine: Caller) -> None:
    """Naming another tenant is forbidden, even one that has a picture."""
    refused = live.new("viewer").get(PICTURE, params={"tenant_id": engine.tenant})
    assert_problem(refused, 403, "forbidden")


@pytest.mark.parametrize(("name", "value"), [("format", "gif"), ("member", "pld")])
def test_a_picture_of_what_there_is_not_is_refused(engine: Caller, name: str, value: str) -> None:
    """An unknown format or member is refused by name rather than replaced by a default."""
    assert_problem(engine.get(PICTURE, params={name: value}), 422, "invalid_request", name)
