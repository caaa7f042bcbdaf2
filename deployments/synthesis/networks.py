"""What fitting a network will do to the data, fixed before it sees them, and what that costs. Free of torch.

Two things are done to a table of d columns, and charged as one composition:

1. Discrete Gaussian noise on the counts of every column: d times. The network starts from these shares, and what it
   draws is brought back to them in the end.
2. Every noisy step of the private optimisation (`deployments.training`).

The default settings were tuned on public data (the census income data of 1994). To tune settings on private data is to
look at them as often as there are trials: each trial must be charged like a run of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, TypeVar

from accounting.calibration import discrete_gaussian_for, least_noise
from accounting.event_wire import event_from_wire, event_to_wire, parse_decimal
from accounting.events import Adjacency, ComposedEvent, DiscreteGaussianEvent, SelfComposedEvent
from accounting.plans import price_plan
from accounting.values import InvalidValueError, PrivacyLoss, checked_delta, checked_epsilon, decimal_text
from deployments.synthesis.schema import Schema, schema_from_wire, schema_to_wire
from deployments.training.recipe import Recipe, check_sizes, steps_of, training_event

LEAST_RECORDS = 100
MAX_WIDTH = 20_000
"""Codes of all columns together: a row's inputs of a network."""
MAX_UNITS = 4096
COUNTS_SHARE = Decimal("0.3")
"""What the counts would cost alone, of epsilon. Composed with the steps they add about a tenth to their noise."""
PLAN_VERSION = 1
_MUCH_NOISE = Decimal(5)
"""Up to which epsilon a GAN learns fast."""
_LEAST_BATCH, _MOST_BATCH = 256, 8192
_DIGITS = Context(prec=12, rounding=ROUND_CEILING)
_COUNT_REACH = Decimal(1)
"""One record is in one cell of a column's counts: it moves them by 1, in the L2 norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a network is trained. All of it is public.

    Attributes:
        batch: Rows that a step draws on average; None for a tenth or a twentieth of the records, within 256 and 8,192.
        epochs: How often a row takes part on average; None for `steps` of the network's kind.
        clip: L2 norm to which each row's gradient is clipped.
        learning_rate: Of Adam, at its highest; None for the kind's own.
        hidden: Units of each hidden layer.
        latent: Numbers that a row is made from.
    """

    batch: int | None = None
    epochs: Decimal | None = None
    clip: Decimal = Decimal(1)
    learning_rate: float | None = None
    hidden: int = 32
    latent: int = 4

    def __post_init__(self) -> None:
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            raise InvalidValueError("learning_rate", "must be greater than 0 and at most 1")
        for name, units in (("hidden", self.hidden), ("latent", self.latent)):
            if not 1 <= units <= MAX_UNITS:
                raise InvalidValueError(name, f"must be from 1 to {MAX_UNITS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TvaeSettings(Settings):
    """Of an autoencoder.

    Attributes:
        divergence: Weight of the divergence of a row's latent numbers from the prior, from 0 to 100.
    """

    divergence: float = 1.0

    kind = "dp-tvae"
    steps = 600

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        if not 0 <= self.divergence <= 100:
            raise InvalidValueError("divergence", "must be from 0 to 100")

    def at(self, epsilon: Decimal, records: int) -> "TvaeSettings":
        """The settings with the batch and what depends on epsilon filled in: here nothing does."""
        return replace(self, batch=self.batch or _part_of(records, 20), learning_rate=self.learning_rate or 5e-3)


@dataclass(frozen=True, slots=True, kw_only=True)
class GanSettings(Settings):
    """Of a generator and a discriminator.

    Attributes:
        learning_rate: Of the discriminator's Adam, at its highest; None for one that fits epsilon.
        pursuit: The generator's rate as a part of that, up to 1; None likewise.
        turns: Steps of the discriminator for each of the generator, from 1 to 100.
    """

    hidden: int = 64
    latent: int = 16
    pursuit: float | None = None
    turns: int = 1

    kind = "dp-ctgan"
    steps = 1200

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        if self.pursuit is not None and not 0 < self.pursuit <= 1:
            raise InvalidValueError("pursuit", "must be greater than 0 and at most 1")
        if not 1 <= self.turns <= 100:
            raise InvalidValueError("turns", "must be from 1 to 100")

    def at(self, epsilon: Decimal, records: int) -> "GanSettings":
        """The settings with what depends on epsilon filled in: much noise wants large batches, little a slow pace."""
        rate, pursuit, part = (5e-3, 0.5, 10) if epsilon <= _MUCH_NOISE else (3e-3, 1 / 3, 20)
        return replace(
            self,
            batch=self.batch or _part_of(records, part),
            learning_rate=self.learning_rate or rate,
            pursuit=self.pursuit or pursuit,
        )


S = TypeVar("S", TvaeSettings, GanSettings)
_KINDS: Mapping[str, type[TvaeSettings] | type[GanSettings]] = {made.kind: made for made in (TvaeSettings, GanSettings)}


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What `tvae.fit` or `gan.fit` will do.

    Attributes:
        schema: The public columns.
        settings: How the network is trained, with nothing left open.
        recipe: Its private optimisation.
        counts: Noise on the counts of one column.
        epsilon: What was wanted; the price is at most that.
        delta: At which the plan is priced.
        event: The whole of what is done to the data.
        loss: Its price.

    Raises:
        InvalidValueError: If something is out of range, or costs more than was wanted.
    """

    schema: Schema
    settings: TvaeSettings | GanSettings
    recipe: Recipe
    counts: DiscreteGaussianEvent
    epsilon: Decimal
    delta: Decimal
    event: ComposedEvent = field(init=False)
    loss: PrivacyLoss = field(init=False)

    def __post_init__(self) -> None:
        _check(self.schema, self.recipe.records, self.epsilon, self.delta)
        if self.counts.sensitivity != _COUNT_REACH:
            raise InvalidValueError("counts.sensitivity", "must be 1: one record is in one cell of a column's counts")
        columns = len(self.schema.columns)
        recipe = self.recipe
        event = _event(columns, self.counts, recipe.records, recipe.batch, recipe.steps, recipe.multiplier)
        object.__setattr__(self, "event", event)
        object.__setattr__(self, "loss", price_plan(event, self.delta).loss)
        if self.loss.epsilon > self.epsilon:
            raise InvalidValueError("epsilon", f"is less than what the plan costs, {self.loss.epsilon}")

    @property
    def kind(self) -> str:
        """Which network: "dp-tvae" or "dp-ctgan"."""
        return self.settings.kind


def tvae_plan(
    schema: Schema, records: int, epsilon: Decimal, delta: Decimal, settings: TvaeSettings | None = None
) -> NetworkPlan:
    """The run of an autoencoder with the least noise whose tightest price is at most epsilon. Takes some seconds.

    Args:
        schema: The public columns.
        records: How many rows the table has, from `LEAST_RECORDS`. Public.
        epsilon: What the whole run may cost, greater than 0.
        delta: At which it is priced, in (0, 1 / records).
        settings: None for the defaults.

    Raises:
        InvalidValueError: If something is out of range, or no noise has that price.
    """
    return _plan(schema, records, epsilon, delta, settings or TvaeSettings())


def gan_plan(
    schema: Schema, records: int, epsilon: Decimal, delta: Decimal, settings: GanSettings | None = None
) -> NetworkPlan:
    """The same for a generator and a discriminator; see `tvae_plan`."""
    return _plan(schema, records, epsilon, delta, settings or GanSettings())


def _plan(schema: Schema, records: int, epsilon: Decimal, delta: Decimal, settings: S) -> NetworkPlan:
    _check(schema, records, epsilon, delta)
    settings = settings.at(epsilon, records)
    batch = settings.batch
    assert batch is not None
    steps = settings.steps if settings.epochs is None else steps_of(records, batch, settings.epochs)
    check_sizes(records, batch, steps)
    columns = len(schema.columns)
    alone = discrete_gaussian_for(_DIGITS.multiply(epsilon, COUNTS_SHARE), delta, _COUNT_REACH)
    counts = DiscreteGaussianEvent(_DIGITS.multiply(alone.sigma, _DIGITS.sqrt(Decimal(columns))), _COUNT_REACH)
    multiplier = least_noise(lambda noise: _event(columns, counts, records, batch, steps, noise), epsilon, delta)
    recipe = Recipe(records, batch, steps, settings.clip, multiplier)
    epochs = _DIGITS.divide(Decimal(batch * steps), Decimal(records))
    return NetworkPlan(schema, replace(settings, epochs=epochs), recipe, counts, epsilon, delta)


def _part_of(records: int, part: int) -> int:
    return min(records, max(_LEAST_BATCH, min(_MOST_BATCH, records // part)))


def _check(schema: Schema, records: int, epsilon: Decimal, delta: Decimal) -> None:
    checked_epsilon(epsilon)
    if checked_delta(delta) == 0:
        raise InvalidValueError("delta", "must be greater than 0: the noise is Gaussian")
    if records < LEAST_RECORDS:
        raise InvalidValueError("records", f"must be at least {LEAST_RECORDS}, not {records}: there are too few rows")
    if delta * records >= 1:
        reason = f"must be less than 1 / {records}: with more, a row may be published and the promise still be kept"
        raise InvalidValueError("delta", reason)
    if sum(schema.sizes) > MAX_WIDTH:
        reason = f"have {sum(schema.sizes)} codes together, more than {MAX_WIDTH}: use fewer values or wider bins"
        raise InvalidValueError("columns", reason)


def _event(
    columns: int, counts: DiscreteGaussianEvent, records: int, batch: int, steps: int, multiplier: Decimal
) -> ComposedEvent:
    parts = (SelfComposedEvent(counts, columns), training_event(records, batch, steps, multiplier))
    return ComposedEvent(parts, adjacency=Adjacency.ADD_REMOVE)


def plan_to_wire(plan: NetworkPlan) -> dict[str, Any]:
    """The plan as JSON-ready data, its event and price named."""
    recipe = {entry.name: _to_wire(getattr(plan.recipe, entry.name)) for entry in fields(plan.recipe)}
    settings = {entry.name: _to_wire(getattr(plan.settings, entry.name)) for entry in fields(plan.settings)}
    return {
        "version": PLAN_VERSION,
        "kind": plan.kind,
        "schema": schema_to_wire(plan.schema),
        "settings": settings,
        "recipe": recipe,
        "counts_sigma": decimal_text(plan.counts.sigma),
        "epsilon": decimal_text(plan.epsilon),
        "delta": decimal_text(plan.delta),
        "price": decimal_text(plan.loss.epsilon),
        "event": event_to_wire(plan.event),
    }


def plan_from_wire(data: Any) -> NetworkPlan:  # noqa: ANN401
    """The plan that the data describes.

    Raises:
        InvalidValueError: If the data are not a plan's, or name another event than the plan's.
    """
    try:
        if data["version"] != PLAN_VERSION:
            raise InvalidValueError("version", f"must be {PLAN_VERSION}")
        if data["kind"] not in _KINDS:
            raise InvalidValueError("kind", f"must be one of {', '.join(_KINDS)}")
        plan = NetworkPlan(
            schema_from_wire(data["schema"]),
            _from_wire(_KINDS[data["kind"]], data["settings"]),
            _from_wire(Recipe, data["recipe"]),
            DiscreteGaussianEvent(parse_decimal(data["counts_sigma"], "counts_sigma"), _COUNT_REACH),
            parse_decimal(data["epsilon"], "epsilon"),
            parse_decimal(data["delta"], "delta"),
        )
        event = event_from_wire(data["event"])
    except InvalidValueError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidValueError("plan", "is not a network's plan: something is missing or of another type") from None
    if event != plan.event:
        raise InvalidValueError("event", "is not what the recipe says was done")
    return plan


def _to_wire(value: object) -> object:
    return decimal_text(value) if isinstance(value, Decimal) else value


_T = TypeVar("_T")
_DECIMALS = ("clip", "multiplier", "epochs")


def _from_wire(made: type[_T], data: Mapping[str, Any]) -> _T:
    read = {name: parse_decimal(value, name) if name in _DECIMALS else value for name, value in data.items()}
    return made(**read)
