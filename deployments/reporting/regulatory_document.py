"""An evidence report as the document that people read, and as the files that a browser or a printer takes."""

from collections.abc import Iterable, Sequence

from accounting.datasets import DatasetState
from accounting.ledger.entry import Entry, EntryKind
from accounting.values import decimal_text
from deployments.analytics.burn import Share
from deployments.reporting.controls import NOTICE
from deployments.reporting.facts import ADJACENCIES
from deployments.reporting.regulatory import MAX_LISTED, Evidence, moment, remaining, remaining_of
from deployments.reporting.regulatory_controls import NAMES, controls_of
from proofs.render.document import Block, Column, Document, Foreign, Items, Line, Paragraph, Row, Section, Table, Text

_LONGEST = 2_000
_SPENT_NOTE = (
    "Epsilons are added up as claims are (basic composition), so they can come to more than what the budget counts as "
    "used; what was taken back is taken off on the day on which that was."
)


def evidence_document(facts: Evidence) -> Document:
    """The document."""
    name = NAMES[facts.framework]
    period = f"{moment(facts.period.since)} to {moment(facts.period.until)}"
    subtitle = (Text("tenant "), Foreign(facts.read.head.tenant_id), Text(f", {period}"))
    sections = (
        _what(facts),
        _controls(facts),
        _budget(facts),
        _datasets(facts),
        _spent(facts),
        _refused(facts),
        _exceptions(facts),
        _kept(facts),
        _checked(facts),
        _operations(facts),
    )
    return Document(f"Evidence for {name} controls", subtitle, sections)


def evidence_html(facts: Evidence) -> bytes:
    """The document as one HTML file without script, image or address."""
    from proofs.render.html import html_of

    return html_of(evidence_document(facts)).encode()


def evidence_pdf(facts: Evidence) -> bytes:
    """The document as a PDF."""
    # Here alone, so that nobody waits for these libraries who does not need them.
    from proofs.render.plain_pdf import plain_pdf_of

    return plain_pdf_of(evidence_document(facts))


def _what(facts: Evidence) -> Section:
    told = [
        "This report shows what the ledger of differentially private releases, its proofs and its log have to say of "
        f"the period, as they were on {moment(facts.read.made_at)}.",
        NOTICE,
    ]
    if not facts.whole:
        told.append(
            f"The history is longer than one report follows: entries from position {facts.first_read} on were read. "
            "Sums by engine are of the whole period; other tables begin with that entry."
        )
    told.append(f"Of each kind of event at most the latest {MAX_LISTED} are listed one by one.")
    return Section(_said("What this is"), _paragraphs(told))


def _controls(facts: Evidence) -> Section:
    heads = (("control", 3), ("what this report shows for it", 4), ("what it does not show", 3))
    columns = tuple(Column(_said(name), share=share) for name, share in heads)
    rows = tuple(
        Row(
            (((Text(one.reference, strong=True),), _said(one.subject)), (_said(one.evidence),), (_said(one.limits),)),
            begins=at > 0,
        )
        for at, one in enumerate(controls_of(facts))
    )
    return Section(_said("Controls"), (Table(columns, rows),))


def _budget(facts: Evidence) -> Section:
    head = facts.read.head
    promise, lifetime, held = head.budget.promise, head.lifetime.basic, head.held.basic
    rows = [
        ("promised epsilon, delta", f"{decimal_text(promise.epsilon)}, {decimal_text(promise.delta)}"),
        ("epsilon that is left", decimal_text(remaining(head))),
        ("held open, epsilon", decimal_text(held.epsilon)),
        (
            "charged over the lifetime, epsilon, delta",
            f"{decimal_text(lifetime.epsilon)}, {decimal_text(lifetime.delta)}",
        ),
        ("window", "the whole lifetime" if head.renewal_days is None else f"{head.renewal_days} days"),
        ("window began", moment(head.period_start)),
        ("operations so far", str(head.operations)),
    ]
    table = _table(("what", "value"), [(_said(name), _said(value)) for name, value in rows])
    renewals = facts.of(EntryKind.RENEWED)
    if not renewals:
        return Section(_said("Budget"), (table, *_paragraphs(["No window was renewed in the period."])))
    heads = ("new window from", "kept at", "charged over the lifetime until then")
    told = [
        (
            _said(moment(one.period_start)),
            _said(moment(one.at)),
            _said(f"epsilon {decimal_text(one.lifetime.basic.epsilon)}"),
        )
        for one in renewals
    ]
    note = "A renewal gives new budget, not privacy back: the loss over the lifetime goes on."
    return Section(_said("Budget"), (table, *_paragraphs([note]), _table(heads, told)))


