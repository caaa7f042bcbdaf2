"""``make bench-synthesis``: how much of the census income data is left in synthetic rows, at several epsilons.

Rows are synthesised from the training file; models that learn from them are scored on the test file. Each figure is a
mean over runs, each with noise of its own, with the range beside it. The data are not part of the project: name the
folder that holds `adult_train.csv` and `adult_test.csv`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from accounting.values import InvalidValueError
from benchmarks.adult import TARGET, TEST, TRAIN, Scores, read_adult, score
from benchmarks.machine import this_machine
from deployments.synthesis import gan, marginal, tvae
from deployments.synthesis.marginal_plan import marginal_plan
from deployments.synthesis.networks import gan_plan, tvae_plan
from deployments.synthesis.table import Table

DELTA = Decimal("1e-5")
EPSILONS = tuple(map(Decimal, (1, 3, 10)))

Draw = Callable[[Table, np.random.Generator], Table]
"""Rows, as many as there are real ones."""

TO_BEAT = {
    ("tvae", 1): ".845 to .856 (TV2 .064)",
    ("tvae", 3): ".875 to .876 (TV2 .049)",
    ("tvae", 10): ".883 (TV2 .045)",
    ("gan", 1): ".819 (TV2 .237)",
    ("gan", 3): ".833",
    ("gan", 10): ".882 (TV2 .131)",
    ("marginal", 1): ".852 (TV2 .034)",
    ("marginal", 3): ".830 (TV2 .034)",
    ("marginal", 10): ".835 (TV2 .034)",
}
"""Boosted AUC on the same split, schema of 13 columns and delta, measured before: of a plain DP-TVAE, of an
unconditional DP-GAN, and of the MST of dpmm 0.1.9. One seed, unless there is a range of three."""


@dataclass(frozen=True, slots=True)
class Run:
    """One table of synthetic rows.

    Attributes:
        scores: How good they are.
        seconds: What planning, fitting and drawing took.
    """

    scores: Scores
    seconds: float


def real(table: Table, _: np.random.Generator) -> Table:
    """The real rows themselves: nothing private about them."""
    return table


def independent(table: Table, generator: np.random.Generator) -> Table:
    """Every column by its own exact shares: what rows are worth without anything in common."""
    return Table(table.schema, np.stack([generator.permutation(column) for column in table.codes.T], axis=1))


def from_marginal(epsilon: Decimal) -> Draw:
    """The marginal engine, told the target."""

    def draw(table: Table, generator: np.random.Generator) -> Table:
        plan = marginal_plan(table.schema, table.rows, epsilon, DELTA, TARGET)
        return marginal.fit(table, plan).sample(table.rows, generator)

    return draw


def from_tvae(epsilon: Decimal) -> Draw:
    """The autoencoder, with its defaults."""

    def draw(table: Table, generator: np.random.Generator) -> Table:
        return tvae.fit(table, tvae_plan(table.schema, table.rows, epsilon, DELTA)).sample(table.rows, generator)

    return draw


def from_gan(epsilon: Decimal) -> Draw:
    """The conditional GAN, with its defaults."""

    def draw(table: Table, generator: np.random.Generator) -> Table:
        return gan.fit(table, gan_plan(table.schema, table.rows, epsilon, DELTA)).sample(table.rows, generator)

    return draw


PRIVATE = {"tvae": from_tvae, "gan": from_gan, "marginal": from_marginal}
HEADERS = ("model", "epsilon", "AUC, boosting", "AUC, logistic", "TV, 1-way", "TV, 2-way", "seconds", "to beat")


def cells(name: str, epsilon: Decimal | None, runs: Sequence[Run]) -> tuple[str, ...]:
    """One line of the table.

    Args:
        name: Of the model.
        epsilon: None where nothing is private.
        runs: At least one.
    """

    def told(figure: Callable[[Scores], float], places: int) -> str:
        figures = [figure(run.scores) for run in runs]
        text = f"{mean(figures):.{places}f}"
        return text if len(figures) == 1 else f"{text} ({min(figures):.{places}f} to {max(figures):.{places}f})"

    return (
        name,
        "-" if epsilon is None else str(epsilon),
        told(lambda scores: scores.boosted_auc, 3),
        told(lambda scores: scores.linear_auc, 3),
        told(lambda scores: scores.one_way, 4),
        told(lambda scores: scores.two_way, 4),
        f"{mean(run.seconds for run in runs):.0f}",
        "-" if epsilon is None else TO_BEAT.get((name, int(epsilon)), "-") if epsilon == int(epsilon) else "-",
    )


def markdown(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(line)} |" for line in (headers, ["---"] * len(headers), *lines)]


def measured(draw: Draw, train: Table, test: Table) -> Run:
    """Draws rows once and scores them."""
    began = time.perf_counter()
    rows = draw(train, np.random.default_rng())
    seconds = time.perf_counter() - began
    return Run(score(rows, test, train), seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    try:
        train, test = read_adult(options.data)
    except InvalidValueError as error:
        sys.exit(f"{error}. Name the folder of {TRAIN} and {TEST}: python -m benchmarks.synthesis --data FOLDER")
    lines, figures = [], []

    def measure(name: str, epsilon: Decimal | None, draw: Draw, times: int) -> None:
        runs = [measured(draw, train, test) for _ in range(times)]
        lines.append(cells(name, epsilon, runs))
        epsilon_text = None if epsilon is None else str(epsilon)
        figures.append({"model": name, "epsilon": epsilon_text, "runs": [asdict(run) for run in runs]})
        print(f"{name} {epsilon_text or ''}: done", file=sys.stderr, flush=True)

    measure("real rows", None, real, 1)
    measure("independent columns", None, independent, 1)
    for name in options.models:
        for epsilon in options.epsilons:
            measure(name, epsilon, PRIVATE[name](epsilon), options.seeds)
    machine = this_machine()
    print(f"machine    {machine.line()}, {options.threads} thread(s) for torch")
    print(
        f"rows       {train.rows} to synthesise, {test.rows} to test on; delta {DELTA}; {options.seeds} run(s) each\n"
    )
    print("\n".join(markdown(HEADERS, lines)))
    if options.json:
        document = {"machine": asdict(machine), "delta": str(DELTA), "figures": figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=summary)
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each model")
    parser.add_argument("--epsilons", type=_epsilon, nargs="+", default=EPSILONS)
    parser.add_argument("--models", choices=tuple(PRIVATE), nargs="+", default=tuple(PRIVATE))
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there as JSON")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    return options


def _epsilon(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


if __name__ == "__main__":
    main()
