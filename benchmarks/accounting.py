"""``make bench-accounting``: how fast a filter admits, what a DP-SGD plan costs, how many Gaussians each filter admits.

Everything runs in one process, ours and the peers beside it, on the same inputs; each time is a median of several runs.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter

import dp_accounting
import opendp.prelude as dp
from rich.console import Console
from rich.table import Table

from accounting import charges, conversion, plans, pld, renyi
from accounting.charges import price
from accounting.events import ClaimEvent, GaussianEvent, PoissonGaussianEvent, SelfComposedEvent
from accounting.filters import Budget, Charge, FilterKind, Share, basic_budget, budget, standard_budget
from accounting.plans import Theorem
from accounting.values import ZERO, PrivacyLoss
from benchmarks.machine import this_machine

WIDE = PrivacyLoss(Decimal(1_000_000), Decimal("0.001"))
"""A promise that a benchmark does not exhaust."""
DELTA = Decimal("1e-5")
DP_SGD = SelfComposedEvent(PoissonGaussianEvent(Decimal(1), Decimal(1), Decimal("0.01")), 10_000)
GAUSSIAN_PROMISE = PrivacyLoss(Decimal(1), Decimal("1e-6"))
GAUSSIAN = GaussianEvent(Decimal(50), Decimal(1))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        name: What was measured.
        values: Column by column, as people read them.
    """

    name: str
    values: tuple[str, ...]


def admissions(past: Sequence[int], rounds: int, batch: int) -> list[Row]:
    """Admissions a second after so many past operations: a price, a charge, an addition and a comparison each."""
    alike = [ClaimEvent(Decimal("0.01"), Decimal("1e-12"))]
    unlike = [ClaimEvent(Decimal(n) / 10**7, Decimal(n) / 10**18) for n in range(1, 500_000)]
    rows = []
    for name, held in (("basic", basic_budget(WIDE)), ("composed (basic + Renyi)", standard_budget(WIDE))):
        for told, claims in (("claims alike", alike), ("claims all different", unlike)):
            spent, done, rates = held.nothing(), 0, []
            for count in past:
                spent = _admit(held, spent, islice(cycle(alike), count - done))[0]
                times = []
                for turn in range(rounds):
                    # All different: every round has claims that no cache has seen.
                    fresh = claims if claims is alike else claims[turn * batch : (turn + 1) * batch]
                    _forget()
                    spent, seconds = _admit(held, spent, islice(cycle(fresh), batch))
                    times.append(seconds)
                rates.append(batch / median(times))
                done = count + rounds * batch
            rows.append(Row(f"{name}, {told}", (*(f"{rate:,.0f}" for rate in rates), f"{rates[-1] / rates[0]:.2f}")))
    return rows


def _admit(held: Budget, spent: Charge, claims: "islice[ClaimEvent]") -> tuple[Charge, float]:
    begin = perf_counter()
    for claim in claims:
        after = spent.plus(held.charge(claim, price(claim)))
        if not held.admits(after):
            raise RuntimeError("the benchmark's budget is full")
        spent = after
    return spent, perf_counter() - begin


def peers(past: Sequence[int], batch: int) -> list[Row]:
    """The same question answered by libraries that keep the history: OpenDP's filter, and dp-accounting converting."""
    rows = []
    for name, make in (("OpenDP privacy filter (pure)", _opendp), ("dp-accounting RDP, compose and convert", _rdp)):
        rates = []
        for count in past:
            admit = make()
            for _ in range(count):
                admit()
            begin = perf_counter()
            for _ in range(batch):
                admit()
            rates.append(batch / (perf_counter() - begin))
        rows.append(Row(name, (*(f"{rate:,.0f}" for rate in rates), f"{rates[-1] / rates[0]:.2f}")))
    return rows


def _opendp() -> Callable[[], object]:
    dp.enable_features("contrib")
    domain, metric = dp.atom_domain(T="i32"), dp.absolute_distance(T="i32")
    odometer = dp.c.make_fully_adaptive_composition(domain, metric, dp.max_divergence())
    queryable = dp.c.make_privacy_filter(odometer, d_in=1, d_out=1_000_000.0)(0)
    laplace = dp.m.make_laplace(domain, metric, 100.0)
    return lambda: queryable(laplace)


def _rdp() -> Callable[[], object]:
    accountant = dp_accounting.rdp.RdpAccountant()
    event = dp_accounting.LaplaceDpEvent(100.0)

    def admit() -> object:
        accountant.compose(event)
        return accountant.get_epsilon(1e-5)

    return admit


