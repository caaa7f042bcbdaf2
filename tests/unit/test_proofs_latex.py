"""The rendering for people: its formulas are right, and no foreign text becomes a command."""

import math
import re
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from accounting.charges import price
from accounting.datasets import Dataset
from accounting.events import Adjacency, LaplaceEvent
from proofs.certificate import MalformedError
from proofs.prover import prove_job
from proofs.render.latex import escape, render_latex
from proofs.render.symbolic import (
    DerivationError,
    confirm_equal,
    confirm_not_negative,
    conversion_steps,
    gaussian_steps,
    laplace_steps,
    order_steps,
    pure_steps,
)
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    EVERY,
    PUBLISHER,
    SIGNER,
    WIDE,
    Ledger,
    eventful_ledger,
    evidence_of,
    sample,
)


def assert_balanced(source: str) -> None:
    """Braces and environments close in the order in which they open; table rows have as many columns as the table."""
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", source):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    open_environments: list[str] = []
    for command, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", source):
        if command == "begin":
            open_environments.append(name)
        else:
            assert open_environments.pop() == name
    assert open_environments == []
    for table in re.findall(r"\\begin\{longtable\}.*?\\end\{longtable\}", source, re.DOTALL):
        heads, rows = re.findall(r"\\toprule\n(.*?)\\midrule\n\\endhead\n(.*?)\n\\bottomrule", table, re.DOTALL)[0]
        for row in rows.splitlines():
            if not row.startswith("\\addlinespace"):
                assert len(re.findall(r"(?<!\\)&", row)) == heads.count("&"), row


def test_the_document_holds_the_claim_the_derivations_the_chain_and_what_to_trust() -> None:
    """One section for each, with the job's own numbers."""
    source = render_latex(sample())
    assert_balanced(source)
    for part in (
        r"\begin{document}",
        r"\section*{Claim}",
        r"\varepsilon = 2.521853358087",
        r"\section*{Laplace noise}",
        r"$\Delta = 1$, $b = 3$ & $\varepsilon = 0.333333333334$, $\delta = 0$",
        r"\section*{Gaussian noise}",
        r"\rho = 25/648",
        r"\mu^2 = 25/324",
        r"\section*{Engine's claims}",
        r"taken on the engine's word",
        r"\section*{Balance and place in the ledger}",
        r"ends 7",
        r"\section*{What to trust}",
        SIGNER.kid,
        r"\end{document}",
    ):
        assert part in source, part


def test_every_budget_that_was_charged_is_shown() -> None:
    """What each promises, its balance, how allocations ended, and where the entries stand in the log."""
    ledger = eventful_ledger()
    source = render_latex(ledger.proof(evidence_of(ledger.entries, before=7)))
    assert_balanced(source)
    for part in (
        r"Allocations: 13 (adjusted: 3, divided: 1, stands: 8, voided: 1).",
        r"the tenant's budget for the window of 30 days from",
        r"the tenant's budget for all time",
        r"the data set patients, for all time",
        r" &  & data set & basic $\varepsilon$ & ",
        r"\section*{Place in the log}",
        r"stands & log 10 & ",
        r"Entries in the log: 21 of 21; the table has their places.",
        escape(PUBLISHER.kid),
    ):
        assert part.replace("'", "'{}") in source or part in source, part


def test_a_document_without_a_head_says_so() -> None:
    """Nothing is claimed of a log that is not there."""
    source = render_latex(sample())
    assert "This document has no head of the log." in source


def test_many_promises_stay_readable() -> None:
    """The same words once, with the positions; too many are left to the JSON document."""
    ledger = Ledger(ALL_MEMBERS, 30)
    for _ in range(25):
        ledger.allocate(CLAIM, loss=price(CLAIM))
        ledger.wait(31)
    source = render_latex(ledger.proof())
    assert_balanced(source)
    assert source.count(r"\item \textbf{scope: }") == 20
    assert source.count(r"\item \textbf{adaptivity: }") == 1
    assert "5 more promises are in the JSON document." in source


