"""For which named controls of four frameworks a job's facts are evidence, and what they do not show.

Evidence is not a verdict. Whether a control is met is for those who answer for it, with much that no ledger holds: so
every control says beside its evidence where that evidence ends.
"""

from dataclasses import dataclass

from accounting.values import decimal_text
from deployments.reporting.facts import ADJACENCIES, HoldStatus, JobFacts

NOTICE = (
    "What follows is evidence for the named controls, to be weighed by those who answer for them. It is no legal "
    "advice, and no statement that any of them is met."
)


@dataclass(frozen=True, slots=True)
class Control:
    """One control.

    Attributes:
        framework: HIPAA, GDPR, CCPA or SOC 2.
        reference: Where it stands.
        subject: What it asks for, in short.
        evidence: What the job's facts show.
        limits: What they do not.
    """

    framework: str
    reference: str
    subject: str
    evidence: str
    limits: str


def controls(facts: JobFacts) -> tuple[Control, ...]:
    """The controls, framework by framework."""
    ledger = _ledger(facts)
    return (
        Control(
            "HIPAA",
            "45 CFR 164.514(b)(1)",
            "Expert determination that the risk of identification is very small",
            _bound(facts, "It holds against anyone, whatever else they know, so an expert can use it as it is."),
            "No expert has determined anything here. Whether the bound makes the risk very small for the expected "
            f"recipients is the expert's to say, and whether one {facts.unit} is one individual.",
        ),
        Control(
            "HIPAA",
            "45 CFR 164.514(b)(2)",
            "Safe harbor: eighteen kinds of identifiers removed",
            "None. Columns are those of the declared schema.",
            "The schema may name identifiers; nobody has looked for them here.",
        ),
        Control(
            "HIPAA",
            "45 CFR 164.312(b)",
            "Audit controls: activity with protected health information is recorded and can be examined",
            ledger,
            "Access to the records themselves, outside this service, is not in this ledger.",
        ),
        Control(
            "GDPR",
            "Art. 5(1)(c)",
            "Data minimisation",
            _bound(facts, "So the result carries no more about one unit than that, by proof and not by intention."),
            "Whether the data had to be collected, and whether this purpose needs them, is not answered by a bound.",
        ),
        Control(
            "GDPR",
            "Art. 25",
            "Data protection by design and by default",
            f"The whole run, with a target of {_target(facts)}, was held before the first record was read, and no step "
            "runs beyond what is held.",
            "It concerns this job, not the systems that data come from or results go to.",
        ),
        Control(
            "GDPR",
            "Art. 32",
            "Security of processing, and regular testing of its measures",
            f"{ledger} The certificate of this job can be verified offline, by a program that shares no code with the "
            "service.",
            "Encryption, access to storage and resilience are other measures; they are shown elsewhere or not at all.",
        ),
        Control(
            "GDPR",
            "Art. 35",
            "Data protection impact assessment",
            "Parameters, guarantee, its unit and its limits are in this report, for the assessment's description of "
            "the processing, (7)(a), and of measures, (7)(d).",
            "Necessity, proportionality and the risks to people's rights are to be assessed by the controller.",
        ),
        Control(
            "GDPR",
            "Recital 26",
            "Whether information is anonymous: all means reasonably likely to be used to identify a person",
            _bound(facts, "It covers all means, those of the future too."),
            "The recital names no epsilon. A weak bound leaves room for identification; nothing here draws the line.",
        ),
        Control(
            "CCPA",
            "Cal. Civ. Code 1798.140(m)",
            "Deidentified information",
            _bound(facts, "This bears on whether the information can reasonably be linked to a consumer."),
            "The definition also asks for reasonable measures, a public commitment not to reidentify and contracts "
            "with recipients. This report knows of none of them.",
        ),
        Control(
            "CCPA",
            "Cal. Civ. Code 1798.100(c)",
            "Use reasonably necessary and proportionate",
            f"The loss by this use is measured: {_spent(facts)}.",
            "A number does not say what the use is for, or whether consumers expect it.",
        ),
        Control(
            "SOC 2",
            "CC6.1",
            "Logical access to protected information is restricted",
            "The job could read records only once its hold had been admitted; what a budget cannot hold is refused.",
            "Who may submit jobs, and who can read the data directly, is shown by the access lists, not here.",
        ),
        Control(
            "SOC 2",
            "CC7.2",
            "Operations are monitored for anomalies",
            ledger,
            "Recording is not watching: who looks at alerts, and how soon, is shown by other records.",
        ),
        Control(
            "SOC 2",
            "C1.1",
            "Confidential information is identified and kept",
            f"The data set is registered with its privacy unit ({facts.unit}) and a budget of its own."
            if facts.registered
            else "None: the job is on no data set that is registered with a budget of its own.",
            "That every confidential data set is registered is not shown by one that is.",
        ),
        Control(
            "SOC 2",
            "P4.1",
            "Personal information is used for the purposes that were identified",
            f"The job, its tenant and its model kind ({facts.model}) are recorded with the charge.",
            "That its purpose is one that people were told of is not in the ledger.",
        ),
    )


def _bound(facts: JobFacts, so: str) -> str:
    if facts.status is HoldStatus.VOIDED:
        return "The job was voided before it read a record, so nothing was released by it."
    if facts.status is HoldStatus.ADJUSTED:
        return "None. An operator took the charge back, by a signed statement that nothing was released by the job."
    return (
        f"What the job releases is differentially private: {_spent(facts)}, for one {facts.unit} under "
        f"{ADJACENCIES[facts.adjacency]} adjacency. {so}"
    )


def _ledger(facts: JobFacts) -> str:
    ends = {
        HoldStatus.HELD: "The job's hold is",
        HoldStatus.COMMITTED: "The job's hold and its commit are",
        HoldStatus.VOIDED: "The job's hold and its void are",
        HoldStatus.EXPIRED: "The job's hold and its expiry are",
        HoldStatus.ADJUSTED: "The job's hold, its end and the adjustment of its charge are",
    }[facts.status]
    return f"{ends} in an append-only ledger, each entry chained to the one before it by its hash."


def _spent(facts: JobFacts) -> str:
    return f"epsilon {decimal_text(facts.spent.epsilon)}, delta {decimal_text(facts.spent.delta)}"


def _target(facts: JobFacts) -> str:
    return f"epsilon {decimal_text(facts.target_epsilon)}"
