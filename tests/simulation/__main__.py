"""Runs the simulation: ``python -m tests.simulation --seeds 1000 --operations 1000``. Exits with 1 on a violation."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.broken import BROKEN, WHOLE
from tests.simulation.world import Result, simulate

SHOWN = 3
"""Violations told of with their steps."""


def run(seed: int, operations: int, broken: str | None) -> Result:
    """One run."""
    service = WHOLE if broken is None else BROKEN[broken]
    return simulate(seed, operations, service.store, service.owner)


def results(arguments: argparse.Namespace) -> Iterator[Result]:
    """All runs, in the order of their seeds, on as many processes as are wished for."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    one = partial(run, operations=arguments.operations, broken=arguments.broken)
    if arguments.processes == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(arguments.processes) as pool:
        yield from pool.map(one, seeds, chunksize=4)


def counted(counts: Counter[str]) -> str:
    """Names and numbers on one line, the most frequent first."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


def main() -> int:
    """Runs and prints the totals."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many runs")
    parser.add_argument("--operations", type=int, default=1_000, help="client operations in each run")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--broken", choices=sorted(BROKEN), help="break something on purpose")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    began = time.monotonic()
    operations = entries = violations = 0
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for result in results(arguments):
        operations += result.operations
        entries += result.entries
        faults.update({str(fault): count for fault, count in result.faults.items()})
        outcomes += result.outcomes
        if result.violation is None:
            continue
        violations += 1
        if violations <= SHOWN:
            tell(result, arguments)
    print(f"seeds       {arguments.seeds:,} from {arguments.first_seed}")
    print(f"operations  {operations:,}; {entries:,} entries; {time.monotonic() - began:.0f} s")
    print(f"faults      {faults.total():,}: {counted(faults)}")
    print(f"answers     {outcomes.total():,}: {counted(outcomes)}")
    print(f"violations  {violations:,}")
    return 1 if violations else 0


def tell(result: Result, arguments: argparse.Namespace) -> None:
    """What did not hold, the steps before it, and how to see it again."""
    broken = "" if arguments.broken is None else f" --broken {arguments.broken}"
    again = f"--first-seed {result.seed} --seeds 1 --operations {arguments.operations}{broken}"
    print("".join(result.last), end="")
    print(f"VIOLATION in seed {result.seed}: {result.violation}")
    print(f"again with: python -m tests.simulation {again}\n")


if __name__ == "__main__":
    sys.exit(main())
