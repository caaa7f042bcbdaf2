"""A report, or several side by side, as the document that people read, in the form-free model of `proofs.render`."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from accounting.values import PrivacyLoss, decimal_text
from deployments.reporting.comparison import TOGETHER, Comparison
from deployments.reporting.controls import NOTICE
from deployments.reporting.facts import ADJACENCIES
from deployments.reporting.levels import CAVEATS, SCALE
from deployments.reporting.report import STANDING, TUNING_NOTE, PrivacyReport, delta_meaning
from proofs.render.document import Block, Column, Document, Foreign, Items, Line, Paragraph, Row, Section, Table, Text

CURVES = "What it would cost otherwise"
"""The title of the section that a picture of the curves belongs to."""
_LONGEST = 2_000


def document_of(report: PrivacyReport) -> Document:
    """The document of one report."""
    facts = report.facts
    subtitle = (Text("job "), Foreign(facts.job_id), Text(" of tenant "), Foreign(facts.tenant_id))
    sections = [_summary(report), _delta(report), _scale(report), _mechanism(report), _curves(report), _tuning(report)]
    return Document("Privacy report", subtitle, (*sections, _evidence(report)))


def comparison_document(comparison: Comparison) -> Document:
    """The document of several reports side by side."""
    heads = ("model", "job", "ε", "δ", "target ε", "level", "status")
    rows = [
        (
            _foreign(facts.model),
            _foreign(facts.job_id),
            _number(facts.spent.epsilon),
            _number(facts.spent.delta),
            _number(facts.target_epsilon),
            _said("none" if facts.level is None else facts.level.value),
            _said(facts.status.value),
        )
        for facts in comparison.jobs
    ]
    blocks: list[Block] = [_table(heads, rows)]
    if comparison.warnings:
        blocks.append(Items(tuple(_foreign(warning) for warning in comparison.warnings)))
    together = [(_foreign(name), *_loss_cells(loss)) for name, loss in comparison.together]
    sections = [Section(_said("Side by side"), tuple(blocks))]
    if together:
        whole = (Paragraph(_said(TOGETHER)), _table(("data set", "ε together", "δ together"), together))
        sections.append(Section(_said("All of them together"), whole))
    tenant = comparison.jobs[0].tenant_id
    return Document("Comparison of models", (Text("of tenant "), Foreign(tenant)), tuple(sections))


def _summary(report: PrivacyReport) -> Section:
    facts = report.facts
    rows: list[tuple[Line, Line]] = [
        (_said("epsilon spent"), (Text(decimal_text(facts.spent.epsilon), strong=True),)),
        (_said("delta spent"), _number(facts.spent.delta)),
        (_said("target epsilon"), _number(facts.target_epsilon)),
        (_said("used of the target"), _said(f"{decimal_text(facts.utilisation)} %")),
        (_said("level"), (Text("none" if facts.level is None else facts.level.value, strong=True),)),
        (_said("status"), _said(facts.status.value)),
        (_said("steps run, of those held"), _said(f"{facts.steps_run} of {facts.steps_held}")),
        (_said("privacy unit"), _foreign(facts.unit)),
        (_said("adjacency"), _said(ADJACENCIES[facts.adjacency])),
        (_said("records"), _said(str(facts.records))),
        (_said("data set"), _said("none") if facts.dataset_id is None else _foreign(facts.dataset_id)),
        (_said("the data set's own budget"), _said("charged too" if facts.registered else "none")),
        (_said("model"), _foreign(facts.model)),
    ]
    for name, loss in (("budget in all", facts.budget), ("remains in the budget", facts.remaining)):
        if loss is not None:
            rows.append((_said(name), _said(f"ε {decimal_text(loss.epsilon)}, δ {decimal_text(loss.delta)}")))
    told = [STANDING[facts.status]]
    if facts.spent.epsilon > facts.target_epsilon:
        told.append("More was spent than was asked for.")
    if report.planned_epsilon is not None:
        priced = f"Priced anew, the event as it was held costs an epsilon of {decimal_text(report.planned_epsilon)}"
        told.append(f"{priced}: {'the same to the last digit' if report.agrees else 'not what the ledger counts'}.")
    if report.run_epsilon is not None:
        run = decimal_text(report.run_epsilon)
        told.append(f"Had the number of steps that were run been fixed in advance, they would have cost {run}.")
    return Section(_said("What was spent"), (_table(("what", "value"), rows), *_paragraphs(told)))


def _delta(report: PrivacyReport) -> Section:
    return Section(_said("What delta means here"), _paragraphs([delta_meaning(report)]))


def _scale(report: PrivacyReport) -> Section:
    of_this = report.facts.level
    rows = [
        ((Text(level.value, strong=True) if level is of_this else Text(level.value),), _said(covers))
        for level, covers in SCALE
    ]
    found = "Its charge was taken back, so it has no level." if of_this is None else f"This job's level is {of_this}."
    blocks: list[Block] = [*_paragraphs([found]), _table(("level", "covers"), rows)]
    return Section(_said("How strong that is"), (*blocks, Items(tuple(_said(caveat) for caveat in CAVEATS))))


def _mechanism(report: PrivacyReport) -> Section:
    mechanics = report.facts.mechanics
    numbers = (
        ("noise multiplier", mechanics.noise_multiplier),
        ("clipping norm", mechanics.clip),
        ("sampling rate", mechanics.sampling_rate),
        ("expected batch", None if mechanics.expected_batch is None else Decimal(mechanics.expected_batch)),
    )
    rows = [(_said(name), _number(value)) for name, value in numbers if value is not None]
    rows.insert(0, (_said("method"), _foreign(mechanics.method)))
    return Section(_said("How the noise came about"), (_table(("what", "value"), rows),))


def _curves(report: PrivacyReport) -> Section:
    blocks: list[Block] = [
        *_paragraphs(["The same event at other deltas: one mechanism keeps all of these promises at once."]),
        _table(("δ", "ε"), [(_number(point.delta), _price(point.epsilon)) for point in report.by_delta]),
    ]
    if report.by_steps:
        blocks += _paragraphs(["The same event with other numbers of steps, at the same delta:"])
        blocks.append(
            _table(("steps", "ε"), [(_said(str(point.steps)), _price(point.epsilon)) for point in report.by_steps])
        )
    return Section(_said(CURVES), tuple(blocks))


def _tuning(report: PrivacyReport) -> Section:
    blocks: list[Block] = list(_paragraphs([TUNING_NOTE]))
    if report.variations:
        rows = [(_said(one.change), _price(one.epsilon)) for one in report.variations]
        blocks.append(_table(("change", "ε"), rows))
    if report.least_factor is not None:
        told = f"The least noise that keeps the target of {decimal_text(report.facts.target_epsilon)} is "
        told += f"{decimal_text(report.least_factor)} times that of this job"
        if report.least_multiplier is not None:
            told += f", a noise multiplier of {decimal_text(report.least_multiplier)}"
        blocks += _paragraphs([f"{told}, found by the accountant to ten digits."])
    return Section(_said("Other plans"), tuple(blocks))


def _evidence(report: PrivacyReport) -> Section:
    columns = tuple(
        Column(_said(name), share=share) for name, share in (("control", 2), ("evidence", 3), ("does not show", 3))
    )
    rows, before = [], ""
    for control in report.controls:
        name = (Text(f"{control.framework} {control.reference}", strong=True),)
        cells = ((name, _said(control.subject)), (_foreign(control.evidence),), (_foreign(control.limits),))
        rows.append(Row(cells, begins=bool(before) and control.framework != before))
        before = control.framework
    return Section(_said("Evidence for named controls"), (*_paragraphs([NOTICE]), Table(columns, tuple(rows))))


def _table(heads: Sequence[str], rows: Iterable[Sequence[Line]]) -> Table:
    return Table(
        tuple(Column(_said(head)) for head in heads), tuple(Row(tuple((cell,) for cell in row)) for row in rows)
    )


def _paragraphs(texts: Iterable[str]) -> tuple[Block, ...]:
    return tuple(Paragraph(_said(text)) for text in texts)


def _loss_cells(loss: PrivacyLoss) -> tuple[Line, Line]:
    return _number(loss.epsilon), _number(loss.delta)


def _said(text: str) -> Line:
    return (Text(text),)


def _foreign(text: str) -> Line:
    return (Foreign(text, longest=_LONGEST, code=False),)


def _number(value: Decimal) -> Line:
    return _said(decimal_text(value))


def _price(value: Decimal | None) -> Line:
    return _said("no price") if value is None else _number(value)
