"""What may go wrong in a run, and how its world is made: all drawn from the seed.

Not every fault is on in every run. A run in which a few things go wrong often finds what a run in which everything goes
wrong hides ("swarm testing", Groce et al. 2012).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """What can go wrong. Closed."""

    # Between an owner and the database.
    STATEMENT_LOST = "statement lost"
    RESULT_LOST = "result lost"
    RESULT_LATE = "result late"
    STATEMENT_LATE = "statement late"
    ROLLED_BACK = "rolled back"
    SPLIT_READ = "split read"
    PARTITION = "partition"
    # The database.
    SLOW_DATABASE = "slow database"
    DATABASE_RESTART = "database restart"
    CLOCK_FORWARD = "clock forward"
    CLOCK_BACK = "clock back"
    # Owners.
    KILL = "owner killed"
    KILL_AT_WRITE = "killed at a write"
    STOP = "owner stopped"
    HALT = "owner halted"
    # The log's process, and the broker that it passes events on to.
    RECORDER_KILL = "recorder killed"
    BROKER = "broker fails"
    # Between a client and an owner.
    CALL_LOST = "call lost"
    ANSWER_LOST = "answer lost"
    DUPLICATE = "duplicate"
    HANG_UP = "hang up"


ON_OCCASION = {
    Fault.STATEMENT_LOST: 0.02,
    Fault.RESULT_LOST: 0.02,
    Fault.RESULT_LATE: 0.05,
    Fault.STATEMENT_LATE: 0.01,
    Fault.ROLLED_BACK: 0.02,
    Fault.SPLIT_READ: 0.3,
    Fault.KILL_AT_WRITE: 0.01,
    Fault.CALL_LOST: 0.02,
    Fault.ANSWER_LOST: 0.03,
    Fault.DUPLICATE: 0.05,
    Fault.HANG_UP: 0.03,
    Fault.BROKER: 0.1,
}
"""Faults that befall single messages, with the chance of each message where the fault is on."""
BY_ITSELF = (
    Fault.PARTITION,
    Fault.SLOW_DATABASE,
    Fault.DATABASE_RESTART,
    Fault.CLOCK_FORWARD,
    Fault.CLOCK_BACK,
    Fault.KILL,
    Fault.STOP,
    Fault.HALT,
    Fault.RECORDER_KILL,
)
"""Faults that come at a time of their own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The world of one run.

    Attributes:
        owners: How many live owners of the same tenants.
        recorders: How many processes of the log.
        tenants: How many.
        clients: How many, each with one operation at a time.
        latency: Most seconds that a message takes on a good day; 0 for a world in which much happens in one instant.
        affinity: The chance that a request goes to the owner that the tenant's name points to; others go anywhere.
        thinking: Most seconds between two operations of a client.
        chances: For faults on occasion: the chance of each message.
        weather: Faults that come by themselves in this run.
        calm: Mean seconds between two of them.
        default_budget: Whether tenants get a budget at their first request.
        lanes, batch_limit, queue_limit, tenants_in_memory, keys_in_memory: As in `OwnerSettings`.
    """

    owners: int
    recorders: int
    tenants: int
    clients: int
    latency: float
    affinity: float
    thinking: float
    chances: Mapping[Fault, float]
    weather: tuple[Fault, ...]
    calm: float
    default_budget: bool
    lanes: int
    batch_limit: int
    queue_limit: int
    tenants_in_memory: int
    keys_in_memory: int


def draw_plan(random: Random) -> Plan:
    """A plan for a run, with two thirds of the faults on."""
    return Plan(
        owners=random.choice([2, 2, 3]),
        recorders=random.choice([1, 1, 2]),
        tenants=random.choice([1, 1, 2, 4]),
        clients=random.choice([4, 8, 16]),
        latency=random.choice([0.0, 0.002, 0.02]),
        affinity=random.choice([0.0, 0.5, 0.95]),
        thinking=random.choice([0.01, 0.05, 0.2]),
        chances={fault: chance if random.random() < 2 / 3 else 0.0 for fault, chance in ON_OCCASION.items()},
        weather=tuple(fault for fault in BY_ITSELF if random.random() < 2 / 3),
        calm=random.choice([0.1, 0.5, 2.0]),
        default_budget=random.random() < 0.7,
        lanes=random.choice([1, 2]),
        batch_limit=random.choice([2, 512, 512]),
        queue_limit=random.choice([3, 5_000, 5_000]),
        tenants_in_memory=random.choice([1, 100]),
        keys_in_memory=random.choice([0, 5, 1_000]),
    )
