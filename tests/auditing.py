"""How tests ask the audit, and the history that they begin with."""

from collections.abc import Callable, Sequence
from typing import Any

from accounting.filters import basic_budget
from accounting.ledger.audit import Audit, Finding
from accounting.ledger.entry import Entry
from tests.histories import BUDGETS, PARTED, WHOLE, Scribe, forged
from tests.ledgers import loss


def audited(entries: Sequence[Entry], **arguments: Any) -> list[Finding]:  # noqa: ANN401
    """What the audit finds in a log of these entries."""
    audit = Audit(**({"roots": {}} | arguments))
    for position, entry in enumerate(entries):
        audit.take(position, entry.body)
    audit.finish()
    assert audit.found == len(audit.findings)
    assert audit.entries == len(entries)
    return audit.findings


def sentences(entries: Sequence[Entry], **arguments: Any) -> list[str]:  # noqa: ANN401
    """What is wrong with these entries."""
    return [finding.sentence for finding in audited(entries, **arguments)]


def begun() -> Scribe:
    """A tenant with room in its budget, two data sets and nothing spent."""
    scribe = Scribe()
    scribe.set_budget(basic_budget(loss("100", "0.0001")))
    scribe.set_dataset(WHOLE, BUDGETS["basic"])
    scribe.set_dataset(PARTED, BUDGETS["basic"])
    return scribe


def last_as(scribe: Scribe, change: Callable[[Entry], Entry]) -> list[str]:
    """What is found if the last entry is changed."""
    return sentences(forged(scribe.entries, len(scribe.entries) - 1, change))