def pricing(rounds: int) -> list[Row]:
    """The epsilon of DP-SGD at sigma 1, rate 0.01, 10^4 steps and delta 1e-5, and the time it takes, nothing cached."""
    contenders: list[tuple[str, Callable[[], float]]] = [
        *[(f"ours, {name}", partial(_ours, name)) for name in Theorem if name is not Theorem.ZCDP],
        ("ours, under all theorems", lambda: float(plans.price_plan(DP_SGD, DELTA).loss.epsilon)),
        ("dp-accounting RDP", _dp_accounting_rdp),
        ("dp-accounting PLD", _dp_accounting_pld),
        ("Opacus RDP", _opacus_rdp),
        ("Opacus PRV", _opacus_prv),
    ]
    rows = []
    for name, epsilon_of in contenders:
        epsilon_of()  # imports
        times = []
        for _ in range(rounds):
            _forget()
            begin = perf_counter()
            epsilon = epsilon_of()
            times.append(perf_counter() - begin)
        rows.append(Row(name, (f"{epsilon:.5f}", f"{median(times) * 1000:,.1f}")))
    return rows


def _ours(name: Theorem) -> float:
    loss = plans.price_under(name, DP_SGD, DELTA).loss
    return float("nan") if loss is None else float(loss.epsilon)


def _dp_sgd_event() -> dp_accounting.DpEvent:
    sampled = dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.0))
    return dp_accounting.SelfComposedDpEvent(sampled, 10_000)


def _dp_accounting_rdp() -> float:
    return float(dp_accounting.rdp.RdpAccountant().compose(_dp_sgd_event()).get_epsilon(1e-5))


def _dp_accounting_pld() -> float:
    return float(dp_accounting.pld.PLDAccountant().compose(_dp_sgd_event()).get_epsilon(1e-5))


def _opacus_rdp() -> float:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(1.0, 0.01, 10_000)]
    return float(accountant.get_epsilon(1e-5))


def _opacus_prv() -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(1.0, 0.01, 10_000)]
    return float(accountant.get_epsilon(1e-5))


def gaussians() -> list[Row]:
    """How many Gaussians of sigma 50 the budget (1, 1e-6) admits under each filter, one after the other."""
    whole, nothing = GAUSSIAN_PROMISE.delta, Share(FilterKind.BASIC, ZERO)

    def alone(kind: FilterKind) -> Budget:
        return budget(GAUSSIAN_PROMISE, [nothing, Share(kind, ZERO, whole)])

    budgets = {
        "basic": basic_budget(GAUSSIAN_PROMISE),
        "zCDP": alone(FilterKind.ZCDP),
        "Renyi at the committed order": alone(FilterKind.RENYI),
        "Gaussian DP": alone(FilterKind.GDP),
        "standard: basic 9/10, Renyi 1/10 of delta": standard_budget(GAUSSIAN_PROMISE),
    }
    rows = []
    for name, held in budgets.items():
        charge = held.charge(GAUSSIAN, price(GAUSSIAN, whole / 100))
        spent, count = held.nothing(), 0
        while held.admits(spent.plus(charge)):
            spent, count = spent.plus(charge), count + 1
        rows.append(Row(name, (str(count),)))
    return rows


def _forget() -> None:
    """Empties every cache of ours, so that nothing is priced from memory."""
    for module in (charges, conversion, plans, pld, renyi):
        for member in vars(module).values():
            clear = getattr(member, "cache_clear", None)
            if clear is not None:
                clear()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--batch", type=int, default=20_000, help="admissions timed in a run")
    parser.add_argument("--past", type=int, default=1_000_000, help="operations before the second measurement")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    few, many = 10, arguments.past
    kept = min(2_000, many)
    tables = [
        (
            "Admissions a second, one process",
            (f"after {few}", f"after {many:,}", "ratio"),
            admissions((few, many), arguments.rounds, arguments.batch),
        ),
        (
            "The same, by libraries that keep the history",
            (f"after {few}", f"after {kept:,}", "ratio"),
            peers((few, kept), 200),
        ),
        (
            "DP-SGD, sigma 1, rate 0.01, 10,000 steps, delta 1e-5",
            ("epsilon", "ms"),
            pricing(arguments.rounds),
        ),
        (
            "Gaussians of sigma 50 within (1, 1e-6), each priced at a delta of 1e-8 under basic",
            ("admitted",),
            gaussians(),
        ),
    ]
    console = Console(width=110)
    console.print(f"machine    {this_machine().line()}")
    for title, columns, rows in tables:
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(row.name, *row.values)
        console.print()
        console.print(table)
    if arguments.json:
        found = {title: {row.name: row.values for row in rows} for title, _, rows in tables}
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
