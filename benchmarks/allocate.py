"""The allocation benchmark: this service beside the service that most teams would write.

Every round puts load, one after the other, on the row-lock peer and on this service with one hot tenant, on this
service's no-op endpoint (the same authentication, body and answer, no ledger) and on the peer's, and on both services
again with 1,000 tenants. All of it runs on one machine against one Postgres.

    python -m benchmarks.allocate
"""

import secrets

from benchmarks.command import run
from benchmarks.findings import Findings, Goal, at_least, at_most
from benchmarks.report import MeasuredPath, Ratio, Report, summarize
from benchmarks.rounds import Plan, Say, Shot, measure_rounds
from benchmarks.services import Target, running_peer

TENANTS = 1_000

PEER_HOT = "row-lock peer, one hot tenant"
OURS_HOT = "allocate, one hot tenant"
BARE = "bare FastAPI no-op"
NOOP = "no-op endpoint"
PEER_MANY = f"row-lock peer, {TENANTS:,} tenants"
OURS_MANY = f"allocate, {TENANTS:,} tenants"

PATHS = (
    MeasuredPath(PEER_HOT),
    MeasuredPath(OURS_HOT, peer=PEER_HOT, noop=NOOP),
    MeasuredPath(BARE),
    MeasuredPath(NOOP, peer=BARE),
    MeasuredPath(PEER_MANY),
    MeasuredPath(OURS_MANY, peer=PEER_MANY, noop=NOOP),
)


def measure(target: Target, plan: Plan, say: Say) -> Findings:
    """Run the benchmark against a running service.

    Args:
        target: The service under test.
        plan: How long and how hard to measure.
        say: Told about each measurement as it is made.

    Returns:
        The figures and what the design wants of them.

    Raises:
        LoadError: One of the services did not answer as it should.
        RuntimeError: The peer did not start.
    """
    run = f"bench-{secrets.token_hex(4)}"
    hot, many = target.tokens(f"{run}-hot", 1), target.tokens(run, TENANTS)
    allocate = target.url("/allocate")
    with running_peer(target, pool_size=plan.peer_pool_size, workers=plan.peer_workers) as peer:
        shots = (
            Shot(PEER_HOT, f"{peer}/allocate", hot),
            Shot(OURS_HOT, allocate, hot),
            Shot(BARE, f"{peer}/noop", many),
            Shot(NOOP, target.url("/noop"), many),
            Shot(PEER_MANY, f"{peer}/allocate", many),
            Shot(OURS_MANY, allocate, many),
        )
        report = summarize(PATHS, measure_rounds(shots, plan, say))
    return Findings("allocate", report.lines(), goals_of(report), report.figures())


def goals_of(report: Report) -> list[Goal]:
    """What the design wants of these figures."""
    many = report.row(OURS_MANY)
    return [
        at_least(f"{OURS_HOT}: times the peer", _median(report.row(OURS_HOT).to_peer), 3),
        at_least(f"{OURS_MANY}: times the peer", _median(many.to_peer), 1.7),
        at_least(f"{OURS_MANY}: times the no-op", _median(many.to_noop), 0.85),
        at_most(f"{OURS_MANY}: p99 in ms", many.p99_ms, 50, places=1),
        at_least(f"{NOOP}: times the {BARE}", _median(report.row(NOOP).to_peer), 0.85),
    ]


def _median(ratio: Ratio | None) -> float:
    assert ratio is not None, "PATHS says what each of these is compared with"
    return ratio.median


if __name__ == "__main__":
    run("benchmarks.allocate", __doc__, measure)
