"""How the loops that run beside the service stand: what keeps the log, and what looks after trainings."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deployments.outbox.keeper import HeadPublisher, Sequencer
from deployments.outbox.loops import LoopHealth
from deployments.outbox.relay import Relay
from deployments.outbox.sweeper import Sweeper
from deployments.outbox.watch import Watch
from deployments.training.dispatcher import Dispatcher
from serve_app.observing import catalogue
from serve_app.observing.budgets import Gauges
from serve_app.observing.catalogue import Metric
from serve_app.observing.meter import Labels
from serve_app.observing.tallies import Tallies

PHASES = ("waiting", "starting", "running", "cancelling", "settling")


@dataclass(frozen=True)
class LogLoops:
    """What keeps the log of one database.

    Attributes:
        watch: Knows how long the log is.
        sequencer: Puts entries in order.
        heads: Publishes heads.
        sweeper: Ends holds whose time has passed.
        relays: Pass events on, by name.
        health: How each of their loops stands.
    """

    watch: Watch
    sequencer: Sequencer
    heads: HeadPublisher
    sweeper: Sweeper
    relays: Mapping[str, Relay]
    health: Sequence[LoopHealth]


def log_gauges(tallies: Tallies, logs: Sequence[LogLoops]) -> Callable[[], Gauges]:
    """What reads the gauges of the logs: amounts of all databases together, and the worst of their ages and lags."""
    swept = tallies.count(catalogue.SWEPT)

    def read() -> Gauges:
        swept.value = sum(log.sweeper.ended for log in logs)
        found: dict[tuple[Metric, Labels], float] = {}
        for log in logs:
            for key, value in _of_log(log).items():
                known = found.get(key, 0)
                found[key] = known + value if key[0] in _AMOUNTS else max(known, value)
        return found

    return read


_AMOUNTS = (catalogue.LOG_SIZE, catalogue.OVERDUE_HOLDS)


def _of_log(log: LogLoops) -> Gauges:
    now, size, published = time.monotonic(), log.watch.size, log.heads.published
    found: dict[tuple[Metric, Labels], float] = {
        (catalogue.LOG_SIZE, ()): size,
        (catalogue.HEAD_AGE, ()): now - log.heads.covered_at,
        (catalogue.HEAD_LAG, ()): 0 if published is None else size - published,
        (catalogue.SEQUENCER_LAG, ()): now - log.sequencer.looked_at,
        (catalogue.OVERDUE_HOLDS, ()): log.sweeper.found,
    }
    for name, relay in log.relays.items():
        if relay.position is not None:
            found[catalogue.RELAY_LAG, (name,)] = max(size - relay.position, 0)
    return {**found, **_failures(log.health)}


def training_gauges(tallies: Tallies, dispatcher: Dispatcher, loops: Sequence[LoopHealth]) -> Callable[[], Gauges]:
    """What reads the gauges of trainings."""

    def read() -> Gauges:
        for ending, count in dispatcher.ended.items():
            tallies.count(catalogue.TRAINING_ENDED, str(ending)).value = count
        phases = {(catalogue.TRAINING_TASKS, (phase,)): float(dispatcher.phases[phase]) for phase in PHASES}
        return phases | _failures(loops)

    return read


def _failures(loops: Sequence[LoopHealth]) -> dict[tuple[Metric, Labels], float]:
    return {(catalogue.LOOP_FAILURES, (loop.name,)): float(loop.failures) for loop in loops}
