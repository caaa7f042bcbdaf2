"""One document, several forms: each shows every rule and the proof's own numbers, and no foreign text does anything."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.charges import price
from accounting.datasets import Dataset
from accounting.events import Adjacency, ComposedEvent, LaplaceEvent
from accounting.values import PrivacyLoss
from proofs.certificate import EPSILON, ProofBundle, node, parse_bundle
from proofs.prover import prove_history, prove_job, prove_plan
from proofs.render.content import document_of
from proofs.render.document import (
    Block,
    Display,
    Document,
    Foreign,
    Items,
    Line,
    Math,
    Paragraph,
    Table,
    Text,
    blocks,
    line,
    pieces,
    shortened,
)
from proofs.render.formats import rendered
from proofs.render.html import html_of, render_html
from proofs.render.latex import latex_of, render_latex
from proofs.render.pdf import render_pdf
from proofs.render.plain_math import outline
from proofs.render.plain_pdf import plain_pdf_of
from proofs.render.sections import SECTIONS
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    EVERY,
    LAPLACE,
    MANY_LAPLACES,
    SIGNER,
    TEN_LAPLACES,
    TENANT,
    WIDE,
    Ledger,
    eventful_ledger,
    evidence_of,
    sample,
)

Writer = Callable[[Document], str | bytes]
WRITERS: Mapping[str, Writer] = {"latex": latex_of, "html": html_of, "plain pdf": plain_pdf_of}
HOSTILE = "<script>alert(1)</script>\\input{/etc/passwd}$%\u05d0&amp;]]><b>"


@cache
def every_rule() -> str:
    """The JSON of one job with every kind of event under every member; one step is on the service's word alone."""
    ledger = Ledger(ALL_MEMBERS)
    for event, loss in EVERY.values():
        ledger.allocate(event, loss=loss)
    document = prove_job(ledger.job(), SIGNER)
    bounded = [step for step in _steps_of(document["certificates"]) if step["rule"] == "accountant_bounded"]
    numbers = bounded[-1]["numbers"]
    bounded[-1].update(node("accountant", EPSILON, numbers).to_wire())
    return json.dumps(document)


def _steps_of(data: object) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        if "rule" in data:
            yield data
        for value in data.values():
            yield from _steps_of(value)
    elif isinstance(data, list):
        for value in data:
            yield from _steps_of(value)


def lines_of(document: Document) -> Iterator[Line]:
    """Every line of words in a document."""
    yield document.subtitle
    for section in document.sections:
        yield section.title
        for block in section.blocks:
            yield from _lines(block)


def _lines(block: Block) -> Iterator[Line]:
    match block:
        case Paragraph(words):
            yield words
        case Items(items):
            yield from items
        case Table(columns, rows):
            yield from (column.head for column in columns)
            yield from (words for row in rows for cell in row.cells for words in cell)


def displays_of(document: Document) -> list[str]:
    """Every formula that has a line of its own."""
    found = (block for section in document.sections for block in section.blocks if isinstance(block, Display))
    return [latex for block in found for latex in block.lines]


def tables_of(document: Document) -> list[Table]:
    """Every table."""
    return [block for section in document.sections for block in section.blocks if isinstance(block, Table)]


def words_of(words: Line) -> str:
    """A line as plain text, with its formulas as they are written."""
    return "".join(part.latex if isinstance(part, Math) else part.text for part in words)


def numbers_of(proof: ProofBundle) -> set[str]:
    """Every number that a proof states."""
    found = {proof.epsilon, proof.delta}
    for root in (*proof.derivations(), proof.composition):
        for step in root.steps():
            found |= set(step.numbers.values())
    for certificate in proof.certificates:
        found |= {certificate.epsilon, certificate.delta}
    return found


@pytest.mark.parametrize("form", WRITERS)
def test_every_rule_is_shown_in_every_form(form: str) -> None:
    """One job with every kind of event: each form can be written, and no formula in it is unknown to the form."""
    document = document_of(json.loads(every_rule()))
    titles = {section.title for section in document.sections}
    assert titles >= {rule.heading for rule in SECTIONS.values()}
    for rule in SECTIONS.values():
        assert any(section.blocks[: len(rule.blocks())] == rule.blocks() for section in document.sections)
    assert len(WRITERS[form](document)) > 10_000


