"""One start of a task, and the modules it may train: what is wrong is told, where it can be before anything is read."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from accounting.values import InvalidValueError
from deployments.synthesis.schema import Category, Number, Schema, evenly
from deployments.training.document import RowsFile, TaskDocument
from deployments.training.folders import Folders
from deployments.training.jobs import MODULES_VARIABLE
from deployments.training.kinds import NEEDED, Order, kind_of
from deployments.training.predictors import PredictorKind
from deployments.training.recipe import Recipe
from deployments.training.start import Start, arguments_of, start_from
from deployments.training.work import Alone, _lead

pytestmark = pytest.mark.untraced

TENANT, TASK = "tenant", "00000000-0000-8000-8000-000000000001"
ROWS = 40
CSV = "\n".join(["a,c", *(f"0.{n % 10},{'yes' if n % 10 > 4 else 'no'}" for n in range(ROWS))]).encode()
SCHEMA = Schema((Number("a", evenly(0, 1, 4)), Category("c", ("no", "yes"))))
RECIPE = Recipe(ROWS, 10, 3, Decimal(1), Decimal(2))
PLAN: dict[str, Any] = {
    "recipe": {"records": ROWS, "batch": 10, "steps": 3, "clip": "1", "multiplier": "2"},
    "target": "c",
    "hidden": [],
    "learning_rate": 0.1,
    "image": None,
    "module": None,
    "arguments": {},
}


@dataclass
class Told:
    """A reporter whose service writes everything down."""

    text: str
    said: list[tuple[Any, ...]] = field(default_factory=list)

    def started(self) -> None:
        """See `Reporter.started`."""
        self.said.append(("started",))

    def document(self) -> str:
        """See `Reporter.document`."""
        return self.text

    def reading(self, facts: Mapping[str, str | int]) -> None:
        """See `Reporter.reading`."""
        self.said.append(("reading",))

    def progress(self, done: int, through: int, seconds_left: float | None) -> bool:
        """See `Reporter.progress`."""
        self.said.append(("progress", done, through))
        return False

    def end(self, ending: str, *, done: int, message: str | None = None, files: tuple[str, ...] = ()) -> None:
        """See `Reporter.end`."""
        self.said.append((ending, done, message, files))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """The shared folder."""
    return Folders(tmp_path)


def document_of(folders: Folders, content: bytes = CSV, kind: str = "logistic", **plan: Any) -> TaskDocument:  # noqa: ANN401
    """A document of a task on those rows."""
    digest = folders.store_rows(TENANT, content, "csv")
    return TaskDocument(
        kind=kind,
        file=RowsFile("people", 1, digest, "csv", ROWS),
        schema=SCHEMA,
        event=RECIPE.event,
        steps=RECIPE.steps,
        epsilon=Decimal(1),
        delta=Decimal("0.001"),
        plan=PLAN | plan,
    )


def told_by(folders: Folders, document: TaskDocument, *, announced: bool = True) -> list[tuple[Any, ...]]:
    """All that a start of the task reports."""
    told = Told(document.text)
    start = Start("http://nowhere", TENANT, TASK, 1, folders.root, announced=announced)
    _lead(start, told, Alone())  # type: ignore[arg-type]  # as much of a reporter as it needs
    return told.said


def test_a_start_reads_then_announces_then_finishes(folders: Folders) -> None:
    """In that order; its files are there for their owner alone."""
    said = told_by(folders, document_of(folders), announced=False)
    assert said[:3] == [("started",), ("reading",), ("progress", 0, 1)]
    assert said[-1] == ("finished", 3, None, ("model.safetensors",))
    assert folders.result(TASK, 1, "model.safetensors").exists()
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in (folders.root / "tasks").rglob("*") if folder.is_dir())


def test_a_document_for_another_event_than_is_held_is_not_begun(folders: Folders) -> None:
    """A plan of one step more, or with less noise: nothing is read."""
    held = document_of(folders)
    for changes in ({"steps": 4}, {"multiplier": "1.9"}, {"batch": 11}):
        other = replace(held, plan=PLAN | {"recipe": PLAN["recipe"] | changes})
        ((ending, done, message, _),) = told_by(folders, other)
        assert (ending, done) == ("failed", 0)
        assert "event that is held" in message


@pytest.mark.parametrize("kind", ["dp-tvae", "dp-ctgan", "logistic", "mlp", "cnn", "module"])
def test_what_is_not_installed_is_told_before_anything_is_held_or_read(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The order is refused with what to install; a start that finds out later has read nothing: its hold is voided."""
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(InvalidValueError, match=r"opacus: pip install 'privacy-engine\[training\]'") as refused:
        kind_of(kind)
    assert refused.value.field == "kind"
    ((ending, done, message, _),) = told_by(folders, document_of(folders, kind=kind))
    assert (ending, done) == ("failed", 0)
    assert "privacy-engine[training]" in message


