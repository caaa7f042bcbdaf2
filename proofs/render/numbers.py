"""The numbers of a proof as mathematics: in full where they are short, and marked where they are not."""

from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction

from proofs.certificate import CURRENCIES, RULES, Node

LONGEST, DIGITS = 18, 8
"""Characters up to which a number is written in full; digits to which a longer one is shortened."""
LONGEST_IN_TABLE, DIGITS_IN_TABLE = 10, 6
_LISTED = 6
"""So many costs that are composed are named."""

SYMBOLS = {
    "sensitivity": r"\Delta",
    "scale": "b",
    "sigma": r"\sigma",
    "factor": "f",
    "probability": "p",
    "categories": "k",
    "sampling_probability": "q",
    "sample_size": "m",
    "population": "n",
    "count": "n",
    "counted": r"\text{counted}",
    "conversion_delta": r"\delta_c",
    "order": r"\alpha",
    "epsilon": r"\varepsilon",
    "renyi": r"D_\alpha",
    "rho": r"\rho",
    "mu_squared": r"\mu^2",
    "delta": r"\delta",
}
"""How the numbers of pricing rules are called in formulas."""


def given(step: Node) -> list[str]:
    """What a step was given and what it rests on, as equations; of several costs their amounts alone."""
    stated = [f"{SYMBOLS[name]} {equals(step.numbers[name])}" for name in RULES[step.rule].numbers]
    if len(step.premises) == 1:
        return [*stated, *(cost for cost in costs(step.premises[0]) if cost not in stated)]
    amounts = [amount(premise.numbers[premise.currency]) for premise in step.premises]
    if len(amounts) > _LISTED:
        amounts[_LISTED:] = [rf"\text{{and {len(amounts) - _LISTED} more}}"]
    return [*stated, *(rf"{SYMBOLS[step.currency]}:\ {part}" for part in amounts[:1]), *amounts[1:]]


def costs(step: Node) -> Iterator[str]:
    """What a step concludes, as equations."""
    for name in CURRENCIES[step.currency].numbers:
        # A delta of 0 beside another currency is none.
        if name != "delta" or step.currency == "epsilon" or step.numbers[name] != "0":
            yield f"{SYMBOLS[name]} {equals(step.numbers[name])}"


def equals(number: str) -> str:
    """The right side of an equation. Nothing that is shortened stands behind an equals sign."""
    return f"= {number}" if len(number) <= LONGEST else rf"\approx {_shortened(number, DIGITS)}"


def amount(number: str) -> str:
    """A number on its own, for a table, with a sign before it where it is shortened."""
    return number if len(number) <= LONGEST_IN_TABLE else rf"\approx {_shortened(number, DIGITS_IN_TABLE)}"


def _shortened(number: str, significant: int) -> str:
    value = Fraction(number)
    digits = Context(prec=significant).divide(Decimal(value.numerator), Decimal(value.denominator))
    mantissa, _, exponent = f"{digits:.{significant - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    if -5 < int(exponent) < significant:
        return format(digits, "f")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"
