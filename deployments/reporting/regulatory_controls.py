"""Which named controls a period's evidence bears on: what the report shows for each, and what it does not show.

Evidence is not a verdict: see `deployments.reporting.controls`, whose model this is.
"""

from collections.abc import Callable

from accounting.ledger.entry import EntryKind
from accounting.values import decimal_text
from deployments.reporting.controls import Control
from deployments.reporting.regulatory import Evidence, Framework, remaining

NAMES = {Framework.GDPR: "GDPR", Framework.HIPAA: "HIPAA", Framework.CCPA: "CCPA", Framework.SOC2: "SOC 2"}


def controls_of(facts: Evidence) -> tuple[Control, ...]:
    """The controls of the report's framework."""
    return tuple(
        Control(NAMES[facts.framework], reference, subject, shown, limits)
        for reference, subject, shown, limits in _CONTROLS[facts.framework](facts)
    )


Told = tuple[str, str, str, str]


def _gdpr(facts: Evidence) -> tuple[Told, ...]:
    return (
        (
            "Art. 5(1)(c)",
            "Data minimisation",
            _bound(facts),
            "Whether the data had to be collected, and whether the purposes need them, is not answered by a bound.",
        ),
        (
            "Art. 5(2)",
            "Accountability: to be able to demonstrate how the principles are kept",
            _record(facts),
            "Processing outside this service leaves no entry here.",
        ),
        (
            "Art. 25",
            "Data protection by design and by default",
            _gate(facts),
            "It concerns what is released through this service, not the systems that data come from or results go to.",
        ),
        (
            "Art. 30",
            "Records of processing activities",
            f"{_operations(facts)} Each has its job, engine, time and cost.",
            "Purposes, categories of people and recipients are the controller's record, not the ledger's.",
        ),
        (
            "Art. 32",
            "Security of processing, and regular testing of its measures",
            f"{_chain(facts)} {_proofs(facts)}",
            "Encryption, access to storage and resilience are other measures; they are shown elsewhere or not at all.",
        ),
        (
            "Art. 35",
            "Data protection impact assessment",
            "Budgets, units, adjacency and what was spent are here for the description of measures, (7)(d).",
            "Necessity, proportionality and the risks to people's rights are to be assessed by the controller.",
        ),
        (
            "Recital 26",
            "Whether information is anonymous: all means reasonably likely to be used to identify a person",
            _bound(facts),
            "The recital names no epsilon. A weak bound leaves room for identification; nothing here draws the line.",
        ),
    )


def _hipaa(facts: Evidence) -> tuple[Told, ...]:
    kept = facts.read.releases
    return (
        (
            "45 CFR 164.312(b)",
            "Audit controls: activity with protected health information is recorded and can be examined",
            f"{_record(facts)} {_operations(facts)}",
            "Access to the records themselves, outside this service, is not in this ledger.",
        ),
        (
            "45 CFR 164.312(c)(1)",
            "Integrity: protection from improper alteration or destruction",
            f"{_chain(facts)} {_log(facts)}",
            "It is the record of releases that is protected so, not the health records.",
        ),
        (
            "45 CFR 164.316(b)(2)(i)",
            "Documentation is retained for six years",
            "The ledger has no deletion. Stored results are kept until their own date at least, those of the "
            f"healthcare engine for seven years: {kept.count} are there, {kept.health} of that engine; "
            f"{_legal_hold(facts)}",
            "Policies and procedures, which the rule is about too, are not kept here.",
        ),
        (
            "45 CFR 164.514(b)(1)",
            "Expert determination that the risk of identification is very small",
            _bound(facts),
            "No expert has determined anything here. Whether the bound makes the risk very small for the expected "
            "recipients is the expert's to say, and whether one privacy unit is one individual.",
        ),
        (
            "45 CFR 164.514(b)(2)",
            "Safe harbor: eighteen kinds of identifiers removed",
            "Nothing.",
            "Nobody has looked for identifiers here.",
        ),
    )


def _ccpa(facts: Evidence) -> tuple[Told, ...]:
    return (
        (
            "Cal. Civ. Code 1798.100(c)",
            "Use reasonably necessary and proportionate",
            f"The loss by use is measured and limited. {_bound(facts)}",
            "A number does not say what the use is for, or whether consumers expect it.",
        ),
        (
            "Cal. Civ. Code 1798.100(e)",
            "Reasonable security procedures and practices",
            f"{_gate(facts)} {_chain(facts)}",
            "Procedures around the service, and the storage of personal information, are not seen from here.",
        ),
        (
            "Cal. Civ. Code 1798.140(m)",
            "Deidentified information",
            f"{_bound(facts)} This bears on whether the information can reasonably be linked to a consumer.",
            "The definition also asks for reasonable measures, a public commitment not to reidentify and contracts "
            "with recipients. This report knows of none of them.",
        ),
    )


