"""How the quick start is printed: numbered sections, one sentence a step, a bar for the budget."""

import math
import shlex
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from serve_app.quickstart.scenario import BUDGET_DELTA, BUDGET_EPSILON, Checked, Estimate, Refusal

_INDENT = 3
_BAR = 30
_HISTOGRAM_BAR = 40


class Show:
    """Prints to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._sections = 0

    def section(self, title: str, *sentences: str) -> None:
        """A numbered heading and what the section does."""
        self._sections += 1
        self._console.print(f"\n{self._sections}. {title}", style="bold cyan")
        for sentence in sentences:
            self.say(sentence)

    def say(self, sentence: str) -> None:
        """A sentence."""
        self._console.print(Padding(sentence, (0, 0, 0, _INDENT), expand=False))

    def file(self, path: Path) -> None:
        """A file's path, never broken into lines."""
        self._console.print(f"{' ' * _INDENT}{path}", soft_wrap=True)

    def budget(self, remaining: Decimal, note: str = "") -> None:
        """What is left of the budget, as a bar."""
        total = Decimal(BUDGET_EPSILON)
        self.say(f"{bar(float(remaining / total), _BAR)} epsilon {remaining} of {total} left{note}")

    def estimates(self, estimates: Iterable[Estimate]) -> None:
        """True beside private values."""
        rows = []
        for one in estimates:
            true, private, half_width = aligned(one.true, one.private, one.half_width)
            rows.append((one.name, true, private, f"± {half_width}"))
        self._table(("", "true", "private", "within, 95 % of the time"), rows)

    def histogram(self, estimates: Sequence[Estimate]) -> None:
        """True beside private counts, the private ones drawn."""
        largest = max(max(one.private for one in estimates), 1)
        rows = [
            (one.name, f"{one.true:.0f}", f"{one.private:.0f}", bar(one.private / largest, _HISTOGRAM_BAR, empty=" "))
            for one in estimates
        ]
        self._table(("bin", "true", "private", ""), rows)

    def refusal(self, refusal: Refusal) -> None:
        """The members of a problem document that say what to do."""
        document = refusal.document
        largest = document["largest_charge"]
        rows = [
            ("HTTP status", str(refusal.status)),
            ("code", str(document["code"])),
            ("detail", str(document["detail"])),
            ("what would still fit", f"epsilon {largest['epsilon']}, delta {largest['delta']}"),
        ]
        self._table(("", ""), rows, right=False)

    def check(self, proof: Checked) -> None:
        """The command that checks a proof, never broken into lines, and what came of it."""
        report, indent = proof.report, " " * _INDENT
        command = shlex.join(("privacy-engine", "verify", str(proof.path), "--keys", str(proof.keys)))
        self._console.print(f"{indent}{command}", soft_wrap=True)
        self._console.print(
            f"{indent}  valid: {report.kind} {report.name} cost epsilon {report.epsilon}, delta {report.delta}",
            soft_wrap=True,
        )

    def finished(self, out: Path) -> None:
        """The last line."""
        line = f"Quick start finished: every release was charged, proved and verified. Files are in {out}."
        self._console.print(f"\n{line}", soft_wrap=True)

    def introduction(self, tenant_id: str, patients: int) -> None:
        """What is about to happen, and what is protected."""
        self._console.print("A clinic publishes statistics about its patients", style="bold")
        self.say(f"Tenant: {tenant_id}.")
        self.say(f"Data: scikit-learn's breast-cancer table, {patients} real patients.")
        self.say("Privacy unit: one patient, that is, one row. Neighbouring tables: one row added or removed.")
        self.say(f"Promise: all answers together are ({BUDGET_EPSILON}, {BUDGET_DELTA})-differentially private.")
        self.say("True values are shown beside private ones only because this table is public.")

    def page(self, url: str, tenant_id: str) -> None:
        """Where to look at it, and how to be let in."""
        self.say(f"See it in a browser at {url}/ with the token that this prints:")
        self.say(f"  privacy-engine token --tenant {tenant_id} --role viewer")

    def _table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = True) -> None:
        table = Table(box=None, header_style="bold", show_header=any(heads), padding=(0, 2, 0, 0))
        table.add_column("", width=_INDENT - 2)
        for number, head in enumerate(heads):
            aligned_right = right and number and head
            table.add_column(head, justify="right" if aligned_right else "left", overflow="fold")
        for row in rows:
            table.add_row("", *row)
        self._console.print(table)


def bar(share: float, width: int, empty: str = "░") -> str:
    """A bar that is filled to that share of its width; less than nothing is nothing."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    return "█" * filled + empty * (width - filled)


def aligned(true: float, private: float, half_width: float) -> tuple[str, str, str]:
    """Three numbers to as many places as the half-width makes worth showing: two digits of it."""
    if not 0 < half_width < math.inf:
        return f"{true:g}", f"{private:g}", f"{half_width:g}"
    places = max(0, 1 - math.floor(math.log10(half_width)))
    return f"{true:.{places}f}", f"{private:.{places}f}", f"{half_width:.{places}f}"