def test_marginals_need_nothing_more_than_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """So synthetic rows can be had where no torch is installed."""
    for package in NEEDED:
        monkeypatch.setitem(sys.modules, package, None)
    assert kind_of("dp-marginal").makes_rows


def test_rows_that_are_gone_were_not_read(folders: Folders) -> None:
    """It fails before it says that it reads."""
    document = document_of(folders)
    folders.rows(TENANT, document.file.sha256, "csv").unlink()
    ((ending, _, message, _),) = told_by(folders, document)
    assert ending == "failed"
    assert "shared folder" in message


def test_rows_that_have_changed_were_read_to_find_out(folders: Folders) -> None:
    """It fails after it has said so, before a step is announced."""
    document = document_of(folders)
    folders.rows(TENANT, document.file.sha256, "csv").write_bytes(CSV + b"\n0.5,yes")
    reading, (ending, done, message, _) = told_by(folders, document)
    assert reading == ("reading",)
    assert (ending, done) == ("failed", 0)
    assert "not what it was" in message


def test_another_number_of_rows_than_was_planned_for_is_refused(folders: Folders) -> None:
    """The share of rows in a step would be another than is charged."""
    reading, (ending, _, message, _) = told_by(folders, document_of(folders, CSV + b"\n0.5,yes"))
    assert (reading, ending) == (("reading",), "failed")
    assert "40 rows" in message


def test_what_a_library_says_of_a_failure_is_not_told(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold values of rows; what kind of failure it was is told, and of memory what to do."""
    for error, told in ((KeyError("Jane Doe, 0.7"), "KeyError"), (RuntimeError("CUDA out of memory"), "smaller")):

        def fails(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(PredictorKind, "carry_out", fails)
        _, (ending, _, message, _) = told_by(folders, document_of(folders))
        assert ending == "failed"
        assert told in message
        assert "Jane" not in message


def test_a_module_that_is_not_on_the_workers_own_list_is_not_imported(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the document says."""
    monkeypatch.setenv(MODULES_VARIABLE, "tests.brought_modules:Small")
    document = document_of(folders, kind="module", module="antigravity:fly")
    _, (ending, _, message, _) = told_by(folders, document)
    assert ending == "failed"
    assert "may not be imported" in message


def test_a_start_is_its_command_line() -> None:
    """There and back; the token is not on it."""
    for announced in (True, False):
        start = Start("http://localhost:1", TENANT, TASK, 3, Path("/files"), announced=announced)
        assert start_from(arguments_of(start)) == start


# Modules of somebody's own, at the order.


def module_order(name: str, *allowed: str, **arguments: Any) -> Order:  # noqa: ANN401
    """An order to train that module."""
    options = {"module": f"tests.brought_modules:{name}", "arguments": arguments, "batch_size": 10, "steps": 2}
    paths = tuple(f"tests.brought_modules:{one}" for one in allowed)
    return Order("module", SCHEMA, ROWS, Decimal(1), Decimal("0.001"), "c", options, paths)


def test_a_module_that_mixes_rows_is_refused_layer_by_layer() -> None:
    """Each by its name and its type, with what to take in its place."""
    with pytest.raises(InvalidValueError, match="cannot be trained privately") as caught:
        kind_of("module").plan(module_order("WithBatchNorm", "WithBatchNorm"))
    assert caught.value.field == "module"
    for layer in ("layer 1 (BatchNorm1d)", "layer 4 (BatchNorm1d)"):
        assert f"{layer} mixes rows: use GroupNorm" in caught.value.reason
    assert "Linear" not in caught.value.reason


def test_a_module_that_mixes_rows_by_hand_is_found_out() -> None:
    """By what it answers to random numbers."""
    with pytest.raises(InvalidValueError, match="other company"):
        kind_of("module").plan(module_order("Centred", "Centred"))


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (module_order("Small"), "none is allowed"),
        (module_order("Small", "Centred"), "allowed are tests.brought_modules:Centred"),
        (module_order("Unknown", "Unknown"), "not installed"),
        (module_order("nothing", "nothing"), "no torch module"),
        (module_order("Small", "Small", depth=3), "does not take them"),
        (module_order("Small", "Small", inputs=5), "does not take rows"),
        (module_order("Small", "Small", outputs=2), r"must give \(3,\)"),
    ],
)
def test_a_module_that_is_not_allowed_or_does_not_fit_is_refused(order: Order, reason: str) -> None:
    """With what is allowed, or what it would have to be."""
    with pytest.raises(InvalidValueError, match=reason):
        kind_of("module").plan(order)


def test_a_module_that_is_allowed_and_fits_is_planned() -> None:
    """And the document's plan is for that very event."""
    planned = kind_of("module").plan(module_order("Small", "Small"))
    assert planned.steps == 2
    assert planned.plan["module"] == "tests.brought_modules:Small"
