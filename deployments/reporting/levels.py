"""How strong an epsilon is said to be, on the scale in common use, and what that scale does not say."""

from decimal import Decimal
from enum import StrEnum


class Level(StrEnum):
    """From the strongest; closed."""

    VERY_STRONG = "very strong"
    STRONG = "strong"
    MODERATE = "moderate"
    WEAK = "weak"
    INSUFFICIENT = "insufficient"


SCALE: tuple[tuple[Level, str], ...] = (
    (Level.VERY_STRONG, "epsilon below 1"),
    (Level.STRONG, "from 1, below 5"),
    (Level.MODERATE, "from 5, below 10"),
    (Level.WEAK, "from 10 to 20, 20 included"),
    (Level.INSUFFICIENT, "above 20"),
)
"""What each level covers. A number on a border has the weaker level, but 20 is still weak."""

CAVEATS = (
    "The scale is a convention among practitioners. No law and no theorem draws these lines.",
    "Epsilon speaks of one privacy unit under one adjacency. The same number for an event, a day or a household "
    "protects less or more than for a person.",
    "Beside epsilon stands delta: with up to that probability the bound may not hold at all.",
    "It is the loss by this job alone. Every other release from the same people's data adds to it; what all of them "
    "have cost stands in the budget.",
    "It bounds what the model and everything made from it can tell of one unit. It does not say that nothing is "
    "learned about people in general: what holds for a whole group is what a model is for.",
)


def level_of(epsilon: Decimal) -> Level:
    """The level of an epsilon of at least 0; exact, also on the borders."""
    if epsilon < 1:
        return Level.VERY_STRONG
    if epsilon < 5:
        return Level.STRONG
    if epsilon < 10:
        return Level.MODERATE
    return Level.WEAK if epsilon <= 20 else Level.INSUFFICIENT