def test_hostile_names_of_data_sets_are_printed_and_nothing_else() -> None:
    """No command of a data set, a partition or a unit survives."""
    hostile = "\\input{/etc/passwd}%$&#_^~{}\\end{document}"
    ledger = Ledger(WIDE)
    ledger.register(Dataset(hostile, hostile, Adjacency.ADD_REMOVE, (hostile,), "x"), WIDE)
    ledger.allocate(CLAIM, on=(hostile, hostile))
    source = render_latex(ledger.proof())
    assert_balanced(source)
    assert r"\input" not in source
    assert source.count(r"\end{document}") == 1


def test_every_rule_is_shown_with_its_own_numbers() -> None:
    """One job with every kind of event under every member: one section for each rule, and no raw number name."""
    ledger = Ledger(ALL_MEMBERS)
    for event, loss in EVERY.values():
        ledger.allocate(event, loss=loss)
    # No budget is large enough for all of these; the rendering does not judge, and marks who does not hold.
    source = render_latex(prove_job(ledger.job(), SIGNER))
    assert_balanced(source)
    assert r"$\Delta = 1$, $\sigma = 1.1$, $q = 0.01$ & $D_\alpha" in source
    assert "taken on the service's word" in source
    assert r" & basic $\varepsilon$ & " in source
    assert r" & basic* $\varepsilon$ & " in source


def test_only_the_rules_in_use_are_derived() -> None:
    """A job of plain claims shows no noise."""
    ledger = Ledger()
    ledger.allocate(CLAIM)
    source = render_latex(prove_job(ledger.job(), SIGNER))
    assert "Laplace" not in source
    assert "Gaussian" not in source
    assert "Engine's claims" in source


def test_a_job_of_many_allocations_stays_readable() -> None:
    """What is left out is said to be in the JSON document."""
    ledger = Ledger(ALL_MEMBERS)
    for scale in range(1, 31):
        ledger.allocate(LaplaceEvent(Decimal(scale), Decimal(1)))
    for _ in range(120):
        ledger.allocate(CLAIM)
    source = render_latex(prove_job(ledger.job(), SIGNER))
    assert_balanced(source)
    assert "and 10 more, in the JSON document" in source
    assert "50 more allocations are in the JSON document" in source
    assert "100 more rows are in the JSON document" in source


def test_a_long_number_is_shortened_and_marked() -> None:
    """Nothing that is rounded is written with an equals sign."""
    ledger = Ledger()
    ledger.allocate(LaplaceEvent(Decimal("123456789.123456789123456789"), Decimal("0.000000000000000000017")))
    source = render_latex(prove_job(ledger.job(), SIGNER))
    assert r"b \approx 123456789.1" in source or r"b \approx 1.2345679 \cdot 10^{8}" in source
    assert r"\Delta \approx 1.7 \cdot 10^{-20}" in source


def test_a_hostile_job_id_is_printed_and_nothing_else() -> None:
    """No command, comment, mathematics or open brace of the job id survives."""
    hostile = "\\input{/etc/passwd}%$&#_^~{}\n\x00é\\end{document}"
    ledger = Ledger()
    ledger.allocate(CLAIM, job_id=hostile)
    source = render_latex(prove_job(ledger.job(hostile), SIGNER))
    assert_balanced(source)
    assert r"\input" not in source
    assert source.count(r"\end{document}") == 1
    assert r"\textbackslash{}input\{/etc/passwd\}\%\$\&\#\_\textasciicircum{}" in source


@given(st.text(max_size=200))
def test_escaped_text_has_no_active_character(text: str) -> None:
    """Once the known escapes are taken away, nothing that LaTeX would act upon is left."""
    escaped = escape(text)
    assert escaped.isascii()
    assert escaped.isprintable() or escaped == ""
    rest = re.sub(r"\\(?:text[a-z]+|ldots|allowbreak)\{\}|\\[{}$&#%_]|\{\}", "", escaped)
    assert not re.search(r"[\\{}$&#%_^~<>|\"'`]", rest)
    assert "--" not in escaped
    assert ",," not in escaped


def test_what_is_no_proof_is_not_rendered() -> None:
    """The renderer reads the format strictly, as the checker does."""
    with pytest.raises(MalformedError):
        render_latex({"format": "other"})


@pytest.mark.parametrize("steps", [laplace_steps, gaussian_steps, pure_steps, conversion_steps, order_steps])
def test_the_symbolic_work_is_done_once(steps: Callable[[], tuple[str, ...]]) -> None:
    """A second document gets the very same steps."""
    assert steps() is steps()


