"""A ledger that is not the one that was published: nothing is decided on it, everybody is told why, and it passes."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from accounting.admission import Outcome
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.ledger.store import StoreUnavailableError
from deployments.budget.owner import BudgetOwner, HaltedError, OwnerSettings
from deployments.outbox.witness import Witness
from proofs.heads import Head, head_of, sign_head
from serve_app.config import Settings
from serve_app.routes import standing as standing_module
from serve_app.routes.standing import UNKNOWN, guarded
from tests.ledgers import asked, opened, spent
from tests.support import assert_problem
from tests.unit.test_budget_app import BODY, KEY, serving

HEAVY = {"kind": "self_composed", "event": {"kind": "laplace", "scale": 10, "sensitivity": 1}, "count": 2}


class Guard:
    """A standing that a test decides. Each question waits for its answer, so nothing depends on time."""

    def __init__(self, first: str | Exception | None) -> None:
        self._answers: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self._answers.put_nowait(first)
        self._asked = asyncio.Event()

    async def __call__(self) -> str | None:
        self._asked.set()
        answer = await self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def says(self, answer: str | Exception | None) -> None:
        """Answers the question that waits; returns when the next is asked: the answer has had its effect."""
        await self._asked.wait()
        self._asked.clear()
        self._answers.put_nowait(answer)
        await self._asked.wait()


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standing is asked again at once."""
    monkeypatch.setattr(standing_module, "PAUSE_SECONDS", 0)


async def answers(client: httpx.AsyncClient, key: str) -> list[httpx.Response]:
    """What is answered to everything that would decide something."""
    identity = "00000000-0000-8000-8000-000000000000"
    return [
        await client.post("/allocate", json=BODY, headers={"Idempotency-Key": key}),
        await client.post("/allocate", json={"job_id": f"{key}, heavy", "event": HEAVY}),
        await client.put("/t", json={"epsilon": 20}),
        await client.put("/t/legal-hold", json={"in_force": True, "reason": "x"}),
        await client.put("/t/datasets/d", json={"epsilon": 1, "privacy_unit": "patient", "adjacency": "add_remove"}),
        await client.post(f"/allocations/{identity}/commit"),
    ]


@pytest.mark.usefixtures("restless")
async def test_a_ledger_that_went_back_decides_nothing_until_it_is_well_again(tmp_path: Path) -> None:
    """Every decision is refused with the reason and a time to come back, batch items too; then all goes on."""
    store = MemoryLedgerStore()
    guard = Guard(None)
    async with serving(store, tmp_path, guard) as client:
        allocated = await client.post("/allocate", json=BODY)
        assert allocated.status_code == 200
        before = await store.history("t")
        await guard.says("The database went back.")
        refused = await answers(client, "halted")
        assert refused.pop().status_code == 404  # there is nothing to decide
        identity = allocated.json()["allocation_id"]
        for response in (*refused, await client.post(f"/allocations/{identity}/commit")):
            document = assert_problem(response, 503, "unavailable")
            assert "Nothing is decided" in document["detail"]
            assert document["detail"].endswith("The database went back.")
            assert response.headers["retry-after"] == "10"
        batch = [BODY | {"job_id": "a"}, {"job_id": "b", "event": HEAVY}]
        for item in (await client.post("/allocate:batch", json={"allocations": batch})).json()["results"]:
            assert (item["status_code"], item["problem"]["code"]) == (503, "unavailable")
            assert "went back" in item["problem"]["detail"]
        assert await store.history("t") == before
        assert (await client.get("/t")).status_code == 200
        await guard.says(None)
        assert [response.status_code for response in await answers(client, "well")] == [200] * 5 + [404]


@pytest.mark.usefixtures("restless")
async def test_before_the_first_answer_nothing_is_decided(tmp_path: Path) -> None:
    """A guard that cannot be asked at the start halts the service; later the last standing holds."""
    guard = Guard(StoreUnavailableError("postgres://secret"))
    async with serving(MemoryLedgerStore(), tmp_path, guard) as client:
        document = assert_problem(await client.post("/allocate", json=BODY), 503, "unavailable")
        assert UNKNOWN in document["detail"]
        assert "secret" not in document["detail"]
        await guard.says(None)
        assert (await client.post("/allocate", json=BODY)).status_code == 200
        await guard.says(RuntimeError("gone again"))
        assert (await client.post("/allocate", json=BODY | {"job_id": "k"})).status_code == 200
        await guard.says("It went back")
        await guard.says(RuntimeError("gone again"))
        assert_problem(await client.post("/allocate", json=BODY | {"job_id": "l"}), 503, "unavailable")


async def test_what_is_remembered_is_read_anew_after_a_halt(tmp_path: Path) -> None:
    """The ledger may be another one then: an owner that went on from memory would decide on what is gone."""
    store = MemoryLedgerStore()
    owner = BudgetOwner(store, OwnerSettings(Settings().limits(), Settings().default_budget()))
    owner.start()
    assert (await owner.submit(asked("t", "1", key="k"))).outcome is Outcome.ADMITTED
    owner.halt("for a while")
    with pytest.raises(HaltedError, match="for a while"):
        await owner.submit(asked("t", "1"))
    store.__dict__.update(MemoryLedgerStore().__dict__)
    owner.halt(None)
    assert (await owner.submit(asked("t", "1", key="k"))).outcome is Outcome.ADMITTED
    assert (await store.history("t"))[-1].seq == 2
    await owner.stop()


async def test_the_guards_verdict_is_told_without_places_and_numbers(tmp_path: Path) -> None:
    """What was found, in a sentence for each verdict; where the witness is, the log tells operators and nobody else."""
    store = MemoryLedgerStore()
    first = opened("t")
    await store.append([first, spent(first, asked("t", "1"))])
    log = MemoryLog(store)
    path = tmp_path / "witness.json"
    standing = guarded(Witness(path, lambda: [KEY.public_jwk]), lambda: log)

    async def told(head: Head) -> str | None:
        kept = {"format": "privacy-engine-witness", "accepted": [], "head": sign_head(head, KEY)}
        path.write_text(json.dumps(kept))
        return await standing()

    assert await standing() is None
    now, another = datetime.now(UTC), "00000000-0000-4000-8000-000000000000"
    published = await head_of(log, now)
    assert await told(published) is None
    behind = replace(published, size=2, root="00" * 32)
    assert (
        await told(behind)
        == "The database has fewer entries than the last published head: it went back to an earlier state"
    )
    await log.sequence()
    assert await told(behind) == "The database lacks entries of the last published head: it went back, or was changed"
    assert await told(replace(published, log_id=another)) == "The database is not the one whose head was published last"
    path.write_text("damaged")
    assert await standing() == "The last published head cannot be read"
    path.unlink()
    assert await standing() is None
