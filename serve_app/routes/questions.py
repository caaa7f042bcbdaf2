"""What a body asks of a mechanism, as a question with its price, its draw and its answer. Nothing is charged here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from accounting.conversion import PricingDisagreementError
from accounting.event_wire import event_to_wire
from accounting.events import Event
from accounting.values import ZERO, InvalidValueError, PrivacyLoss, decimal_text
from deployments.mechanisms.mechanism import Mechanism, mechanism_for
from deployments.mechanisms.query import DataType, MechanismName, Noise, Query, check_length, check_mechanism
from deployments.mechanisms.release import prepare
from deployments.mechanisms.selection import Choice, Scores, Selector, selector_for
from serve_app.problems import invalid
from serve_app.routes.allocation_request import disagreement
from serve_app.routes.vault import ReleaseVault
from serve_app.schemas import ApplyBody, PreviewBody, SelectBody

CONFIDENCE = Decimal("0.95")
SELECTION = "exponential"
_WHOLE_NUMBERS = frozenset({"integer", "int", "count", "counts"})


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be charged and then drawn.

    Attributes:
        mechanism: Its name on the wire.
        event: What to charge.
        delta: At which delta to charge it.
        digest: The vault's fingerprint of what it is asked of.
        draw: Draws. Every call is one release.
        answer: What to answer for what was drawn, beside what every answer has.
    """

    mechanism: str
    event: Event
    delta: Decimal
    digest: str
    draw: Callable[[], list[float] | list[int]] = field(repr=False)
    answer: Callable[[list[Any]], dict[str, Any]] = field(repr=False)


def question_of(body: ApplyBody | SelectBody, vault: ReleaseVault) -> Question:
    """What a body asks, calibrated and priced. Takes a second for a million values.

    Raises:
        Problem: For whatever is wrong, with the field.
    """
    try:
        return _apply(body, vault) if isinstance(body, ApplyBody) else _select(body, vault)
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise disagreement(error) from None


def preview_of(body: PreviewBody) -> dict[str, Any]:
    """What a release would be charged as, what it would cost and how accurate it would be.

    Raises:
        Problem: For whatever is wrong, with the field.
    """
    try:
        return _preview_choice(body) if body.mechanism == SELECTION else _preview_noise(body)
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise disagreement(error) from None


def _apply(body: ApplyBody, vault: ReleaseVault) -> Question:
    values = body.data if isinstance(body.data, list) else [body.data]
    noise = _noise(body)
    query = Query(
        noise.mechanism, noise.epsilon, noise.delta, noise.sensitivity, tuple(values), noise.data_type, noise.scale
    )
    prepared = prepare(query)
    public = _noise_facts(prepared.mechanism, len(values), body.confidence)
    scalar = not isinstance(body.data, list)
    return Question(
        mechanism=body.mechanism,
        event=prepared.event,
        delta=prepared.delta,
        digest=vault.digest(query.data_type, query.data),
        draw=prepared.release,
        answer=lambda drawn: {"privatized_data": drawn[0] if scalar else drawn} | public,
    )


def _select(body: SelectBody, vault: ReleaseVault) -> Question:
    names, scores = body.candidates, Scores(tuple(body.scores))
    choice = Choice(body.epsilon, body.sensitivity, body.k, body.monotonic, body.scale)
    choice.check_candidates(len(scores.values), "scores")
    if names is not None:
        _check_names(names, len(scores.values))
    selector = selector_for(choice)
    public = _choice_facts(selector, len(scores.values), body.confidence)

    def answer(places: list[Any]) -> dict[str, Any]:
        named = {} if names is None else {"selected": [names[place] for place in places]}
        return {"selected_indexes": places} | named | public

    return Question(
        mechanism=SELECTION,
        event=selector.event,
        delta=ZERO,
        digest=vault.digest(SELECTION, names, scores.values),
        draw=lambda: selector.select(scores),
        answer=answer,
    )


def _noise(body: ApplyBody | PreviewBody) -> Noise:
    check_mechanism(body.mechanism)
    name: MechanismName = "gaussian" if body.mechanism == "gaussian" else "laplace"
    delta = body.delta if body.delta is not None else ZERO
    return Noise(name, body.epsilon, delta, body.sensitivity, _data_type(body.data_type), body.scale)


def _data_type(stated: str | None) -> DataType:
    return "integer" if (stated or "").lower() in _WHOLE_NUMBERS else "float"


def _noise_facts(mechanism: Mechanism, length: int, confidence: Decimal | None) -> dict[str, Any]:
    """What is public of noise on so many values: what it is charged as, its scale and its accuracy."""
    wanted = confidence if confidence is not None else CONFIDENCE
    return {
        "event": event_to_wire(mechanism.event),
        "noise_scale": mechanism.scale,
        "accuracy": {
            "confidence": float(wanted),
            "half_width": mechanism.accuracy(wanted),
            "joint_half_width": mechanism.accuracy(wanted, length),
        },
    }


def _choice_facts(selector: Selector, candidates: int, confidence: Decimal | None) -> dict[str, Any]:
    """What is public of a choice among so many candidates."""
    wanted = confidence if confidence is not None else CONFIDENCE
    return {
        "event": event_to_wire(selector.event),
        "noise_scale": selector.scale,
        "accuracy": {"confidence": float(wanted), "score_gap": selector.score_gap(wanted, candidates)},
    }


def _preview_noise(body: PreviewBody) -> dict[str, Any]:
    for name, value in (("k", body.k), ("monotonic", body.monotonic)):
        if value is not None:
            raise InvalidValueError(name, f"belongs to {SELECTION}, which selects; {body.mechanism} adds noise")
    noise = _noise(body)
    check_length(body.length)
    mechanism = mechanism_for(noise, body.length)
    facts = {"mechanism": noise.mechanism, "data_type": noise.data_type, "length": body.length}
    return facts | _price(mechanism.charge) | _noise_facts(mechanism, body.length, body.confidence)


def _preview_choice(body: PreviewBody) -> dict[str, Any]:
    if body.delta:
        raise InvalidValueError("delta", f"must be 0 for {SELECTION}, which is purely epsilon-differentially private")
    if body.data_type is not None:
        raise InvalidValueError("data_type", f"belongs to values; {SELECTION} answers places")
    count = body.k if body.k is not None else 1
    choice = Choice(body.epsilon, body.sensitivity, count, bool(body.monotonic), body.scale)
    choice.check_candidates(body.length, "length")
    selector = selector_for(choice)
    facts = {"mechanism": SELECTION, "length": body.length, "k": count}
    return facts | _price(selector.charge) | _choice_facts(selector, body.length, body.confidence)


def _price(charge: PrivacyLoss) -> dict[str, Any]:
    return {
        "epsilon": float(charge.epsilon),
        "delta": float(charge.delta),
        "exact": {"epsilon": decimal_text(charge.epsilon), "delta": decimal_text(charge.delta)},
    }


def _check_names(names: list[str], number: int) -> None:
    if len(names) != number:
        raise InvalidValueError("candidates", f"must be as many as the scores, {number}, not {len(names)}")
    if len(set(names)) < number:
        raise InvalidValueError("candidates", "must differ from each other")
