"""``python -m benchmarks.training``: steps and rows a second of private training, beside plain Opacus and no privacy.

Plain Opacus is as its tutorial has it: `PrivacyEngine.make_private` on module, optimizer and DataLoader, with hooks and
Poisson sampling. All paths take the same module, rows, expected batch and optimizer, in turn within a round. Figures
are medians over rounds; ratios are taken within a round.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import chain, repeat
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from opacus import PrivacyEngine
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.machine import this_machine
from deployments.training.methods import choose_method
from deployments.training.models import Architecture, Form, build
from deployments.training.private import Options, PrivateOptimisation
from deployments.training.recipe import Recipe

RECORDS = 20_000
RATE = 0.001
CASES = {
    "MLP 100-256-256-2": Architecture(Form.MLP, (100,), 2, (256, 256)),
    "CNN 28x28, 16 and 32 channels": Architecture(Form.CNN, (1, 28, 28), 10, (16, 32)),
}
PEER = "plain Opacus"


@dataclass(frozen=True, slots=True)
class Case:
    """What all paths are given.

    Attributes:
        architecture: Of the network.
        inputs: Of shape (rows, *architecture.inputs), float32, on the device.
        classes: Of shape (rows,).
        batch: Rows that a step draws, on average or exactly.
    """

    architecture: Architecture
    inputs: Tensor
    classes: Tensor
    batch: int

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.inputs.device

    def module(self) -> nn.Module:
        """A fresh network."""
        return build(self.architecture).to(self.device)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; each figure a median over the rounds."""

    path: str
    batch: int
    steps: float
    rows: float
    ratio: float
    low: float
    high: float


Stepping = Callable[[Case], Iterator[None]]
"""Makes one step whenever it is asked for the next."""


def opacus(case: Case) -> Iterator[None]:
    """As in Opacus' tutorial."""
    module = case.module()
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    loader = DataLoader(TensorDataset(case.inputs, case.classes), batch_size=case.batch)
    module, optimizer, loader = PrivacyEngine().make_private(
        module=module, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0
    )
    module.train()
    for inputs, classes in chain.from_iterable(repeat(loader)):
        optimizer.zero_grad()
        functional.cross_entropy(module(inputs), classes).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


def ours(case: Case) -> Iterator[None]:
    """`PrivateOptimisation`, by the method that it chooses."""
    module = case.module()
    recipe = Recipe(len(case.inputs), case.batch, 1_000_000, Decimal(1), Decimal(1))
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    private = PrivateOptimisation(module, optimizer, recipe, Options(device=case.device))

    def losses(rows: Tensor, _: int) -> Tensor:
        outputs = private.module(case.inputs.index_select(0, rows))
        return functional.cross_entropy(outputs, case.classes.index_select(0, rows), reduction="none")

    for drawn in private.batches():
        private.step(drawn, losses)
        yield


def without(case: Case) -> Iterator[None]:
    """No privacy: fixed batches out of a permutation, as fast as plain torch is."""
    module = case.module()
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    while True:
        order = torch.randperm(len(case.inputs), device=case.device)
        for rows in torch.split(order[: len(order) // case.batch * case.batch], case.batch):
            optimizer.zero_grad()
            functional.cross_entropy(module(case.inputs[rows]), case.classes[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield


PATHS: dict[str, Stepping] = {PEER: opacus, "ours": ours, "not private": without}


def measure(case: Case, rounds: int, seconds: float) -> list[Row]:
    """Every path in turn within a round, for so many seconds each."""
    running = {name: path(case) for name, path in PATHS.items()}
    for stepping in running.values():
        # Whatever is set up at first use.
        for _ in range(3):
            next(stepping)
    rates: list[dict[str, float]] = [
        {name: _steps_a_second(stepping, case.device, seconds) for name, stepping in running.items()}
        for _ in range(rounds)
    ]
    rows = []
    for name in PATHS:
        ratios = [each[name] / each[PEER] for each in rates]
        steps = median(each[name] for each in rates)
        rows.append(Row(name, case.batch, steps, steps * case.batch, median(ratios), min(ratios), max(ratios)))
    return rows


def _steps_a_second(stepping: Iterator[None], device: torch.device, seconds: float) -> float:
    _wait(device)
    begin, steps = perf_counter(), 0
    while perf_counter() - begin < seconds:
        next(stepping)
        # A GPU is given work faster than it does it.
        _wait(device)
        steps += 1
    return steps / (perf_counter() - begin)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often every path is measured")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each time")
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024], help="rows a step")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    # Opacus' hooks make torch say so at every first use.
    warnings.filterwarnings("ignore", message="Full backward hook|Secure RNG")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    console = Console(width=110)
    console.print(f"machine    {this_machine().line()}, torch {torch.__version__} on {where}")
    console.print(f"rounds     {arguments.rounds} of {arguments.seconds:g} s each, medians; ratios within a round")
    found: dict[str, list[Row]] = {}
    for name, architecture in CASES.items():
        inputs = torch.randn(RECORDS, *architecture.inputs, device=device)
        classes = torch.randint(0, architecture.outputs, (RECORDS,), device=device)
        rows = [
            row
            for batch in arguments.batch
            for row in measure(Case(architecture, inputs, classes, batch), arguments.rounds, arguments.seconds)
        ]
        found[name] = rows
        choice = choose_method(build(architecture))
        console.print(_table(f"{name}; ours by {choice.method}: {choice.reason}", rows))
    if arguments.json:
        figures = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        document = {"machine": asdict(this_machine()), "device": where, "figures": figures}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for column in ("batch", "steps/s", "rows/s", f"ratio to {PEER}"):
        table.add_column(column, justify="right")
    for row in rows:
        ratio = f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})"
        table.add_row(row.path, f"{row.batch:,}", f"{row.steps:,.1f}", f"{row.rows:,.0f}", ratio)
    return table


if __name__ == "__main__":
    main()
