"""Postgres goes away under load and comes back: nothing is answered that is not so, nothing has to be restarted."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from accounting.storage import embedded
from accounting.storage.migrate import prepare_database
from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.integration.test_log_http import events
from tests.support import APPLY, BATCH, PICTURE, PLAN, Live, Serving, WholeService, assert_problem, free_port


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Postgres that runs and may be stopped."""
    folder = tmp_path_factory.mktemp("pg")
    embedded.start(folder)
    yield folder
    embedded.stop(folder)


@pytest.fixture
def fragile(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service of its own on that Postgres."""
    admin_url = embedded.start(database)
    urls = prepare_database(admin_url, "fragile", "onlyForTests1")
    listener = free_port()
    home = tmp_path_factory.mktemp("home")
    settings = Settings.model_validate({"home": home, "port": listener.getsockname()[1]})
    service = Service(settings, urls.service, urls.recorder)
    with (
        Serving(WholeService(service), listener),
        httpx.Client(base_url=settings.base_url, timeout=60) as client,
    ):
        yield Live(service, client, admin_url)


def test_an_outage_is_told_and_passes(fragile: Live, database: Path) -> None:
    """Without its database the service answers 503; once it is back, nothing is lost or charged twice."""
    engine = fragile.new()
    first = engine.allocate(job_id="before", epsilon="1").json()
    embedded.stop(database)

    refused = [
        engine.allocate(job_id="during", epsilon="1"),
        engine.allocate(job_id="before", epsilon="3"),
        engine.get(f"{PREFIX}/budget/{engine.tenant}"),
        engine.settle(first["allocation_id"], "commit"),
        engine.get(f"{PREFIX}/proof/before"),
        engine.get(PICTURE),
        engine.get(f"{PREFIX}/composition/00000000-0000-8000-8000-000000000000"),
        engine.get("/health/ready"),
        engine.get(f"{PREFIX}/log/entries"),
        engine.get(f"{PREFIX}/log/head"),
        engine.get(f"{PREFIX}/log/health"),
        engine.post(APPLY, json={"mechanism": "laplace", "epsilon": 1, "sensitivity": 1, "data": 1}),
        engine.post(PLAN, json={"name": "p", "steps": [{"step_name": "s", "mechanism": "laplace", "epsilon": 1}]}),
    ]
    for response in refused:
        assert_problem(response, 503, "unavailable")
        assert response.headers["retry-after"]
    batch = engine.post(BATCH, json={"allocations": [{"job_id": "during", "epsilon": "1"}]}).json()["results"]
    assert [result["status_code"] for result in batch] == [503]
    assert engine.get("/health/live").status_code == 200
    # A stream that begins all the same ends at once, without an event: its reader comes back.
    assert "data:" not in engine.get(f"{PREFIX}/log/events", params={"start": 0}).text

    embedded.start(database)
    ready = engine.get("/health/ready")
    assert ready.status_code == 200, ready.text
    assert engine.allocate(job_id="before", epsilon="1").json() == first
    assert engine.allocate(job_id="during", epsilon="1").status_code == 200
    assert engine.allocate(job_id="during", epsilon="1").headers["idempotency-replayed"] == "true"
    assert engine.state().spent == "2"
    sent = events(engine, 3)
    assert [one.data["job_id"] for one in sent] == [None, "before", "during"]
