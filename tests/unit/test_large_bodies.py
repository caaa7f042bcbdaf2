"""Large bodies come into a replica one at a time, so that its memory holds them."""

from contextlib import asynccontextmanager

import pytest
from fastapi import Request

from serve_app.problems import Code, Problem
from serve_app.requests import MAX_BODY
from serve_app.routes import large_bodies
from serve_app.routes.large_bodies import LargeBodies

LARGE, UNSAID = str(MAX_BODY + 1), None


def sent(length: str | None) -> Request:
    """A request whose header says that its body has that length."""
    headers = [] if length is None else [(b"content-length", length.encode())]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize("length", [LARGE, UNSAID, "-1", "many"])
async def test_a_large_body_waits_for_the_one_before_it(monkeypatch: pytest.MonkeyPatch, length: str | None) -> None:
    """No longer than patience lasts; then it is asked to come again. One of unknown length counts as large."""
    monkeypatch.setattr(large_bodies, "PATIENCE_SECONDS", 0.01)
    turn = asynccontextmanager(LargeBodies())
    async with turn(sent(LARGE)):
        with pytest.raises(Problem) as caught:
            async with turn(sent(length)):
                pass
    assert caught.value.code is Code.UNAVAILABLE
    async with turn(sent(length)):
        pass


async def test_the_turn_ends_with_the_request_however_it_ends() -> None:
    """A request that fails does not keep the others out."""
    turn = asynccontextmanager(LargeBodies())
    with pytest.raises(ZeroDivisionError):
        async with turn(sent(LARGE)):
            raise ZeroDivisionError
    async with turn(sent(LARGE)):
        pass


async def test_a_small_body_passes_by() -> None:
    """The limit is inclusive."""
    turn = asynccontextmanager(LargeBodies())
    async with turn(sent(LARGE)), turn(sent(str(MAX_BODY))), turn(sent("0")):
        pass
