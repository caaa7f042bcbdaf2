"""The command line of a benchmark, or of several in a row on one service: measures, prints, compares with the goals."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from benchmarks.findings import Findings, format_goals
from benchmarks.load import Generator
from benchmarks.rounds import Plan, Say
from benchmarks.services import Target, running_service

Benchmark = Callable[[Target, Plan, Say], Findings]


def run(module: str, description: str, *benchmarks: Benchmark) -> None:
    """Start a service, run the benchmarks on it one after the other and print what they found.

    Args:
        module: The module that is run, for the help.
        description: For the help.
        benchmarks: What to run.
    """
    options = _parse(module, description)
    plan = Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        warmup_seconds=options.warmup_seconds,
        concurrency=options.concurrency,
        peer_pool_size=options.peer_pool_size,
        peer_workers=options.peer_workers,
        generator=options.generator,
    )
    # A terminated benchmark leaves through the same door as a finished one, so that nothing it started outlives it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with running_service() as target:
        machine = target.machine()
        found = [benchmark(target, plan, _say) for benchmark in benchmarks]
    _say(f"\nmachine    {machine.line()}")
    for findings in found:
        _say("\n" + "\n".join(findings.lines))
    goals = [goal for findings in found for goal in findings.goals]
    _say("\n" + "\n".join(format_goals(goals)))
    if options.json:
        document = {"machine": asdict(machine)} | {findings.name: findings.figures for findings in found}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _say(line: str) -> None:
    print(line, flush=True)


def _parse(module: str, description: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    plan = Plan()
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description.partition("\n")[0])
    load = parser.add_argument_group("the load")
    load.add_argument("--rounds", type=int, default=plan.rounds)
    load.add_argument("--seconds", type=int, default=plan.seconds, help="of each measurement")
    load.add_argument("--warmup-seconds", type=int, default=plan.warmup_seconds, help="of each path, once")
    load.add_argument("--concurrency", type=int, default=plan.concurrency)
    load.add_argument("--peer-pool-size", type=int, default=plan.peer_pool_size)
    load.add_argument("--peer-workers", type=int, default=plan.peer_workers)
    load.add_argument("--generator", choices=get_args(Generator), help="default: wrk where it is installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there as JSON")
    return parser.parse_args(arguments)
