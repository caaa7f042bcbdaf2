"""An evidence report as JSON-ready data: what the document says, for machines. Every decimal is an exact string."""

from collections.abc import Iterable
from typing import Any

from accounting.ledger.entry import Entry, loss_to_wire, timestamp_text
from accounting.values import decimal_text
from deployments.analytics.burn import Share
from deployments.reporting.controls import NOTICE
from deployments.reporting.regulatory import MAX_LISTED, Evidence, remaining, remaining_of
from deployments.reporting.regulatory_controls import controls_of

FORMAT, VERSION = "privacy-engine-evidence", 1


def evidence_to_wire(facts: Evidence) -> dict[str, Any]:
    """The report."""
    read, head, kept = facts.read, facts.read.head, facts.read.releases
    return {
        "format": FORMAT,
        "version": VERSION,
        "framework": facts.framework.value,
        "tenant_id": head.tenant_id,
        "since": timestamp_text(facts.period.since),
        "until": timestamp_text(facts.period.until),
        "made_at": timestamp_text(read.made_at),
        "notice": NOTICE,
        "coverage": {"first_entry_read": facts.first_read, "whole_history": facts.whole, "most_listed": MAX_LISTED},
        "controls": [
            {
                "framework": one.framework,
                "reference": one.reference,
                "subject": one.subject,
                "shows": one.evidence,
                "does_not_show": one.limits,
            }
            for one in controls_of(facts)
        ],
        "budget": {
            "promise": loss_to_wire(head.budget.promise),
            "remaining_epsilon": decimal_text(remaining(head)),
            "held": loss_to_wire(head.held.basic),
            "lifetime": loss_to_wire(head.lifetime.basic),
            "renewal_days": head.renewal_days,
            "period_start": timestamp_text(head.period_start),
            "operations": head.operations,
            "legal_hold": head.legal_hold,
        },
        "datasets": [
            {
                "dataset_id": state.dataset.dataset_id,
                "unit": state.dataset.unit,
                "adjacency": state.dataset.adjacency.value,
                "promise": loss_to_wire(state.budget.promise),
                "remaining_epsilon": decimal_text(remaining_of(state)),
                "partitions": len(state.dataset.partitions),
            }
            for state in read.datasets
        ],
        "spent": {
            "total": _share(facts.charged),
            "by_engine": _shares("source_engine", facts.engines),
            "by_mechanism": _shares("event_kind", facts.mechanisms),
            "by_dataset": _shares("dataset_id", facts.by_dataset),
        },
        "entries": {kind.value: count for kind, count in facts.kinds},
        "refusals": dict(read.refusals),
        "listed": [_entry(entry) for entry in facts.listed],
        "operations": [_entry(entry) for entry in facts.operations],
        "retention": {
            "stored_releases": kept.count,
            "of_healthcare": kept.health,
            "earliest_purge": None if kept.earliest is None else timestamp_text(kept.earliest),
            "latest_purge": None if kept.latest is None else timestamp_text(kept.latest),
        },
        "checks": _checks(facts),
    }


def _checks(facts: Evidence) -> dict[str, Any]:
    chain, head, proofs = facts.chain, facts.read.log_head, facts.read.proofs
    return {
        "history": {
            "first_entry": chain.first,
            "last_entry": chain.last,
            "balances_computed_anew": chain.rederived,
            "faults": chain.found,
            "findings": list(chain.findings),
        },
        "log_head": None
        if head is None
        else {
            "size": head.size,
            "root": head.root,
            "signed_at": None if head.at is None else timestamp_text(head.at),
            "signature_holds": head.signed,
            "root_computed_anew": head.recomputed,
        },
        "proofs": {
            "operations": proofs.operations,
            "checked": proofs.checked,
            "all": proofs.checked == proofs.operations,
            "reasons": list(proofs.reasons),
        },
    }


def _shares(name: str, shares: Iterable[tuple[str, Share]]) -> list[dict[str, Any]]:
    return [{name: of, **_share(share)} for of, share in shares]


def _share(share: Share) -> dict[str, Any]:
    return {"epsilon": decimal_text(share.epsilon), "operations": share.operations}


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": timestamp_text(entry.at),
        "kind": entry.kind.value,
        "allocation_id": entry.allocation_id,
        "job_id": entry.job_id,
        "source_engine": entry.source_engine,
        "event_kind": None if entry.event is None else entry.event.kind,
        "dataset_id": None if entry.dataset is None else entry.dataset.dataset_id,
        "actor": entry.actor,
        "charge": None if entry.charge is None else loss_to_wire(entry.charge.basic),
        "lifetime": loss_to_wire(entry.lifetime.basic),
        "reason": (entry.details or {}).get("reason"),
    }
