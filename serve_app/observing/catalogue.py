"""Every metric of the service: its name, what it says, and its labels. What is not here cannot be counted.

No label is a tenant, a job or anybody's name: a label has few values, all of them ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    """Only grows."""
    GAUGE = "gauge"
    """The value now."""
    HISTOGRAM = "histogram"
    """How many observations were at most as large as each bound."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: Without Ray's prefix.
        kind: How it behaves.
        told: One sentence, for operators.
        labels: Names of its labels.
        bounds: Upper bounds of a histogram's buckets, rising; the one without bound is added.
    """

    name: str
    kind: Kind
    told: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Ray exports it, each node at its metrics port in Prometheus' format.

        Ray's own histogram takes one observation at a time and answers with an approximate sum, so a histogram is
        handed over as counters, exact and once a second.
        """
        exported = f"ray_{self.name}"
        match self.kind:
            case Kind.COUNTER:
                return (f"{exported}_total",)
            case Kind.GAUGE:
                return (exported,)
            case Kind.HISTOGRAM:
                return (f"{exported}_bucket_total", f"{exported}_sum_total", f"{exported}_count_total")


_FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_SLOW = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

ALLOCATE_SECONDS = Metric(
    "privacy_allocate_seconds", Kind.HISTOGRAM, "Time to answer an allocate call, refusals included.", (), _FAST
)
DECISIONS = Metric(
    "privacy_decisions",
    Kind.COUNTER,
    "Allocations decided: `admitted`, `replayed`, or why they were refused.",
    ("outcome", "source_engine"),
)
UNANSWERED = Metric(
    "privacy_unanswered",
    Kind.COUNTER,
    "Requests to the budget that ended without a decision: `overloaded`, `halted`, `unavailable`, `failed`.",
    ("reason",),
)
BATCH_ENTRIES = Metric(
    "privacy_batch_entries",
    Kind.HISTOGRAM,
    "Ledger entries in one write.",
    (),
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
APPEND_SECONDS = Metric(
    "privacy_ledger_append_seconds", Kind.HISTOGRAM, "Time that a write to the ledger took.", (), _FAST
)
FENCE_CONFLICTS = Metric(
    "privacy_fence_conflicts",
    Kind.COUNTER,
    "Writes refused because another owner wrote first; the tenants were read again and decided again.",
)
WAITING = Metric("privacy_waiting_requests", Kind.GAUGE, "Requests that wait in the lanes for a decision or a write.")
LANES_BUSY = Metric("privacy_lanes_busy", Kind.GAUGE, "Lanes with requests in them.")
HALTED = Metric("privacy_halted", Kind.GAUGE, "1 while nothing may be decided on this ledger, else 0.")
BUDGETS_LOADED = Metric("privacy_budgets_loaded", Kind.GAUGE, "Budgets that this owner has in memory.")
BUDGETS_LOW = Metric("privacy_budgets_low", Kind.GAUGE, "Loaded budgets with less than a tenth left.")
BUDGETS_ENDING = Metric(
    "privacy_budgets_ending",
    Kind.GAUGE,
    "Loaded budgets that at their present pace run out within `1d` or `7d`, before they renew.",
    ("within",),
)
BUDGETS_BY_USE = Metric(
    "privacy_budgets_by_use",
    Kind.GAUGE,
    "Loaded budgets by the share that is used: at most a quarter, half, 0.75, 0.9, 1.",
    ("used",),
)
LOG_SIZE = Metric("privacy_log_entries", Kind.GAUGE, "Entries in the log.")
HEAD_AGE = Metric(
    "privacy_head_age_seconds",
    Kind.GAUGE,
    "Seconds since a signed head covered the whole log. A log that does not grow needs no new head and does not age.",
)
HEAD_LAG = Metric("privacy_head_lag_entries", Kind.GAUGE, "Entries of the log that no signed head covers yet.")
SEQUENCER_LAG = Metric(
    "privacy_sequencer_silence_seconds", Kind.GAUGE, "Seconds since the log last took up what was durable."
)
RELAY_LAG = Metric(
    "privacy_relay_lag_entries", Kind.GAUGE, "Entries whose events a relay has not passed on.", ("relay",)
)
LOOP_FAILURES = Metric(
    "privacy_loop_failures", Kind.GAUGE, "Rounds of a background loop that failed since one went well.", ("loop",)
)
OVERDUE_HOLDS = Metric("privacy_overdue_holds", Kind.GAUGE, "Holds and windows found due in the sweeper's last round.")
SWEPT = Metric("privacy_swept", Kind.COUNTER, "Holds and windows that the sweeper ended.")
RELEASE_SECONDS = Metric(
    "privacy_release_seconds", Kind.HISTOGRAM, "Time of a release, its charge included.", ("mechanism",), _SLOW
)
PROOF_SECONDS = Metric("privacy_proof_seconds", Kind.HISTOGRAM, "Time to make and write a proof.", ("form",), _SLOW)
PLAN_SECONDS = Metric("privacy_plan_pricing_seconds", Kind.HISTOGRAM, "Time to price a plan.", (), _SLOW)
RATE_LIMITED = Metric("privacy_rate_limited", Kind.COUNTER, "Requests refused because they came too fast.")
AUDIT_DROPPED = Metric("privacy_audit_dropped", Kind.COUNTER, "Records of the audit log that could not be kept.")
TRAINING_TASKS = Metric(
    "privacy_training_tasks", Kind.GAUGE, "Trainings that are not over, by the state they are in.", ("state",)
)
TRAINING_ENDED = Metric("privacy_training_ended", Kind.COUNTER, "Trainings that ended, by how.", ("ending",))
TRAINING_STEPS = Metric("privacy_training_steps", Kind.COUNTER, "Noisy steps that trainings have reported as done.")
REQUESTS = Metric(
    "privacy_requests",
    Kind.COUNTER,
    "Requests outside of the hot path, by the first digit of their status.",
    ("status",),
)

CATALOGUE: Sequence[Metric] = tuple(value for value in dict(globals()).values() if isinstance(value, Metric))
"""All of them, in the order of this file."""


def as_table() -> str:
    """The catalogue as `docs/monitoring.md` shows it."""
    lines = ["| metric, as Ray exports it | kind | labels | what it says |", "|---|---|---|---|"]
    for metric in CATALOGUE:
        labels = ("le", *metric.labels) if metric.kind is Kind.HISTOGRAM else metric.labels
        names = ", ".join(f"`{name}`" for name in labels) or "none"
        series = "<br>".join(f"`{name}`" for name in metric.series)
        lines.append(f"| {series} | {metric.kind} | {names} | {metric.told} |")
    return "\n".join(lines)
