"""Evidence reports: what they follow and add up, how they are bounded, and that none of them passes a verdict."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.readings import KeptReleases
from deployments.analytics.export import export
from deployments.reporting import regulatory
from deployments.reporting.regulatory import Evidence, Framework, Period, ProofCheck, Read, evidence, follow, sample
from deployments.reporting.regulatory_controls import controls_of
from deployments.reporting.regulatory_document import evidence_html
from deployments.reporting.regulatory_wire import evidence_to_wire
from tests.ledgers import NOW, asked, ended, opened, spent

VERDICT = re.compile(r"complian", re.IGNORECASE)
PERIOD = Period(NOW - timedelta(days=1), NOW + timedelta(days=1))


def history(charges: int) -> list[Entry]:
    """A budget, a hold that was voided, and so many charges."""
    entries = [opened("tenant", "100")]
    entries.append(spent(entries[-1], asked("tenant", "2", ttl=60)))
    entries.append(ended(entries[-1], entries[-1], EntryKind.VOIDED))
    for _ in range(charges):
        entries.append(spent(entries[-1], asked("tenant", "0.5")))
    return entries


def report(entries: list[Entry], framework: Framework = Framework.GDPR) -> Evidence:
    """The facts of a report on those entries, with nothing read beside them."""
    read = Read(NOW, entries[-1], (), (), (), KeptReleases(0, 0, None, None), None, ProofCheck(0, 0, ()))
    return evidence(framework, PERIOD, [entry.body for entry in entries], entries, read)


@pytest.mark.parametrize("framework", list(Framework))
def test_no_text_says_that_anything_is_achieved(framework: Framework) -> None:
    """Not in any control, in any form; each control says where its evidence ends."""
    facts = report(history(3), framework)
    for control in controls_of(facts):
        assert control.evidence
        assert control.limits
    assert not VERDICT.search(str(evidence_to_wire(facts)))
    assert not VERDICT.search(evidence_html(facts).decode())


def test_sums_take_off_what_was_taken_back() -> None:
    """The voided hold counts as an operation that cost nothing in the end."""
    ((kind, share),) = report(history(3)).mechanisms
    assert (kind, share.epsilon, share.operations) == ("claim", Decimal("1.5"), 4)


def test_a_whole_history_is_followed_with_its_balances() -> None:
    """From the first entry to the last, and nothing is found in one that is right."""
    chain = report(history(5)).chain
    assert (chain.first, chain.last, chain.rederived, chain.found) == (1, 8, True, 0)


def test_a_balance_that_does_not_follow_is_found() -> None:
    """The hashes may be right: a sum that is not is told with its entry."""
    entries = history(3)
    wrong = replace(entries[-1], operations=17)
    found = follow([entry.body for entry in (*entries[:-1], wrong)], [*entries[:-1], wrong])
    assert found.found > 0
    assert found.findings[0].startswith(f"Entry {wrong.seq} ")


def test_of_the_end_of_a_history_the_hashes_are_followed() -> None:
    """It says so, and finds an entry that is not the one its successor names."""
    entries = history(6)[3:]
    fine = follow([entry.body for entry in entries], entries)
    assert (fine.first, fine.rederived, fine.found) == (4, False, 0)
    forged = [entries[0], replace(entries[1], actor="somebody else"), *entries[2:]]
    assert follow([entry.body for entry in forged], forged).found == 1


def test_a_long_period_is_listed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest operations are listed, all of them counted, and the page says how many there are."""
    monkeypatch.setattr(regulatory, "MAX_LISTED", 5)
    facts = report(history(12))
    assert [entry.seq for entry in facts.operations] == [15, 14, 13, 12, 11]
    assert "The latest 5 of 13" in evidence_html(facts).decode()


def test_a_sample_is_spread_over_the_period() -> None:
    """First and last included, each once, in order; all where there are no more than that."""
    entries = history(30)
    total, chosen = sample(entries, PERIOD, 10)
    seqs = [entry.seq for entry in chosen]
    assert (total, len(seqs), seqs[0], seqs[-1]) == (31, 10, 2, 33)
    assert seqs == sorted(set(seqs))
    assert sample(entries, PERIOD, 31)[1] == [entry for entry in entries if entry.event is not None]
    assert sample(entries, Period(NOW - timedelta(days=2), NOW - timedelta(days=1)), 10) == (0, [])


def test_nothing_that_is_charged_is_dropped_from_an_export() -> None:
    """Exported, not exported with a reason, or taken back and counted: every operation is one of the three."""
    entries = history(4)
    entries.append(spent(entries[-1], asked("tenant", "0.5", "0.000001")))
    entries.append(spent(entries[-1], asked("tenant", "0.5", ttl=60)))
    document = export("tenant", None, entries, {})
    assert len(document["events"]) == 4
    assert [one["reason"].split(":")[0] for one in document["not_exported"]] == [
        "a claim with a delta",
        "a hold that is open",
    ]
    assert document["taken_back"] == {"voided": 1}
    assert (document["ledger_seq"], document["ledger_hash"]) == (9, entries[-1].hash.hex())
