"""``privacy-engine generate`` and ``train``: orders that hold a budget, and what is made under it."""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.connection import Connection
from serve_app.cli.exit_codes import USAGE
from serve_app.cli.keyed import replay_note
from serve_app.cli.options import AsJson, Epsilon, Job, Key, decimal_option, given
from serve_app.cli.output import CommandError, answer_in, complain, console, deliver, tell
from serve_app.cli.progress import waiting
from serve_app.cli.training import PLANNING_SECONDS, check_finished, followed_to_the_end, made_file, show_standing

if TYPE_CHECKING:
    from serve_app.client.calls import Call

Name = Annotated[str, typer.Argument(metavar="DATASET", help="Data set whose rows are used.")]
TargetDelta = Annotated[
    str | None,
    typer.Option(callback=decimal_option, help="At which delta. (default: far below one by the number of rows)"),
]
Epochs = Annotated[
    str | None, typer.Option(callback=decimal_option, help="How often each row is seen, on average; or give --steps.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Noisy steps, in place of --epochs.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows that a step draws, on average.")]
Clip = Annotated[str | None, typer.Option(callback=decimal_option, help="Norm that a row's gradient is clipped to.")]
LearningRate = Annotated[float | None, typer.Option(help="Learning rate.")]
Hidden = Annotated[list[int] | None, typer.Option(min=1, help="Units of a hidden layer; once for each.")]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Processes that share the steps; of models that predict.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it has ended.")]


def generate(
    asking: Asking,
    name: Name,
    epsilon: Epsilon,
    type: Annotated[  # noqa: A002
        Literal["dp-marginal", "dp-tvae", "dp-ctgan"], typer.Option(help="Synthesizer.")
    ] = "dp-marginal",
    delta: TargetDelta = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows to make. (default: as many as there are)")] = None,
    target: Annotated[
        str | None, typer.Option(help="Column that the rows will be used to predict; of dp-marginal.")
    ] = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    clip: Clip = None,
    learning_rate: LearningRate = None,
    hidden: Hidden = None,
    workers: Workers = None,
    job: Job = None,
    key: Key = None,
    wait: Wait = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the rows; waits for them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Order synthetic rows; their budget is held until they are there."""
    from serve_app.client import calls

    body = {"type": type, "target": target, "num_rows": rows, "hidden": hidden or None, "workers": workers}
    body |= _settings(epsilon, delta, epochs, steps, batch_size, clip, learning_rate)

    def call(body: Mapping[str, Any], key: str) -> "Call":
        return calls.generate(name, body, key)

    def keep(connection: Connection, done: Mapping[str, Any]) -> None:
        name = next(file for file in done["files"] if file.startswith("rows."))
        deliver(made_file(connection, done["id"], name), output)

    _order(asking, call, body, key, job, wait=wait, keep=keep if output else None, as_json=as_json)


def train(
    asking: Asking,
    name: Name,
    kind: Annotated[Literal["logistic", "mlp", "cnn", "module"], typer.Option(help="Kind of model.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    epsilon: Epsilon,
    delta: TargetDelta = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    clip: Clip = None,
    learning_rate: LearningRate = None,
    hidden: Hidden = None,
    image: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Channels, height and width of the pixels; of cnn.")
    ] = None,
    module: Annotated[
        str | None, typer.Option(metavar="NAME", help="The module to train, package.module:Factory; of module.")
    ] = None,
    workers: Workers = None,
    job: Job = None,
    key: Key = None,
    wait: Wait = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for what is made; waits for it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Order a model that predicts a column, trained by DP-SGD; its budget is held until it is there."""
    from serve_app.client import calls

    body: dict[str, Any] = {
        "kind": kind,
        "dataset_id": name,
        "target": target,
        "hidden": hidden or None,
        "module": module,
    }
    body |= {"image": None if image is None else list(image), "workers": workers}
    body |= _settings(epsilon, delta, epochs, steps, batch_size, clip, learning_rate)

    def keep(connection: Connection, done: Mapping[str, Any]) -> None:
        assert output is not None
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(f"{output} cannot be made: {error.strerror}", USAGE) from None
        for file in done["files"]:
            deliver(made_file(connection, done["id"], file), output / file)

    _order(asking, calls.train, body, key, job, wait=wait, keep=keep if output else None, as_json=as_json)


def _settings(
    epsilon: str,
    delta: str | None,
    epochs: str | None,
    steps: int | None,
    batch_size: int | None,
    clip: str | None,
    learning_rate: float | None,
) -> dict[str, Any]:
    """What both kinds of orders may say, by the names of the interface."""
    if epochs is not None and steps is not None:
        raise typer.BadParameter("--epochs and --steps say the same: give one of them")
    return {
        "target_epsilon": epsilon,
        "target_delta": delta,
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
        "max_grad_norm": clip,
        "learning_rate": learning_rate,
    }


def _following(job: str) -> str:
    return f"privacy-engine training {job} --watch"


def _order(
    asking: Asking,
    call: Callable[[Mapping[str, Any], str], "Call"],
    body: Mapping[str, Any],
    key: str | None,
    job: str | None,
    *,
    wait: bool,
    keep: Callable[[Connection, Mapping[str, Any]], None] | None,
    as_json: bool,
) -> None:
    """Orders; then, where asked to, stays to the end and keeps what was made."""
    key = key or str(uuid.uuid4())
    connection = asking.connect("analyst")
    whole = given({**body, "job_id": job or key, "tenant_id": connection.tenant_id})
    with waiting("ordering"):
        response = connection.send(call(whole, key), timeout=PLANNING_SECONDS)
    text, answer = response.text, answer_in(response.text)
    if not as_json:
        exact = answer["hold"]["exact"]
        out = console()
        out.print(
            f"held: epsilon {exact['allocated_epsilon']}, delta {exact['allocated_delta']}"
            + replay_note(response.headers)
        )
        out.print(f"training   {answer['id']}")
    if not wait and keep is None:
        if as_json:
            typer.echo(text)
        else:
            complain(f"It goes on by itself. To follow it:\n  {_following(answer['id'])}")
        return
    complain(f"Ctrl-C leaves it running. To follow it again:\n  {_following(answer['id'])}")
    text = followed_to_the_end(lambda: asking.connect("analyst"), answer["id"])
    answer = answer_in(text)
    if keep is not None and answer["status"] == "finished":
        keep(asking.connect("analyst"), answer)
    tell(text, as_json, show_standing)
    check_finished(answer)
