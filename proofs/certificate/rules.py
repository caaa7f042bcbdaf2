"""The rules of inference of a proof: the numbers that each needs, and the words in which it speaks.

A wording is part of the format: a step whose words differ from those written here is refused, so no signer can put a
stronger promise into prose than into numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Currency:
    """What a step's conclusion is counted in.

    Attributes:
        numbers: Names of the numbers of a cost in this currency. The amount is named like the currency itself.
        wording: What an operation of that cost is, as the end of a sentence.
    """

    numbers: tuple[str, ...]
    wording: str


EPSILON, RENYI, RHO, MU_SQUARED = "epsilon", "renyi", "rho", "mu_squared"
CURRENCIES: Mapping[str, Currency] = {
    EPSILON: Currency((EPSILON, "delta"), "is ({epsilon}, {delta})-differentially private"),
    RENYI: Currency(
        (RENYI, "order", "delta"),
        "has, but for a delta of {delta}, a Renyi divergence of at most {renyi} at order {order}",
    ),
    RHO: Currency((RHO, "delta"), "is, but for a delta of {delta}, {rho}-zero-concentrated differentially private"),
    MU_SQUARED: Currency(
        (MU_SQUARED, "delta"),
        "is, but for a delta of {delta}, mu-Gaussian differentially private with mu^2 = {mu_squared}",
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """An inference rule: the numbers that it needs, what it rests on, and the words of its conclusion.

    Attributes:
        currencies: What its conclusion may be counted in.
        wording: The statement, with the numbers' names in braces, and ``{cost}`` for the words of the currency.
        numbers: Names of its numbers beside those of the cost.
        premises: How many steps it rests on; None for one or more.
        premise: The currency of these steps; None for that of the conclusion.
    """

    currencies: tuple[str, ...]
    wording: str
    numbers: tuple[str, ...] = ()
    premises: int | None = 0
    premise: str | None = None

    def names(self, currency: str) -> tuple[str, ...]:
        """The names of all numbers of a step that concludes in that currency."""
        return (*self.numbers, *CURRENCIES[currency].numbers) if "{cost}" in self.wording else self.numbers

    def statement(self, currency: str, numbers: Mapping[str, str]) -> str:
        """The statement with the numbers filled in."""
        return self.wording.replace("{cost}", CURRENCIES[currency].wording).format(**numbers)


_SENSITIVITY = " The sensitivity is the engine's statement."
_PRICING: Mapping[str, Rule] = {
    # Rules of single operations, named after the kind of the event that they price.
    "claim": Rule(
        (EPSILON,),
        "The engine states that its operation {cost}. This is taken on the engine's word: nothing in this document "
        "proves it.",
    ),
    "zcdp": Rule(
        (RHO,),
        "The engine states that its operation {cost}. This is taken on the engine's word: nothing in this document "
        "proves it.",
    ),
    "laplace": Rule(
        (EPSILON, RENYI),
        "Laplace noise of scale {scale} on each coordinate of a statistic of L1 sensitivity {sensitivity} {cost}."
        + _SENSITIVITY,
        ("sensitivity", "scale"),
    ),
    "discrete_laplace": Rule(
        (EPSILON, RENYI),
        "Discrete Laplace noise of scale {scale} on each coordinate of a whole-numbered statistic of L1 sensitivity "
        "{sensitivity} {cost}." + _SENSITIVITY,
        ("sensitivity", "scale"),
    ),
    "gaussian": Rule(
        (RHO, MU_SQUARED),
        "Gaussian noise of standard deviation {sigma} on each coordinate of a statistic of L2 sensitivity "
        "{sensitivity} {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma"),
    ),
    "discrete_gaussian": Rule(
        (RHO,),
        "Discrete Gaussian noise of parameter {sigma} on each coordinate of a statistic of L2 sensitivity "
        "{sensitivity} {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma"),
    ),
    "exponential": Rule(
        (EPSILON, RHO),
        "Selection by noise of scale {scale} on scores that each have sensitivity {sensitivity}, by a log-odds range "
        "of {factor} times sensitivity / scale, {cost}. The factor is 2, or 1 where a privacy unit moves all scores in "
        "the same direction, which, like the sensitivity, is the engine's statement.",
        ("sensitivity", "scale", "factor"),
    ),
    "randomized_response": Rule(
        (EPSILON,),
        "Telling the true one of {categories} answers with probability {probability}, and any other with equal "
        "chances, {cost}.",
        ("probability", "categories"),
    ),
    "poisson_laplace": Rule(
        (EPSILON,),
        "Laplace noise of scale {scale} on a sum of L1 sensitivity {sensitivity}, in which each privacy unit takes "
        "part with probability {sampling_probability} on its own, {cost}." + _SENSITIVITY,
        ("sensitivity", "scale", "sampling_probability"),
    ),
    "poisson_gaussian": Rule(
        (RENYI,),
        "Gaussian noise of standard deviation {sigma} on a sum of L2 sensitivity {sensitivity}, in which each privacy "
        "unit takes part with probability {sampling_probability} on its own, {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma", "sampling_probability"),
    ),
    "fixed_size_gaussian": Rule(
        (RENYI,),
        "Gaussian noise of standard deviation {sigma} on a sum of L2 sensitivity {sensitivity} over {sample_size} of "
        "{population} privacy units, drawn without replacement, {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma", "sample_size", "population"),
    ),
    # Rules of compositions, likewise.
    "self_composed": Rule(tuple(CURRENCIES), "The same operation {count} times over {cost}.", ("count",), premises=1),
    "composed": Rule(tuple(CURRENCIES), "All these operations together, fixed in advance, {cost}.", premises=None),
    "parallel": Rule(
        tuple(CURRENCIES),
        "Operations on disjoint partitions of the privacy units, of whose costs the largest {counted} count, {cost}. "
        "That the partitions are disjoint and do not depend on the data is the service's statement.",
        ("counted",),
        premises=None,
    ),
    # Rules of conversion, which speak of the event that their premise speaks of.
    "pure_to_renyi": Rule((RENYI,), "What is private in this way {cost}.", premises=1, premise=EPSILON),
    "pure_to_rho": Rule((RHO,), "What is private in this way {cost}.", premises=1, premise=EPSILON),
    "pure_to_mu": Rule((MU_SQUARED,), "What is private in this way {cost}.", premises=1, premise=EPSILON),
    "rho_to_renyi": Rule((RENYI,), "What is private in this way {cost}.", premises=1, premise=RHO),
    "renyi_to_epsilon": Rule(
        (EPSILON,),
        "What is private in this way, converted at order {order} with a delta of {conversion_delta}, {cost}.",
        ("order", "conversion_delta"),
        premises=1,
        premise=RENYI,
    ),
    "mu_to_epsilon": Rule(
        (EPSILON,),
        "What is private in this way, by the exact formula of the Gaussian with a delta of {conversion_delta}, {cost}.",
        ("conversion_delta",),
        premises=1,
        premise=MU_SQUARED,
    ),
    "accountant": Rule(
        (EPSILON,),
        "By the computation of two accountants in the service, which agreed, the operation {cost}. This is taken on "
        "the service's word: nothing in this document derives it.",
    ),
    "accountant_bounded": Rule(
        (EPSILON,),
        "By the computation of two accountants in the service, which agreed, the operation {cost}. This is taken on "
        "the service's word; what is derived in this document is the larger cost that this step rests on.",
        premises=1,
        premise=EPSILON,
    ),
}


def _member_filter(name: str, currency: str, cap: str, *numbers: str) -> Rule:
    parts = [(f"{part}_{currency}", f"{part}_delta") for part in ("before", "charge", "after", "cap")]
    before, charge, after, limit = (f"{{{amount}}} and deltas of {{{delta}}}" for amount, delta in parts)
    wording = (
        f"The budget's {name} filter had counted {before}; with this charge of {charge} it has counted {after}, under "
        f"a cap of {limit}. {cap}"
    )
    return Rule((currency,), wording, (*(name for part in parts for name in part), *numbers), 1)


_CONVERTED = "with a delta of {conversion_delta} for the conversion, keeps the promised epsilon of {promise_epsilon}."
_FILTERS: Mapping[str, Rule] = {
    "filter": _member_filter("basic", EPSILON, "The cap is in epsilon itself."),
    "renyi_filter": _member_filter(
        "Renyi",
        RENYI,
        f"The cap, at the order of {{order}} to which the filter is committed and {_CONVERTED}",
        "order",
        "conversion_delta",
        "promise_epsilon",
    ),
    "zcdp_filter": _member_filter(
        "zCDP",
        RHO,
        f"The cap, converted at order {{order}} {_CONVERTED}",
        "order",
        "conversion_delta",
        "promise_epsilon",
    ),
    "gdp_filter": _member_filter(
        "Gaussian DP", MU_SQUARED, f"The cap, {_CONVERTED}", "conversion_delta", "promise_epsilon"
    ),
}
_HOLDING = (
    "Of the {owner}'s member filters {{holding}} hold after this charge, and their shares of delta sum to at most "
    "{{promise_delta}}. "
)
_PROMISED = "({promise_epsilon}, {promise_delta})-differentially private"


def _admission(owner: str, wording: str, *numbers: str) -> Rule:
    return Rule(
        (EPSILON,),
        _HOLDING.format(owner=owner) + wording,
        ("promise_epsilon", "promise_delta", "holding", *numbers),
        premises=None,
    )


_ADMISSIONS: Mapping[str, Rule] = {
    "composed_filter": _admission("budget", f"The tenant's whole history is {_PROMISED}."),
    "window_filter": _admission(
        "budget",
        f"What is charged in this window, with the holds that were open when it began, is {_PROMISED}. Over all "
        "windows together nothing is promised: with this charge, basic composition has counted {lifetime_epsilon} and "
        "deltas of {lifetime_delta} over them.",
        "lifetime_epsilon",
        "lifetime_delta",
    ),
    "dataset_filter": _admission(
        "data set",
        "What they count is the largest exposure of anyone whom the operation touches: the charges on the whole data "
        "set, those on the person's own partition and, under replace-one, the largest on another one. All that is done "
        f"with the data set is {_PROMISED}. The charges on other parts are not in this document: that they make the "
        "exposure no larger is derived by the audit of the ledger.",
    ),
}
RULES: Mapping[str, Rule] = {
    **_PRICING,
    **_FILTERS,
    **_ADMISSIONS,
    "divided": Rule(
        (EPSILON,),
        "Of {count} repetitions, each of which was charged by itself, {steps} were run. What was run {cost}.",
        ("count", "steps"),
        premises=1,
    ),
    "basic_composition": Rule(
        (EPSILON,),
        "What stands of all this costs ({epsilon}, {delta}) in sum. Where a cost was chosen after seeing an earlier "
        "output, this sum is what was used, and the guarantee is that of the budgets that were charged.",
        (EPSILON, "delta"),
        premises=None,
    ),
}
ADMISSION_RULES = frozenset(_ADMISSIONS)
"""The rules that admit a charge to a budget: the tenant's for all time, or for a window, and a data set's. Each rests
on the steps of the budget's member filters."""
PRICING_RULES = frozenset(_PRICING)
"""The rules that price an event. They rest on one another, a step of a member filter on one of them, ``divided`` on a
step of ``self_composed``, and ``basic_composition`` on any number of all these."""
FILTER_RULES: Mapping[str, str] = {
    "basic": "filter",
    "renyi": "renyi_filter",
    "zcdp": "zcdp_filter",
    "gdp": "gdp_filter",
}
"""The rule of each member filter, by its name in the ledger, in the order in which the members stand."""