@pytest.mark.parametrize("form", WRITERS)
def test_equal_proofs_give_equal_bytes(form: str) -> None:
    """Neither the date nor chance is in a rendered proof."""
    assert WRITERS[form](document_of(sample())) == WRITERS[form](document_of(sample()))


@pytest.mark.parametrize("form", WRITERS)
def test_hostile_names_are_printed_in_every_form(form: str) -> None:
    """Names of jobs, data sets, partitions and units with markup, commands and turned writing are only text."""
    ledger = Ledger(WIDE)
    ledger.register(Dataset(HOSTILE, HOSTILE, Adjacency.ADD_REMOVE, (HOSTILE,), "x"), WIDE)
    turned = f"\u202e{HOSTILE}"
    ledger.allocate(CLAIM, job_id=turned, on=(HOSTILE, HOSTILE))
    document = document_of(prove_job(ledger.job(turned), SIGNER, registrations=[ledger.entries[1]]))
    told = [part.text for words in lines_of(document) for part in words if isinstance(part, Text)]
    assert not any("alert" in text for text in told)
    written = WRITERS[form](document)
    if isinstance(written, str):
        assert ("\\input" if form == "latex" else "<script") not in written
        assert "\u202e" not in written
        assert "U+202E" in written


def test_the_numbers_shown_are_those_of_the_proof() -> None:
    """What stands behind an equals sign is in the document, digit by digit; what is shortened is close to what is."""
    ledger = eventful_ledger()
    for bundle in (ledger.proof(evidence_of(ledger.entries)), json.loads(every_rule())):
        proof, document = parse_bundle(bundle), document_of(bundle)
        stated = numbers_of(proof)
        values = sorted(map(Fraction, stated))
        cells = [words for table in tables_of(document) for row in table.rows for cell in row.cells for words in cell]
        formulas = [part.latex for words in cells for part in words if isinstance(part, Math)]
        exact = [formula.rpartition("= ")[2] for formula in formulas if _EXACT.search(formula)]
        rough = [formula.rpartition("approx ")[2] for formula in formulas if "approx" in formula]
        assert min(len(exact), len(rough)) > 20
        assert set(exact) <= stated
        for value in map(_value, rough):
            assert min(abs(value - close) for close in values) <= value / 100_000
        assert f"\\varepsilon = {proof.epsilon}" in displays_of(document)[0]
        assert f"\\delta = {proof.delta}" in displays_of(document)[0]


_EXACT = re.compile(r"(?:^|= )[0-9][0-9./]*$")


def _value(number: str) -> Fraction:
    mantissa, _, exponent = number.partition(r" \cdot 10^{")
    return Fraction(mantissa) * Fraction(10) ** int(exponent.rstrip("}") or "0")


def test_what_is_left_of_a_divided_allocation_is_told() -> None:
    """Fewer repetitions than were held: how many were run, and what they cost."""
    ledger = Ledger(ALL_MEMBERS)
    ledger.commit(ledger.allocate(MANY_LAPLACES, loss=TEN_LAPLACES, ttl_seconds=60), steps=4)
    document = document_of(prove_job(ledger.job(), SIGNER))
    left = 4 * price(LAPLACE).epsilon
    assert tables_of(document)[0].rows[0].cells[-1] == (
        line("divided"),
        line("4 of 10 run,"),
        line(rf"$\varepsilon = {left}$, $\delta = 0$ left"),
    )


def test_what_a_sum_is_made_of_is_told() -> None:
    """The amounts of a composition's parts, up to six of them."""
    event = ComposedEvent((LAPLACE,) * 8)
    loss = PrivacyLoss(8 * price(LAPLACE).epsilon, Decimal(0))
    document = document_of(prove_plan(TENANT, "plan-1", event, loss, SIGNER))
    (row,) = tables_of(document)[-1].rows
    amounts = ", ".join([r"\approx 0.333333"] * 6)
    assert words_of(row.cells[0][0]) == rf"\varepsilon:\ {amounts}, \text{{and 2 more}}"
    assert words_of(row.cells[1][0]) == rf"\varepsilon = {loss.epsilon}, \delta = 0"


