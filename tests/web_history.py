"""Tenants with some days behind them, for a page that shows days: entries of past times, decided as at those times."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from accounting.admission import Allocate
from accounting.datasets import Dataset
from accounting.events import Adjacency, ClaimEvent, Event, GaussianEvent, LaplaceEvent
from accounting.filters import standard_budget
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import Entry
from accounting.plans import price
from accounting.policy import SetBudget, SetDataset, decide_budget, decide_dataset
from tests.ledgers import dataset_in, loss, spent

ENGINES = ("tabular", "tabular", "text", "healthcare", "image")
WORK: dict[str, tuple[str, Event, str]] = {
    "weekly-counts": ("counts per ward and week", LaplaceEvent(Decimal(10), Decimal(1)), "0"),
    "length-of-stay": ("mean length of stay", GaussianEvent(Decimal(40), Decimal(1)), "0.0000001"),
    "notes-embedding": ("release of note embeddings", GaussianEvent(Decimal(30), Decimal(1)), "0.0000001"),
    "readmission-study": ("histogram of readmissions", ClaimEvent(Decimal("0.125"), Decimal(0)), "0"),
    "age-pyramid": ("age pyramid", LaplaceEvent(Decimal(20), Decimal(1)), "0"),
}
DATASETS = (
    (Dataset("admissions", "patient", Adjacency.ADD_REMOVE), "6"),
    (Dataset("visits", "patient", Adjacency.ADD_REMOVE, ("north", "south"), "by ward of admission"), "4"),
)


def history(
    tenant_id: str, now: datetime, *, epsilon: str = "12", days: int = 12, most: int = 6, seed: int = 7
) -> list[Entry]:
    """A tenant that has spent some of a budget of thirty days, up to a few hours ago.

    Args:
        tenant_id: Whose.
        now: The present moment.
        epsilon: What the budget promises.
        days: For how long.
        most: Operations on one day, at most.
        seed: Of the choices.
    """
    chance = random.Random(seed)
    begin = now - timedelta(days=days, hours=3)
    held = standard_budget(loss(epsilon, "0.00002"))
    opening = SetBudget(tenant_id, held, f"admin@{tenant_id}", renewal_days=30, renewal_stated=True)
    entries = list(decide_budget(None, opening, begin).entries)
    for dataset, share in DATASETS:
        request = SetDataset(tenant_id, dataset, standard_budget(loss(share, "0.00001")), f"admin@{tenant_id}")
        entries += decide_dataset(entries[-1], None, request, begin + timedelta(minutes=5)).entries
    moments = sorted(
        begin + timedelta(days=day, hours=chance.uniform(1, 20))
        for day in range(days)
        for _ in range(chance.randint(1, most))
    )
    for moment in moments:
        entries.append(_operation(entries, tenant_id, moment, chance))
    return entries


def _operation(entries: Sequence[Entry], tenant_id: str, moment: datetime, chance: random.Random) -> Entry:
    job, (purpose, event, delta) = chance.choice(list(WORK.items()))
    engine = chance.choice(ENGINES)
    dataset_id = chance.choice(["admissions", "admissions", "visits", None])
    key = uuid4().hex
    request = Allocate(
        tenant_id=tenant_id,
        job_id=f"{job}-{moment:%m%d}",
        event=event,
        loss=price(event, Decimal(delta)),
        key=key,
        request_hash=sha256(key).hex(),
        source_engine=engine,
        actor=f"{engine}-engine",
        details={"purpose": purpose},
        ttl_seconds=None,
        dataset_id=dataset_id,
        partition=chance.choice(["north", "south"]) if dataset_id == "visits" else None,
    )
    return spent(entries[-1], request, moment, dataset_in(entries, dataset_id) if dataset_id else None)
