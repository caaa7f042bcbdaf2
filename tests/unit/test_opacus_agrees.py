"""Opacus, whose accountants share no code with ours or with dp-accounting, comes to the same figures."""

import math
from decimal import Decimal

import pytest
from opacus.accountants.analysis.rdp import compute_rdp

from accounting.events import PoissonGaussianEvent, SelfComposedEvent
from accounting.plans import Theorem, price_plan
from accounting.renyi import divergence, dp_accounting_divergence
from tests.reference.procedures import opacus_bracket

pytestmark = pytest.mark.untraced

ONE = Decimal(1)
SIGMAS = ["0.1", "0.15", "0.3", "0.5", "0.8", "1", "1.5", "4", "20", "300"]
RATES = ["0.00001", "0.001", "0.04", "0.1", "0.5", "0.9", "1"]
ORDERS = [1.01, 1.1, 1.25, 1.5, 1.75, 2, 2.25, 3, 4.5, 7.7, 10.9, 12.5, 20.5, 32, 40.5, 63, 100.5, 256]
SERIES_END = 2e-13
"""Opacus ends a series where its terms are below exp(-30), and takes the logarithm of one plus the rest."""
WIDENING = 1.1e-14
"""What we add to a divergence for the rounding of doubles."""


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("rate", RATES)
def test_opacus_has_the_same_renyi_divergence(sigma: str, rate: str) -> None:
    """At whole and broken orders alike; above Opacus' only where dp-accounting's series, our second, does not converge.

    There nobody confirms our integral, and a looser bound between whole orders takes its place.
    """
    event = PoissonGaussianEvent(Decimal(sigma), ONE, Decimal(rate))
    for order in ORDERS:
        theirs = float(compute_rdp(q=float(rate), noise_multiplier=float(sigma), steps=1, orders=[order])[0])
        if theirs < 0:
            assert order > 100, "Opacus' own series breaks down at large broken orders only"
            continue
        ours = float(divergence(event, order))
        slack = SERIES_END / (order - 1) + WIDENING
        assert ours >= theirs * (1 - 1e-8) - slack, (order, ours, theirs)
        if float(order).is_integer() or math.isfinite(dp_accounting_divergence(event, order)):
            assert ours <= theirs * (1 + 1e-8) + slack, (order, ours, theirs)


def test_opacus_bounds_hold_our_price_of_training_runs() -> None:
    """Our price by privacy loss distributions is within Opacus' two-sided bounds on the true epsilon."""
    runs = [("1", "0.01", 1_000, "0.00001"), ("1.5", "0.04", 2_249, "0.00001"), ("0.8", "0.005", 500, "0.000001")]
    for sigma, rate, steps, delta in runs:
        step = PoissonGaussianEvent(Decimal(sigma), ONE, Decimal(rate))
        loss = price_plan(SelfComposedEvent(step, steps), Decimal(delta)).price(Theorem.PLD).loss
        assert loss is not None
        below, above = opacus_bracket([(Decimal(sigma), Decimal(rate), steps)], float(delta))
        assert below <= loss.epsilon <= above, (sigma, rate, steps, delta)
        assert above - below < Decimal("0.03"), "bounds so wide say nothing"