@pytest.mark.parametrize("form", WRITERS)
def test_a_plan_and_a_history_are_shown(form: str) -> None:
    """A plan says that nothing was charged and has no chain; a history has one, and names its tenant once."""
    plan = document_of(prove_plan(TENANT, "plan-1", LAPLACE, price(LAPLACE), SIGNER))
    assert words_of(plan.subtitle) == f"plan plan-1 of tenant {TENANT}"
    assert [words_of(section.title) for section in plan.sections] == ["Claim", "Laplace noise", "What to trust"]
    assert any("Nothing has been charged" in words_of(words) for words in lines_of(plan))
    ledger = Ledger(ALL_MEMBERS)
    ledger.allocate(CLAIM)
    history = document_of(prove_history(ledger.entries, SIGNER))
    assert words_of(history.subtitle) == f"the whole history of tenant {TENANT}"
    for document in (plan, history, document_of(prove_history(Ledger().entries, SIGNER))):
        assert WRITERS[form](document)


@cache
def thousand() -> Document:
    """The document of a job of a thousand different allocations."""
    ledger = Ledger()
    for scale in range(1000, 2000):
        ledger.allocate(LaplaceEvent(Decimal(scale), Decimal(1)))
    return document_of(prove_job(ledger.job(), SIGNER))


@pytest.mark.parametrize(("form", "bytes_at_most"), [("latex", 200_000), ("html", 600_000), ("plain pdf", 600_000)])
def test_a_job_of_a_thousand_allocations_is_shown_in_bounded_size(form: str, bytes_at_most: int) -> None:
    """So many allocations, instances and rows are shown; that there are more is said."""
    assert max(len(table.rows) for table in tables_of(thousand())) == 500
    told = [words_of(words) for words in lines_of(thousand())]
    assert "900 more allocations are in the JSON document." in told
    assert "and 980 more, in the JSON document." in told
    assert "500 more rows are in the JSON document." in told
    assert len(WRITERS[form](thousand())) <= bytes_at_most


def test_every_form_has_its_media_type() -> None:
    """What the service sends as an answer, and the CLI writes into a file."""
    document = sample()
    assert rendered(document, "latex") == (render_latex(document).encode(), "application/x-latex")
    assert rendered(document, "html") == (render_html(document).encode(), "text/html; charset=utf-8")
    assert rendered(document, "pdf") == (render_pdf(document), "application/pdf")


def test_our_own_words_are_read_as_they_are_marked() -> None:
    """Formulas, strong words and code in a line; formulas in lines of their own between paragraphs."""
    assert line("If $x > 0$, **then** run `it`.") == (
        Text("If "),
        Math("x > 0"),
        Text(", "),
        Text("then", strong=True),
        Text(" run "),
        Foreign("it"),
        Text("."),
    )
    assert blocks("So\n\\[ a = b, \\]\nas said.") == (
        Paragraph((Text("So"),)),
        Display(("a = b,",)),
        Paragraph((Text("as said."),)),
    )


def test_a_formula_is_broken_at_relations_and_nowhere_inside_brackets() -> None:
    """Each piece but the first begins with a relation, and every piece can be set by itself."""
    assert pieces(r"a = \max(b = c, d) \le e^{f = g}, \qquad h") == [
        ["a", r"= \max(b = c, d)", r"\le e^{f = g},"],
        ["h"],
    ]


def test_every_piece_of_every_formula_fits_a_page() -> None:
    """The plain PDF's formulas are broken at their pieces only; a page is 170 mm wide."""
    formulas = displays_of(document_of(json.loads(every_rule())))
    widest = max(outline(piece, 11).width for formula in formulas for group in pieces(formula) for piece in group)
    assert widest <= 170 / 25.4 * 72


@given(st.text(max_size=100), st.integers(10, 60))
def test_what_is_shortened_keeps_its_head_and_its_tail(text: str, longest: int) -> None:
    """A short text is whole; of a long one both ends are shown, within the length that is allowed."""
    head, tail = shortened(text, longest)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert (head == text) is (len(text) <= longest)
    assert len(head) + len(tail) <= longest
