"""What an engine asks for, as typed values. Privacy parameters are exact: a float is refused before it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Literal

Exact = Decimal | int | str
"""An exact number: ``Decimal("0.1")``, ``1`` or ``"0.1"``. Never a float, whose 0.1 is not one tenth."""

Mechanism = Literal["laplace", "gaussian", "exponential", "subsampled"]


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What every request may say.

    Attributes:
        job_id: The job that this belongs to; a job may make many requests.
        tenant_id: Whose budget; needed only with a token that speaks for many tenants.
        dataset_id: The data set to charge beside the tenant, if there is one.
        partition: The registered part of the data set to which all that is read belongs.
        source_engine: The engine that asks, where the token does not say.
    """

    job_id: str
    tenant_id: str | None = None
    dataset_id: str | None = None
    partition: str | None = None
    source_engine: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON body, with exact numbers as texts.

        Raises:
            TypeError: If a privacy parameter is a float.
            ValueError: If one is no finite number.
        """
        return _body(self)


@dataclass(frozen=True, kw_only=True)
class Spend(_Request):
    """Budget to spend or to hold. Say `epsilon` (and `delta`), or describe an `event` (and the delta to price it at).

    Attributes:
        epsilon: What to charge.
        delta: The same; 0 if absent.
        event: What will be done to the data, such as ``{"kind": "laplace", "scale": "10", "sensitivity": 1}``.
        mechanism: What is used, for the record.
        purpose: What it is for, for the record: no personal data.
    """

    epsilon: Exact | None = None
    delta: Exact | None = None
    event: Mapping[str, Any] | None = None
    mechanism: Mechanism | None = None
    purpose: str | None = None


@dataclass(frozen=True, kw_only=True)
class Apply(_Request):
    """A statistic to release with noise. Say `epsilon`, or the `scale` of the noise.

    Attributes:
        mechanism: Which noise.
        data: The true value or values; floats are welcome here.
        sensitivity: How much one privacy unit moves them.
        epsilon: What it may cost.
        delta: The same; Gaussian noise needs one above 0.
        scale: Of Laplace noise its scale, of Gaussian its standard deviation.
        data_type: ``int`` or ``float``, as the service's interface has it.
        query_description: What it is for, for the record: no personal data.
        confidence: The probability with which the accuracy in the answer holds.
    """

    mechanism: Mechanism
    data: Sequence[float] | float
    sensitivity: Exact
    epsilon: Exact | None = None
    delta: Exact | None = None
    scale: Exact | None = None
    data_type: str | None = None
    query_description: str | None = None
    confidence: Exact | None = None


@dataclass(frozen=True, kw_only=True)
class Select(_Request):
    """The best `k` candidates to choose by private scores. Say `epsilon` for all choices, or the `scale` of one.

    Attributes:
        scores: One for each candidate; floats are welcome here.
        sensitivity: How much one privacy unit moves a score.
        candidates: Public names, in the order of the scores.
        epsilon: What it may cost.
        scale: Scale of the noise of one choice.
        k: How many to choose.
        monotonic: Whether one privacy unit moves all scores in the same direction.
        query_description: What it is for, for the record: no personal data.
    """

    scores: Sequence[float]
    sensitivity: Exact
    candidates: Sequence[str] | None = None
    epsilon: Exact | None = None
    scale: Exact | None = None
    k: int = 1
    monotonic: bool = False
    query_description: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    """One step of a plan."""

    step_name: str
    mechanism: Mechanism
    epsilon: Exact
    delta: Exact | None = None
    sensitivity: Exact | None = None
    data_description: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to price before anything is spent: `steps`, or one `event`.

    Attributes:
        name: The plan's name.
        steps: What will be done, one after the other.
        event: What will be done, as one event.
        delta: How much delta it may cost.
        composition_method: The theorem to price it by; absent: basic.
        tenant_id: Whose budget, with a token that speaks for many.
        dataset_id: The data set that it would be charged on.
        partition: The part of the data set.
    """

    name: str
    steps: Sequence[PlanStep] | None = None
    event: Mapping[str, Any] | None = None
    delta: Exact | None = None
    composition_method: str | None = None
    tenant_id: str | None = None
    dataset_id: str | None = None
    partition: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON body, with exact numbers as texts. Errors as for the other requests."""
        return _body(self)


def repeated(step_event: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The event of doing the same thing `count` times; a commit may say how often it was done."""
    if count < 1:
        raise ValueError("count: an event is repeated at least once")
    return {"kind": "self_composed", "event": dict(step_event), "count": count}


_EXACT = frozenset({"epsilon", "delta", "sensitivity", "scale", "confidence"})


def _body(request: _Request | Plan | PlanStep) -> dict[str, Any]:
    given = {field.name: getattr(request, field.name) for field in fields(request)}
    return {name: _wire(name, value) for name, value in given.items() if value is not None}


def _wire(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if name in _EXACT:
        return exact_text(name, value)
    if name == "event":
        return _event(name, value)
    if name == "steps":
        return [_body(step) for step in value]
    return list(value) if isinstance(value, list | tuple) else value


def exact_text(name: str, value: Exact) -> str:
    """The text of an exact number.

    Raises:
        TypeError: If it is a float, or no number at all.
        ValueError: If it is not finite or not readable.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{name}: give an exact number, such as Decimal('0.1') or '0.1', not {type(value).__name__}")
    try:
        number = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{name}: {value!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{name}: must be finite")
    return str(number)


def _event(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """An event with every number in it exact."""
    if isinstance(value, float):
        raise TypeError(f"{name}: give exact numbers, such as '0.1', not the float {value!r}")
    if isinstance(value, Decimal):
        return exact_text(name, value)
    if isinstance(value, Mapping):
        return {key: _event(f"{name}.{key}", part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_event(name, part) for part in value]
    return value