def _datasets(facts: Evidence) -> Section:
    heads = ("data set", "privacy unit", "adjacency", "epsilon in all", "is left", "partitions")
    rows = [_dataset_row(state) for state in facts.read.datasets]
    if not rows:
        return Section(_said("Data sets"), _paragraphs(["No data set is registered with a budget of its own."]))
    return Section(_said("Data sets"), (_table(heads, rows),))


def _dataset_row(state: DatasetState) -> tuple[Line, ...]:
    dataset = state.dataset
    return (
        (Foreign(dataset.dataset_id),),
        _foreign(dataset.unit),
        _said(ADJACENCIES[dataset.adjacency]),
        _said(decimal_text(state.budget.promise.epsilon)),
        _said(decimal_text(remaining_of(state))),
        _said(str(len(dataset.partitions))),
    )


def _spent(facts: Evidence) -> Section:
    blocks: list[Block] = list(_paragraphs([_SPENT_NOTE]))
    for name, shares in (
        ("engine", facts.engines),
        ("mechanism", facts.mechanisms),
        ("data set", facts.by_dataset),
    ):
        blocks.append(_table((name, "epsilon", "operations"), [_share_row(*share) for share in shares]))
    if not facts.engines:
        blocks = list(_paragraphs(["Nothing was charged in the period."]))
    return Section(_said("What was spent"), tuple(blocks))


def _share_row(name: str, share: Share) -> tuple[Line, ...]:
    return _foreign(name), _said(decimal_text(share.epsilon)), _said(str(share.operations))


def _refused(facts: Evidence) -> Section:
    rows = [(_said(name.replace("_", " ")), _said(str(count))) for name, count in facts.read.refusals]
    if not rows:
        return Section(_said("Refusals"), _paragraphs(["No request was refused in the period."]))
    return Section(_said("Refusals"), (_table(("reason", "requests"), rows),))


def _exceptions(facts: Evidence) -> Section:
    counts = Items(
        (
            _said(f"Voided, on the engine's word that no data was read: {facts.count(EntryKind.VOIDED)}."),
            _said(f"Expired without a word, so spent for good: {facts.count(EntryKind.EXPIRED_SPENT)}."),
            _said(
                "Taken back after their end, on an operator's signed statement that nothing was released: "
                f"{facts.count(EntryKind.ADJUSTED)}."
            ),
        )
    )
    rows = [
        (
            _said(moment(one.at)),
            _said("expired" if one.kind is EntryKind.EXPIRED_SPENT else "adjusted"),
            _said(str(one.seq)),
            (Foreign(one.allocation_id or "", longest=36),),
            _foreign(one.actor or ""),
        )
        for one in facts.of(EntryKind.EXPIRED_SPENT, EntryKind.ADJUSTED)
    ]
    table = [_table(("when", "what", "entry", "allocation", "by"), rows)] if rows else []
    return Section(_said("Holds that ended otherwise, adjustments"), (counts, *table))


def _kept(facts: Evidence) -> Section:
    kept = facts.read.releases
    told = ["The ledger is kept for ever: the database refuses every change and every deletion."]
    if kept.earliest is None or kept.latest is None:
        told.append("No result is stored.")
    else:
        told.append(
            f"Stored results, encrypted: {kept.count}; of the healthcare engine: {kept.health}. None may be purged "
            f"before {moment(kept.earliest)}, and the last not before {moment(kept.latest)}."
        )
    told.append("A legal hold is in force." if facts.read.head.legal_hold else "No legal hold is in force.")
    rows = [
        (
            _said(moment(one.at)),
            _said("placed" if one.kind is EntryKind.RETENTION_LOCKED else "lifted"),
            _foreign(str((one.details or {}).get("reason", ""))),
            _foreign(one.actor or ""),
        )
        for one in facts.of(EntryKind.RETENTION_LOCKED, EntryKind.RETENTION_RELEASED)
    ]
    table = [_wide((("when", 0), ("legal hold", 0), ("reason", 3), ("by", 1)), rows)] if rows else []
    return Section(_said("Retention"), (*_paragraphs(told), *table))


