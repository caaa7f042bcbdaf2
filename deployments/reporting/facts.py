"""What a privacy report is written from: the facts of one job, as ledger, plan and registry have them."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from accounting.events import Adjacency, Event
from accounting.values import NO_LOSS, InvalidValueError, PrivacyLoss, checked_delta, checked_epsilon, round_up
from deployments.reporting.levels import Level, level_of

ADJACENCIES = {Adjacency.ADD_REMOVE: "add/remove", Adjacency.REPLACE_ONE: "replace-one"}
"""As people write them."""
_PERCENT_PLACES = 4


class HoldStatus(StrEnum):
    """Where the job's charge stands."""

    HELD = "held"
    COMMITTED = "committed"
    VOIDED = "voided"
    EXPIRED = "expired"
    ADJUSTED = "adjusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanics:
    """How the noise came about, for people. None where the method has no such number.

    Attributes:
        method: In words, such as "DP-SGD, Poisson sampling".
        noise_multiplier: Standard deviation of the noise in units of the clipping norm.
        clip: L2 norm to which each unit's part is clipped.
        sampling_rate: With which each unit takes part in a step.
        expected_batch: Units that a step draws on average.
    """

    method: str
    noise_multiplier: Decimal | None = None
    clip: Decimal | None = None
    sampling_rate: Decimal | None = None
    expected_batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """One job.

    Attributes:
        job_id: The job.
        tenant_id: Whose.
        dataset_id: On which data set; None if on none that has a name.
        model: What was made, such as "dp-tvae".
        unit: Whose data one record is, in words.
        adjacency: What neighbouring data sets are.
        records: Units in the data set; public. At least 1.
        event: What was held, complete.
        steps_held: Steps that the event has.
        steps_run: Steps that were run; at most those held.
        delta: At which the event was priced.
        spent: What the ledger counts for the job now, exact; nothing for one whose charge was taken back.
        target_epsilon: What was asked for.
        status: Where the charge stands.
        budget: What the budget above promises in all; None if not told.
        remaining: What may still be charged there; None if not told.
        mechanics: How the noise came about.
        registered: Whether the data set has a budget of its own, on which the job is charged too.

    Raises:
        InvalidValueError: If the facts contradict each other.
    """

    job_id: str
    tenant_id: str
    dataset_id: str | None
    model: str
    unit: str
    adjacency: Adjacency
    records: int
    event: Event
    steps_held: int
    steps_run: int
    delta: Decimal
    spent: PrivacyLoss
    target_epsilon: Decimal
    status: HoldStatus
    mechanics: Mechanics
    budget: PrivacyLoss | None = field(default=None)
    remaining: PrivacyLoss | None = field(default=None)
    registered: bool = True

    def __post_init__(self) -> None:
        checked_epsilon(self.target_epsilon, "target_epsilon")
        checked_delta(self.delta)
        if self.records < 1:
            raise InvalidValueError("records", "must be at least 1")
        if not 0 <= self.steps_run <= self.steps_held:
            raise InvalidValueError("steps_run", f"must be from 0 to the {self.steps_held} steps that were held")
        if self.event.adjacency not in (None, self.adjacency):
            raise InvalidValueError("adjacency", f"must be {self.event.adjacency}, as the event has it")
        if self.taken_back and self.spent != NO_LOSS:
            raise InvalidValueError("spent", "must be nothing for a job whose charge was taken back")
        if self.status is HoldStatus.VOIDED and self.steps_run:
            raise InvalidValueError("steps_run", "must be 0 for a voided job: no data was read")

    @property
    def taken_back(self) -> bool:
        """Whether the whole charge was: nothing was released by the job, as somebody has stated."""
        return self.status in (HoldStatus.VOIDED, HoldStatus.ADJUSTED)

    @property
    def level(self) -> Level | None:
        """Of the epsilon spent; None where the charge was taken back."""
        return None if self.taken_back else level_of(self.spent.epsilon)

    @property
    def utilisation(self) -> Decimal:
        """Epsilon spent in per cent of the target, rounded up to four places."""
        return round_up(100 * Fraction(self.spent.epsilon) / Fraction(self.target_epsilon), _PERCENT_PLACES)
