"""The HTML form: well-formed, whole in itself, closed to everything outside, and open to no foreign text."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.prover import prove_job
from proofs.render.html import foreign, mathml, render_html
from tests.unit.proofs_helpers import CLAIM, SIGNER, Ledger, eventful_ledger, evidence_of, sample

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "p", "ul", "li"),
    *("div", "span", "strong", "code", "bdi", "table", "thead", "tbody", "tr", "th", "td"),
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mstyle", "mtable", "mtr", "mtd"),
    *("msub", "msup", "msubsup", "munder", "munderover", "mover"),
}
"""No script, link, image, frame, form or anything else that could fetch or run."""
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "tabindex"),
    *("displaystyle", "stretchy", "fence", "form", "minsize", "maxsize", "lspace", "rspace", "width", "mathvariant"),
    *("linethickness", "scriptlevel", "movablelimits"),
}


def parsed(page: str) -> ElementTree.Element:
    """The page's tree; an error if it is not well-formed."""
    first, _, rest = page.partition("\n")
    assert first == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def eventful() -> str:
    """The page of a job with every kind of entry."""
    ledger = eventful_ledger()
    return render_html(ledger.proof(evidence_of(ledger.entries)))


def test_the_page_is_well_formed_and_refers_to_nothing() -> None:
    """Only elements and attributes that show something are there, and no address at all."""
    page = eventful()
    for element in parsed(page).iter():
        assert element.tag in ALLOWED
        assert set(element.attrib) <= ATTRIBUTES, element.attrib
    assert not re.search(r"https?:|//|url\(|@import|javascript:", page.replace("<!DOCTYPE html>", ""))


def test_the_policy_allows_the_one_style_sheet_and_nothing_else() -> None:
    """The style's hash is in the policy, so that a browser applies it; everything else falls to 'none'."""
    page = parsed(sample_page := render_html(sample()))
    style = page.find("head/style")
    assert style is not None
    assert style.text is not None
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    policy = page.find("head/meta[@http-equiv='Content-Security-Policy']")
    assert policy is not None
    assert policy.attrib["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert sample_page.index("Content-Security-Policy") < sample_page.index("<style>")


def test_the_page_reads_in_the_order_of_an_argument() -> None:
    """A title, the claim, the derivations, the chain, what to trust."""
    headings = ["".join(heading.itertext()) for heading in parsed(eventful()).iter("h2")]
    assert headings[0] == "Claim"
    assert headings.index("Laplace noise") < headings.index("Balance and place in the ledger")
    assert headings[-2:] == ["Place in the log", "What to trust"]


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "</title></style><img src=x onerror=alert(1)>",
        "\"'><a href='javascript:alert(1)'>",
        "&lt;script&gt; &#60;script&#62; ]]> <!--",
        "\u202eevil\u2066\u200b\x00\x1b\ufffe",
    ],
)
def test_a_hostile_job_id_is_shown_and_nothing_else(hostile: str) -> None:
    """The page has the same elements as that of a tame job, and the job's id is their text."""
    pages = []
    for job_id in (hostile, "j" * len(hostile)):
        ledger = Ledger()
        ledger.allocate(CLAIM, job_id=job_id)
        pages.append(parsed(render_html(prove_job(ledger.job(job_id), SIGNER))))
    assert [element.tag for element in pages[0].iter()] == [element.tag for element in pages[1].iter()]
    shown = pages[0].find("body/header/p/code/bdi")
    assert shown is not None
    assert shown.text == "".join(
        character if character.isprintable() else f"<U+{ord(character):04X}>" for character in hostile
    )


def test_writing_from_right_to_left_stays_in_its_place() -> None:
    """Foreign letters are shown as they are, each text isolated from the line around it."""
    ledger = Ledger()
    ledger.allocate(CLAIM, job_id="שלום")
    assert "<code><bdi>שלום</bdi></code> of tenant" in render_html(prove_job(ledger.job("שלום"), SIGNER))


@given(st.text(max_size=200))
def test_foreign_text_is_only_text(text: str) -> None:
    """As XML it is one text without elements, and every character of it is one that is printed."""
    element = ElementTree.fromstring(f"<bdi>{foreign(text)}</bdi>")
    assert len(element) == 0
    assert (element.text or "").isprintable()


def test_mathematics_is_mathml() -> None:
    """Fractions, powers and operators are elements of their own, not pictures or letters."""
    assert mathml(r"\frac{a}{b^2}") == (
        "<math><mrow><mfrac><mrow><mi>a</mi></mrow><mrow><msup><mi>b</mi><mn>2</mn></msup></mrow></mfrac></mrow></math>"
    )
    assert mathml(r"\sum_i x", displayed=True).startswith('<math displaystyle="true"><mrow><munder>')
    assert "\\" not in eventful().replace('content: "\\200b"', "")
