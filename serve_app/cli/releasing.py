"""``privacy-engine apply``, ``select`` and ``preview``: what goes through a mechanism."""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.keyed import replay_note
from serve_app.cli.options import AsJson, Delta, Job, Key, data_values, decimal_option, given
from serve_app.cli.output import console, tell

Epsilon = Annotated[
    str | None,
    typer.Option(
        callback=decimal_option, metavar="DECIMAL", help="What it may cost, as an exact decimal; or give --scale."
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        callback=decimal_option, metavar="DECIMAL", help="The noise itself, for gaussian its sigma; not --epsilon."
    ),
]
Confidence = Annotated[
    str | None,
    typer.Option(
        callback=decimal_option, metavar="DECIMAL", help="Probability that the accuracy told is kept. (default: 0.95)"
    ),
]
Integers = Annotated[bool, typer.Option("--integers", help="Whole numbers in, whole numbers out.")]
Monotonic = Annotated[
    bool, typer.Option("--monotonic", help="One person moves all scores in the same direction: half the cost.")
]


def apply(
    asking: Asking,
    mechanism: Annotated[Literal["laplace", "gaussian"], typer.Option(help="Kind of noise.")],
    sensitivity: Annotated[
        str,
        typer.Option(
            callback=decimal_option,
            metavar="DECIMAL",
            help="Most that one person can change the data: L1, for gaussian L2.",
        ),
    ],
    data: Annotated[str, typer.Option(metavar="NUMBERS", help="The true values, as in 1,2.5,3.")],
    epsilon: Epsilon = None,
    scale: Scale = None,
    delta: Delta = None,
    confidence: Confidence = None,
    job: Job = None,
    integers: Integers = False,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Release values with noise; the budget is charged for it."""
    from serve_app.client import calls

    _check_one_of(epsilon, scale)
    key = key or str(uuid.uuid4())
    body = given(
        {
            "mechanism": mechanism,
            "epsilon": epsilon,
            "scale": scale,
            "delta": delta or "0",
            "sensitivity": sensitivity,
            "data": data_values(data),
            "confidence": confidence,
            "job_id": job or key,
            "data_type": "integer" if integers else "float",
        }
    )
    connection = asking.connect("analyst")
    response = connection.send(calls.apply(body | {"tenant_id": connection.tenant_id}, key))
    tell(response.text, as_json, partial(_show_values, note=replay_note(response.headers)))


def select(
    asking: Asking,
    scores: Annotated[
        str, typer.Option(metavar="NUMBERS", help="The private scores, as in 12,30.5,7; the highest is wanted.")
    ],
    sensitivity: Annotated[
        str, typer.Option(callback=decimal_option, metavar="DECIMAL", help="Most that one person can change any score.")
    ],
    candidates: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Names in the order of the scores, as in red,green,blue.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="How many to choose.")] = 1,
    epsilon: Epsilon = None,
    scale: Scale = None,
    monotonic: Monotonic = False,
    confidence: Confidence = None,
    job: Job = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Choose the best candidates by private scores; the budget is charged.

    The scores themselves are not shown.
    """
    from serve_app.client import calls

    _check_one_of(epsilon, scale)
    key = key or str(uuid.uuid4())
    body = given(
        {
            "scores": _scores(scores),
            "candidates": None if candidates is None else [name.strip() for name in candidates.split(",")],
            "sensitivity": sensitivity,
            "epsilon": epsilon,
            "scale": scale,
            "k": k,
            "monotonic": monotonic,
            "confidence": confidence,
            "job_id": job or key,
        }
    )
    connection = asking.connect("analyst")
    response = connection.send(calls.select(body | {"tenant_id": connection.tenant_id}, key))
    tell(response.text, as_json, partial(_show_chosen, note=replay_note(response.headers)))


def preview(
    asking: Asking,
    mechanism: Annotated[
        Literal["laplace", "gaussian", "exponential"], typer.Option(help="Kind of noise, or exponential to select.")
    ],
    sensitivity: Annotated[
        str,
        typer.Option(
            callback=decimal_option, metavar="DECIMAL", help="Most that one person can change the data or any score."
        ),
    ],
    length: Annotated[int, typer.Option(min=1, help="How many values, or candidates.")] = 1,
    epsilon: Epsilon = None,
    scale: Scale = None,
    delta: Delta = None,
    integers: Integers = False,
    k: Annotated[int | None, typer.Option("--k", min=1, help="How many candidates to choose.")] = None,
    monotonic: Monotonic = False,
    confidence: Confidence = None,
    as_json: AsJson = False,
) -> None:
    """Price a release before it is made; nothing is charged.

    It says what the release would cost and how accurate it would be. No data is sent.
    """
    from serve_app.client import calls

    _check_one_of(epsilon, scale)
    body = given(
        {
            "mechanism": mechanism,
            "sensitivity": sensitivity,
            "length": length,
            "data_type": "integer" if integers else None,
            "epsilon": epsilon,
            "scale": scale,
            "delta": delta,
            "k": k,
            "monotonic": monotonic or None,
            "confidence": confidence,
        }
    )
    tell(asking.connect("analyst").send(calls.preview(body)).text, as_json, partial(_show_preview, length=length))


def _show_values(answer: Mapping[str, Any], note: str) -> None:
    out = console()
    values = answer["privatized_data"]
    out.print(",".join(str(value) for value in values))
    out.print(_closeness(answer["accuracy"], len(values)) + note)
    _print_charge(answer)


def _show_chosen(answer: Mapping[str, Any], note: str) -> None:
    out = console()
    out.print(",".join(str(chosen) for chosen in answer.get("selected", answer["selected_indexes"])))
    out.print(_gap(answer["accuracy"]) + note)
    _print_charge(answer)


def _show_preview(answer: Mapping[str, Any], length: int) -> None:
    out = console()
    out.print(f"costs      epsilon {answer['exact']['epsilon']}, delta {answer['exact']['delta']}")
    out.print(f"noise      of scale {Decimal(answer['noise_scale']):.6g}")
    accuracy = answer["accuracy"]
    out.print(_gap(accuracy) if "score_gap" in accuracy else _closeness(accuracy, length))


def _print_charge(answer: Mapping[str, Any]) -> None:
    exact = answer["exact"]
    out = console()
    out.print(f"job        {answer['job_id']}")
    out.print(f"charged    epsilon {exact['epsilon_consumed']}, delta {exact['delta_consumed']}")
    out.print(f"remaining  epsilon {exact['remaining_epsilon']}")


def _closeness(accuracy: Mapping[str, Any], length: int) -> str:
    each, all_of_them = (Decimal(accuracy[name]) for name in ("half_width", "joint_half_width"))
    told = f"each within {each:.6g} of the true value with probability {accuracy['confidence']}"
    return told if length == 1 else f"{told}; all of them at once within {all_of_them:.6g}"


def _gap(accuracy: Mapping[str, Any]) -> str:
    gap = Decimal(accuracy["score_gap"])
    return f"within {gap:.6g} of the best score that was left, with probability {accuracy['confidence']}"


def _scores(text: str) -> list[int | float]:
    try:
        return data_values(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint="--scores") from None


def _check_one_of(epsilon: str | None, scale: str | None) -> None:
    if (epsilon is None) == (scale is None):
        raise typer.BadParameter(
            "give --epsilon, what it may cost, or --scale, the noise itself; one follows from the other"
        )
