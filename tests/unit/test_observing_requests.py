"""Ids of requests, and lines of the log: what goes in, and what stays out whatever a caller sends."""

import logging
from collections.abc import Iterator

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serve_app.client.context import REQUEST_ID, TRACEPARENT, context_headers
from serve_app.direct import DirectAnswers
from serve_app.logs import LOGGER
from serve_app.observing.request_ids import request_id
from serve_app.observing.requests import about
from serve_app.problems import Code, Problem
from serve_app.service import new_app
from tests.log_lines import Lines, written

ALICE = "alice@example.com"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The service's log from now on."""
    with written() as lines:
        yield lines


def app_of() -> FastAPI:
    """An app with a route for each way to end."""
    app = new_app("Trial")

    @app.get("/people/{name}")
    async def person(name: str) -> dict[str, str | None]:
        about(tenant_id="clinic", job_id=name)
        return {"seen": REQUEST_ID.get(), "passed_on": context_headers().get("X-Request-ID")}

    @app.get("/refused/{name}")
    async def refused(name: str) -> None:
        raise Problem(Code.CONFLICT, "It is taken.")

    @app.get("/bug/{name}")
    async def bug(name: str) -> None:
        try:
            int(name)
        except ValueError as error:
            raise KeyError(name) from error

    included = APIRouter()

    @included.get("/inner/{name}")
    async def inner(name: str) -> None:
        """Answers nothing."""

    app.include_router(included, prefix="/outer")

    @app.get("/health/ready")
    async def probe(status: int) -> Response:
        return Response(status_code=status)

    return app


async def get(path: str, **headers: str) -> httpx.Response:
    """One request."""
    transport = httpx.ASGITransport(app_of(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://trial") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True))
def test_a_plain_short_name_is_taken(name: str) -> None:
    """The caller's own id stays what it was."""
    assert request_id(name.encode()) == name.encode()


@given(st.one_of(st.none(), st.binary(max_size=80).filter(lambda given: not given.isalnum())))
def test_whatever_else_is_sent_the_id_is_plain(given_id: bytes | None) -> None:
    """What is echoed and logged has no control character, no space and no @, and is not long."""
    named = request_id(given_id).decode("ascii")
    assert 0 < len(named) <= 64
    assert named.replace("-", "").replace(".", "").replace("_", "").replace(":", "").isalnum()


def test_ids_that_are_made_differ() -> None:
    """Two requests, two ids."""
    assert request_id(None) != request_id(None)


@pytest.mark.parametrize("path", ["/people/x", "/refused/x", "/bug/x", "/nowhere"])
async def test_every_answer_carries_the_id(path: str) -> None:
    """Also where the request was refused, failed, or met no route."""
    response = await get(path, x_request_id="mine-1")
    assert response.headers.get_list("x-request-id") == ["mine-1"]


async def test_the_id_goes_along_with_calls_that_are_made_meanwhile() -> None:
    """A client that is used while the request is answered sends it."""
    assert (await get("/people/x", x_request_id="mine-2")).json() == {"seen": "mine-2", "passed_on": "mine-2"}


def test_outside_of_a_request_a_client_adds_nothing() -> None:
    """An engine's own process has no request of the service's."""
    tokens = REQUEST_ID.set(None), TRACEPARENT.set(None)
    assert context_headers() == {}
    REQUEST_ID.reset(tokens[0])
    TRACEPARENT.reset(tokens[1])


async def test_a_request_has_one_line_with_its_route_and_not_its_path(lines: Lines) -> None:
    """The template, the status, the time, and whom it is about."""
    await get("/people/j1", x_request_id="mine-3")
    (line,) = lines.of("request")
    assert line.pop("ms") >= 0
    assert line.pop("timestamp")
    assert line == {
        "event": "request", "level": "info", "app": "Trial", "method": "GET", "route": "/people/{name}", "status": 200,
        "request_id": "mine-3", "tenant_id": "clinic", "job_id": "j1",
    }  # fmt: skip


async def test_a_route_of_an_included_router_is_told_whole(lines: Lines) -> None:
    """With the router's prefix."""
    await get("/outer/inner/x")
    assert [line["route"] for line in lines.of("request")] == ["/outer/inner/{name}"]


async def test_a_probe_has_a_line_only_where_something_is_wrong(lines: Lines) -> None:
    """Once a second all is well would hide what is not."""
    for status in (200, 404, 503):
        await get(f"/health/ready?status={status}")
    assert [line["status"] for line in lines.of("request")] == [503]


@pytest.mark.parametrize("path", ["people", "refused", "bug", "nowhere"])
async def test_what_a_caller_writes_is_not_in_the_log(lines: Lines, path: str) -> None:
    """Neither the path nor a header nor the words of an exception."""
    await get(f"/{path}/{ALICE}?email={ALICE}", x_request_id=ALICE, user_agent=ALICE, authorization=f"Bearer {ALICE}")
    (line,) = lines.of("request")
    assert line["status"] == {"people": 200, "refused": 409, "bug": 500, "nowhere": 404}[path]
    assert "alice" not in lines.text


async def test_a_bug_is_told_by_kinds_and_places(lines: Lines) -> None:
    """What failed, why, and where; one line."""
    await get(f"/bug/{ALICE}")
    (line,) = lines.of("unhandled_error")
    assert line["exception"] == ["KeyError", "ValueError"]
    assert any("test_observing_requests.py" in place for place in line["at"])


def test_lines_of_others_are_objects_too_and_bear_what_ray_knows(lines: Lines) -> None:
    """Ray Serve's own lines go through the same formatter; so does its knowledge of who writes."""
    logging.getLogger(LOGGER).warning("a line of Ray's", extra={"replica": "r1", "application": "budget"})
    (line,) = lines.of("a line of Ray's")
    assert (line["replica"], line["application"], line["level"]) == ("r1", "budget", "warning")


def test_a_jobs_name_that_may_be_a_persons_is_left_out() -> None:
    """A plain name is bound, other text is not."""
    with structlog.contextvars.bound_contextvars():
        structlog.contextvars.clear_contextvars()
        about(tenant_id="*", job_id="Alice Smith")
        assert structlog.contextvars.get_contextvars() == {}
        about(tenant_id="clinic", job_id="run-7")
        assert structlog.contextvars.get_contextvars() == {"tenant_id": "clinic", "job_id": "run-7"}
        structlog.contextvars.clear_contextvars()


async def test_ray_sees_and_says_only_an_id_that_may_be_shown() -> None:
    """What stands outside of Ray Serve names the request, and the answer has one id though Ray adds its own."""
    seen: list[Message] = []

    async def ray(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"])[b"x-request-id"]
        headers = [(b"x-request-id", given), (b"X-Request-ID", given), (b"a", b"b")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        seen.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"Alice Smith"), (b"c", b"d")]}
    await DirectAnswers(ray)(scope, receive, send)
    (start,) = seen
    assert start["headers"][0] == (b"a", b"b")
    ((name, value),) = start["headers"][1:]
    assert name == b"x-request-id"
    assert b"Alice" not in value