@settings(max_examples=200)
@given(st.floats(-50, 50), st.floats(-5, 5), st.floats(0.1, 10))
def test_the_laplace_likelihood_ratio_is_bounded_as_derived(x: float, shift: float, scale: float) -> None:
    """The derivation is confirmed by SymPy; its conclusion also holds in numbers."""
    assert r"\frac{s - t}{b}" in laplace_steps()[1]
    log_ratio = (abs(x - shift) - abs(x)) / scale
    assert log_ratio <= abs(shift) / scale + 1e-9


@pytest.mark.parametrize(("order", "shift", "sigma"), [(2.0, 1.0, 1.0), (1.5, 0.7, 2.0), (6.0, 1.0, 3.0)])
def test_the_renyi_divergence_of_gaussians_is_as_derived(order: float, shift: float, sigma: float) -> None:
    """Numerical integration of the definition gives order * shift^2 / (2 sigma^2)."""
    assert r"= \alpha\rho" in gaussian_steps()[2]

    def integrand(x: float) -> float:
        exponent = -(order * (x - shift) ** 2 + (1 - order) * x**2) / (2 * sigma**2)
        return math.exp(exponent) / (sigma * math.sqrt(2 * math.pi))

    integral, _ = quad(integrand, -np.inf, np.inf)
    assert math.log(integral) / (order - 1) == pytest.approx(order * shift**2 / (2 * sigma**2), rel=1e-8)


@pytest.mark.parametrize(("order", "divergence", "delta"), [(2.0, 0.5, 1e-3), (12.0, 0.4, 1e-6), (1.2, 0.1, 0.01)])
def test_the_conversion_agrees_with_a_numerical_maximum(order: float, divergence: float, delta: float) -> None:
    """The closed form equals what a numerical search for the touching constant gives."""
    assert r"y = \ln\frac{\alpha}{\alpha - 1}" in conversion_steps()[1]
    found = minimize_scalar(
        lambda y: -(1 - math.exp(-y)) * math.exp(-(order - 1) * y), bounds=(0, 50), method="bounded"
    )
    numerical = divergence + (math.log(-found.fun) - math.log(delta)) / (order - 1)
    closed = divergence + math.log(1 - 1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
    assert closed == pytest.approx(numerical, rel=1e-6)


@pytest.mark.parametrize(("rho", "delta"), [(0.5, 1e-6), (0.001, 1e-9), (20.0, 0.01)])
def test_the_best_order_agrees_with_a_numerical_minimum(rho: float, delta: float) -> None:
    """A numerical search finds the order at which the derived equation holds, and the epsilon that it names."""
    assert r"(\alpha - 1)^2 \rho = \ln\frac{1}{\alpha\delta}" in order_steps()[0]

    def converted(order: float) -> float:
        return order * rho + math.log(1 - 1 / order) - (math.log(delta) + math.log(order)) / (order - 1)

    found = minimize_scalar(
        lambda log_above: converted(1 + math.exp(log_above)), bounds=(-8, 8), method="bounded", options={"xatol": 1e-9}
    )
    order = 1 + math.exp(found.x)
    assert (order - 1) ** 2 * rho == pytest.approx(math.log(1 / (order * delta)), rel=1e-4)
    assert found.fun == pytest.approx((2 * order - 1) * rho + math.log(1 - 1 / order), rel=1e-4)


@pytest.mark.parametrize(("order", "epsilon"), [(2.0, 0.5), (1.5, 3.0), (24.0, 0.1)])
def test_the_divergence_of_randomized_response_is_as_derived(order: float, epsilon: float) -> None:
    """The definition's two terms are the quotient of hyperbolic cosines."""
    assert r"\cosh" in pure_steps()[0]
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))
    moment = truth**order * (1 - truth) ** (1 - order) + (1 - truth) ** order * truth ** (1 - order)
    assert moment == pytest.approx(math.cosh((order - 0.5) * epsilon) / math.cosh(epsilon / 2), rel=1e-12)


def test_a_step_that_is_wrong_is_not_confirmed() -> None:
    """The confirmation has teeth."""
    x = sympy.Symbol("x", real=True)
    with pytest.raises(DerivationError):
        confirm_equal(x**2, x**2 + 1)
    with pytest.raises(DerivationError):
        confirm_not_negative(x)
