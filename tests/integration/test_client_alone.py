"""An engine's machine: this client and httpx, and nothing else of ours; it spends, holds and trains from there."""

from pathlib import Path

import pytest

from tests.integration.test_checker_alone import SERVICE, Machine
from tests.support import Caller, Live

CLIENT = ("serve_app/__init__.py", "serve_app/client")
PROGRAM = """
import asyncio, sys
from serve_app.client.engine import AsyncPrivacyEngine, PrivacyEngine
from serve_app.client.requests import Spend, repeated

url, token, journal, tenant = sys.argv[1:]
step_event = {"kind": "laplace", "scale": "10", "sensitivity": 1}
with PrivacyEngine(url, token, journal=journal) as engine:
    engine.allocate(Spend(job_id="j", epsilon="0.1"))
    with engine.reserve(Spend(job_id="j", epsilon="0.1")) as hold:
        hold.reading()
    step = engine.private_steps(Spend(job_id="j", event=step_event), steps=5)(lambda: None)
    with step:
        step()

async def main():
    async with AsyncPrivacyEngine(url, token) as engine, engine.batching() as batch:
        await asyncio.gather(*(batch.allocate(Spend(job_id="j", epsilon="0.1")) for _ in range(3)))
        print((await engine.budget(tenant)).balance.used.epsilon)

asyncio.run(main())
service = [name for name in SERVICE if name in sys.modules]
assert not service, service
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with the client alone."""
    return Machine(tmp_path_factory.mktemp("engine"), ["httpx"], CLIENT)


def test_the_client_alone_needs_httpx_and_no_service(bare: Machine) -> None:
    """What httpx rests on is all that is installed; no part of the service can be found there."""
    assert set(bare.installed) >= {"httpx", "httpcore", "h11", "anyio", "certifi", "idna"}
    assert len(bare.installed) <= 8
    absent = [name for name in SERVICE if name != "serve_app"]
    assert bare.finds(absent) == []


def test_an_engine_works_from_there(bare: Machine, live: Live, engine: Caller, tmp_path: Path) -> None:
    """Every way to spend, against the real service; nothing of the service is loaded."""
    program = PROGRAM.replace("SERVICE", repr([name for name in SERVICE if name != "serve_app"]))
    address = live.service.settings.base_url
    ended = bare.run("-c", program, address, str(engine.token), str(tmp_path / "journal"), engine.tenant)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "0.6\n"
    assert engine.state().spent == "0.6"


def test_the_conformance_suite_runs_there(bare: Machine) -> None:
    """It brings its own stand-in for the service, so that an author needs no service at all."""
    listed = bare.run("-m", "serve_app.client.conformance", "--help")
    assert listed.returncode == 0, listed.stderr
    unknown = bare.run("-m", "serve_app.client.conformance", "no.such:adapter")
    assert unknown.returncode == 2
    assert "no.such cannot be imported" in unknown.stderr
