"""Interleaved rounds: every path is put under load once a round, in turn, so that each round is a fair race."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import row_lock_peer
from benchmarks.load import Generator, LoadResult, allocation_template, run_load
from benchmarks.report import Round

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard to measure.

    Attributes:
        rounds: How often every path is measured.
        seconds: How long each measurement lasts.
        warmup_seconds: How long each path runs before anything is measured.
        concurrency: Connections, each with one request in flight.
        peer_pool_size: Postgres connections of each of the peer's workers.
        peer_workers: Processes that the peer runs.
        generator: What sends the load; the best that is installed when absent.
    """

    rounds: int = 3
    seconds: int = 8
    warmup_seconds: int = 3
    concurrency: int = 32
    peer_pool_size: int = row_lock_peer.DEFAULT_POOL_SIZE
    peer_workers: int = 1
    generator: Generator | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """A path by its name, and the load that it is put under.

    Attributes:
        name: What reports call it.
        url: The endpoint.
        tokens: Bearer tokens, used in turn.
        template: Makes the body for a run, in which `benchmarks.load.SLOT` stands for the number of the request.
    """

    name: str
    url: str
    tokens: Sequence[str]
    template: Callable[[], str] = allocation_template


def measure_rounds(shots: Sequence[Shot], plan: Plan, say: Say) -> list[Round]:
    """Warm every path up, then measure every path once a round.

    Args:
        shots: The paths, in the order in which they take turns.
        plan: How long and how hard to measure.
        say: Told about each measurement as it is made.

    Returns:
        The figures of each round.

    Raises:
        LoadError: One of the services did not answer as it should.
    """
    for shot in shots:
        say(f"warm-up    {shot.name}")
        fire(shot, plan, plan.warmup_seconds)
    return [_measure_round(number, shots, plan, say) for number in range(1, plan.rounds + 1)]


def fire(shot: Shot, plan: Plan, seconds: int) -> LoadResult:
    """Put one path under load."""
    return run_load(
        shot.url,
        shot.tokens,
        concurrency=plan.concurrency,
        seconds=seconds,
        template=shot.template(),
        generator=plan.generator,
    )


def _measure_round(number: int, shots: Sequence[Shot], plan: Plan, say: Say) -> Round:
    figures: dict[str, LoadResult] = {}
    for shot in shots:
        result = fire(shot, plan, plan.seconds)
        say(f"round {number:<4} {shot.name}: {result.rps:,.0f} requests/s")
        figures[shot.name] = result
    return figures