def _checked(facts: Evidence) -> Section:
    chain, head, proofs = facts.chain, facts.read.log_head, facts.read.proofs
    what = "their hashes and every balance in them" if chain.rederived else "their hashes"
    lines = [
        f"History: entries {chain.first} to {chain.last} were followed anew, {what}. "
        + ("All follow." if chain.found == 0 else f"Faults found: {chain.found}.")
    ]
    if head is None:
        lines.append("Log: no head has been published yet.")
    else:
        signed = "by a key that the service publishes" if head.signed else "by no key that the service publishes"
        when = "" if head.at is None else f" on {moment(head.at)}"
        root = "the root that it names" if head.recomputed else "not the root that it names"
        lines.append(f"Log: the latest head, over {head.size} entries, was signed {signed}{when}. The tree has {root}.")
    which = (
        "all" if proofs.checked == proofs.operations else "spread evenly over the period, the first and last included"
    )
    lines.append(
        f"Proofs: of the {proofs.operations} operations of the period that were read, {proofs.checked} were proved and "
        f"checked ({which}). "
        + ("All hold." if not proofs.reasons else f"Of these do not hold: {len(proofs.reasons)}.")
    )
    blocks: list[Block] = [Items(tuple(_said(line) for line in lines))]
    if head is not None:
        blocks.append(Paragraph((Text("Root: "), Foreign(head.root, longest=64))))
    wrong = [*chain.findings, *proofs.reasons]
    if wrong:
        blocks.append(Items(tuple(_foreign(one) for one in wrong[:MAX_LISTED])))
    return Section(_said("What was checked for this report"), tuple(blocks))


def _operations(facts: Evidence) -> Section:
    count = sum(facts.count(kind) for kind in (EntryKind.CONSUMED, EntryKind.HELD))
    if not facts.operations:
        return Section(_said("Operations"), _paragraphs(["There was none in the period."]))
    shown = "" if count <= len(facts.operations) else f" of {count}"
    told = f"The latest {len(facts.operations)}{shown}, as they were charged; what became of them is counted above."
    heads = (("entry", 0), ("when", 0), ("job", 2), ("mechanism", 0), ("engine", 0), ("data set", 2), ("epsilon", 0))
    rows = [_operation_row(one) for one in facts.operations]
    return Section(_said("Operations"), (*_paragraphs([told]), _wide(heads, rows)))


def _operation_row(one: Entry) -> tuple[Line, ...]:
    return (
        _said(str(one.seq)),
        _said(moment(one.at)[:16]),
        _foreign(one.job_id or "", longest=60),
        _said("" if one.event is None else one.event.kind.replace("_", " ")),
        _said(one.source_engine or ""),
        _said("") if one.dataset is None else _foreign(one.dataset.dataset_id, longest=60),
        _said("" if one.charge is None else decimal_text(one.charge.basic.epsilon)),
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[Line]]) -> Table:
    return _wide([(head, 0) for head in heads], rows)


def _wide(heads: Iterable[tuple[str, int]], rows: Iterable[Sequence[Line]]) -> Table:
    """A table whose columns with a share are broken into lines."""
    columns = tuple(Column(_said(head), share=share) for head, share in heads)
    return Table(columns, tuple(Row(tuple((cell,) for cell in row)) for row in rows))


def _paragraphs(texts: Iterable[str]) -> tuple[Block, ...]:
    return tuple(Paragraph(_said(text)) for text in texts)


def _said(text: str) -> Line:
    return (Text(text),)


def _foreign(text: str, longest: int = _LONGEST) -> Line:
    return (Foreign(text, longest=longest, code=False),)