def _soc2(facts: Evidence) -> tuple[Told, ...]:
    return (
        (
            "CC6.1",
            "Logical access to protected information is restricted",
            _gate(facts),
            "Who may hold a token, and who can read the data directly, is shown by the access lists, not here.",
        ),
        (
            "CC7.2",
            "Operations are monitored for anomalies",
            f"{_refused(facts)} Holds that expired without a word from their engine: "
            f"{facts.count(EntryKind.EXPIRED_SPENT)}.",
            "Recording is not watching: who looks at alerts, and how soon, is shown by other records.",
        ),
        (
            "CC8.1",
            "Changes are authorised and recorded",
            f"Entries of the period, each with its actor: budget set, {facts.count(EntryKind.BUDGET_SET)}; data set "
            f"registered or changed, {facts.count(EntryKind.DATASET_SET)}; charge taken back, "
            f"{facts.count(EntryKind.ADJUSTED)}.",
            "Changes to software and infrastructure are not in the ledger.",
        ),
        (
            "C1.1",
            "Confidential information is identified and kept",
            f"Data sets that are registered with a privacy unit and a budget of their own: {len(facts.read.datasets)}.",
            "That every confidential data set is registered is not shown by those that are.",
        ),
        (
            "PI1.4",
            "Output is complete, accurate and given to those it is meant for",
            f"{_chain(facts)} {_proofs(facts)}",
            "That a result reached the right people is not in the ledger; that noise was drawn rightly is not in a "
            "proof of what it costs.",
        ),
        (
            "P4.1",
            "Personal information is used for the purposes that were identified",
            _operations(facts),
            "That a purpose is one that people were told of is not in the ledger.",
        ),
        (
            "P4.2",
            "Personal information is retained as the objectives say",
            f"The database refuses to purge a stored result before its date; {_legal_hold(facts)}",
            "How long the data themselves are kept is decided elsewhere.",
        ),
    )


_CONTROLS: dict[Framework, Callable[[Evidence], tuple[Told, ...]]] = {
    Framework.GDPR: _gdpr,
    Framework.HIPAA: _hipaa,
    Framework.CCPA: _ccpa,
    Framework.SOC2: _soc2,
}


def _bound(facts: Evidence) -> str:
    head = facts.read.head
    window = "" if head.renewal_days is None else f" in each window of {head.renewal_days} days"
    promise, lifetime = head.budget.promise, head.lifetime.basic
    return (
        f"What is released through the service is held to a budget of epsilon {decimal_text(promise.epsilon)}, delta "
        f"{decimal_text(promise.delta)}{window}; {decimal_text(remaining(head))} of the epsilon is left, and "
        f"{decimal_text(lifetime.epsilon)} was charged over the whole lifetime."
    )


def _gate(facts: Evidence) -> str:
    return f"A charge is admitted before data may be read, or refused. {_refused(facts)}"


def _refused(facts: Evidence) -> str:
    return f"Requests refused in the period: {sum(count for _, count in facts.read.refusals)}."


def _record(facts: Evidence) -> str:
    return f"The ledger is append-only; each entry names the hash of the one before. {_chain(facts)}"


def _operations(facts: Evidence) -> str:
    charged = facts.charged
    epsilon = decimal_text(charged.epsilon)
    return f"Operations charged in the period: {charged.operations}, with an epsilon of {epsilon} in all."


def _chain(facts: Evidence) -> str:
    chain = facts.chain
    how = "hashes and balances" if chain.rederived else "hashes"
    outcome = "all follow" if chain.found == 0 else f"faults found: {chain.found}"
    return f"For this report the {how} of entries {chain.first} to {chain.last} were computed anew: {outcome}."


def _log(facts: Evidence) -> str:
    head = facts.read.log_head
    if head is None:
        return "No head of the log has been published yet."
    held = "holds" if head.signed and head.recomputed else "does not hold"
    return f"The signed head of the log over {head.size} entries was checked against the tree: it {held}."


def _proofs(facts: Evidence) -> str:
    proofs = facts.read.proofs
    outcome = "all hold" if not proofs.reasons else f"of these do not hold: {len(proofs.reasons)}"
    return (
        f"Proofs of {proofs.checked} of {proofs.operations} operations were made and checked by a program that shares "
        f"no code with the service: {outcome}."
    )


def _legal_hold(facts: Evidence) -> str:
    return (
        "a legal hold is in force, under which nothing is purged."
        if facts.read.head.legal_hold
        else "no legal hold is in force."
    )
