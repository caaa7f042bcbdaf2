"""Allocations by the hundred: `allocate:batch` beside a peer that takes a hundred in one transaction.

python -m benchmarks.batch
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import httpx

from benchmarks.command import run
from benchmarks.findings import Findings, at_least
from benchmarks.load import LoadError, batch_template
from benchmarks.report import MeasuredPath, Round, summarize
from benchmarks.rounds import Plan, Say, Shot, measure_rounds
from benchmarks.services import Target, running_peer

SIZE = 100
CALLERS = 4
"""Enough to keep a service busy: a call is the work of a hundred."""

PEER = f"row-lock peer, {SIZE} a call"
OURS = f"allocate:batch, {SIZE} a call"
PATHS = (MeasuredPath(PEER, each=SIZE), MeasuredPath(OURS, peer=PEER, each=SIZE))


def measure(target: Target, plan: Plan, say: Say) -> Findings:
    """Run the benchmark against a running service. Arguments and errors as for `benchmarks.allocate.measure`."""
    prefix = f"bench-{secrets.token_hex(4)}-batch"
    hot = target.tokens(prefix, 1)
    template = partial(batch_template, SIZE)
    with running_peer(target, pool_size=plan.peer_pool_size, workers=plan.peer_workers) as peer:
        shots = (
            Shot(PEER, f"{peer}/allocate:batch", hot, template),
            Shot(OURS, target.url("/allocate:batch"), hot, template),
        )
        rounds = measure_rounds(shots, replace(plan, concurrency=CALLERS), say)
    _check_charged(target.url(f"/{prefix}-0000"), hot[0], rounds)
    report = summarize(PATHS, rounds)
    wanted = at_least(f"{OURS}: allocations a second", report.row(OURS).per_second, 10_000, places=0)
    return Findings("batch", report.lines(), [wanted], report.figures())


def _check_charged(budget_url: str, token: str, rounds: Sequence[Round]) -> None:
    """Compare with the ledger: a call that answers 200 could still have refused every one of its allocations."""
    answered = sum(figures[OURS].requests for figures in rounds) * SIZE
    budget = httpx.get(budget_url, headers={"Authorization": f"Bearer {token}"}, timeout=10).raise_for_status()
    charged = int(budget.json()["allocation_count"])
    if charged < answered:
        raise LoadError(f"{answered:,} allocations were answered, but the budget counts {charged:,}")


if __name__ == "__main__":
    run("benchmarks.batch", __doc__, measure)
