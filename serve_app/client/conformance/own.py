"""This client as an adapter, and an example of how to write one."""

import asyncio
from collections.abc import Callable, Mapping

from serve_app.client.conformance.adapter import Outcome
from serve_app.client.engine import AsyncPrivacyEngine, PrivacyEngine
from serve_app.client.errors import CommitUnconfirmedError, RefusedError, ServiceUnreachableError
from serve_app.client.requests import Spend


def spend(base_url: str, token: str, request: Mapping[str, str], read_data: Callable[[], None]) -> Outcome:
    """Spends at once, with the operation's own name as the key."""
    with PrivacyEngine(base_url, token) as engine:
        try:
            engine.allocate(_spend(request), key=request["operation"])
        except (RefusedError, ServiceUnreachableError) as error:
            return _outcome(error)
        read_data()
        return Outcome.SPENT


def spend_with_journal(base_url: str, token: str, request: Mapping[str, str], read_data: Callable[[], None]) -> Outcome:
    """Spends at once, with a key that the client makes and keeps; what a crash left over is repeated first."""
    with PrivacyEngine(base_url, token, journal=f"{request['folder']}/journal") as engine:
        for _, came_to in engine.resume():
            if isinstance(came_to, RefusedError | ServiceUnreachableError):
                return _outcome(came_to)
            read_data()
            return Outcome.SPENT
        try:
            engine.allocate(_spend(request))
        except (RefusedError, ServiceUnreachableError) as error:
            return _outcome(error)
        read_data()
        return Outcome.SPENT


def spend_async(base_url: str, token: str, request: Mapping[str, str], read_data: Callable[[], None]) -> Outcome:
    """The same by the asynchronous client."""

    async def work() -> Outcome:
        async with AsyncPrivacyEngine(base_url, token) as engine:
            try:
                await engine.allocate(_spend(request), key=request["operation"])
            except (RefusedError, ServiceUnreachableError) as error:
                return _outcome(error)
            read_data()
            return Outcome.SPENT

    return asyncio.run(work())


def hold(base_url: str, token: str, request: Mapping[str, str], read_data: Callable[[], None]) -> Outcome:
    """Holds, reads, commits."""
    with PrivacyEngine(base_url, token) as engine:
        try:
            with engine.reserve(_spend(request)) as held:
                held.reading()
                read_data()
        except CommitUnconfirmedError:
            return Outcome.UNKNOWN
        except (RefusedError, ServiceUnreachableError) as error:
            return _outcome(error)
        return Outcome.SPENT


def _spend(request: Mapping[str, str]) -> Spend:
    return Spend(job_id=request["job_id"], epsilon=request["epsilon"], delta=request["delta"])


def _outcome(error: RefusedError | ServiceUnreachableError) -> Outcome:
    unknown = isinstance(error, ServiceUnreachableError) or error.passing
    return Outcome.UNKNOWN if unknown else Outcome.NOT_SPENT
