"""Models of ours and brought ones: public scaling, trained to the recipe's end, saved and read without pickle."""

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import Tensor, nn

from accounting.values import InvalidValueError
from deployments.synthesis.schema import Category, Column, Number, Schema, evenly
from deployments.synthesis.table import Table, encode
from deployments.training.bring import Brought, bring
from deployments.training.features import (
    Features,
    Target,
    class_target,
    images,
    labels,
    number_target,
    one_hot,
)
from deployments.training.learning import (
    BroughtForm,
    OptimizerName,
    Precision,
    Schedule,
    Task,
    learning_rate,
)
from deployments.training.methods import Method, check_module
from deployments.training.models import Architecture, Form, build
from deployments.training.private import Options, PrivateOptimisation
from deployments.training.recipe import Recipe
from deployments.training.saved import load_model, save_model
from deployments.training.trainer import losses_of, train

pytestmark = pytest.mark.untraced

COLUMNS: tuple[Column, ...] = (
    Category("colour", ("red", "blue")),
    Number("age", (0.0, 10.0, 40.0), missing=True),
    Number("height", (0.0, 1.0, 2.0, 4.0)),
)


def a_table() -> Table:
    values: dict[str, list[object]] = {"colour": ["blue", "red", "green"], "age": [5, 40, None]}
    return encode({**values, "height": [0.5, 4.0, 1.0]}, Schema(COLUMNS))


def tumours() -> tuple[Features, Target]:
    """569 real tumours, 10 columns in 8 bins of public bounds; about 63% are benign."""
    found = load_breast_cancer()
    columns: list[Column] = [Number(f"x{at}", evenly(0.0, 4_000.0 if at == 3 else 200.0, 8)) for at in range(4)]
    bounds = (0.2, 0.4, 0.5, 0.25, 0.4, 0.1)
    columns += [Number(f"x{at + 4}", evenly(0.0, upper, 8)) for at, upper in enumerate(bounds)]
    values = {f"x{at}": found.data[:, at].tolist() for at in range(10)}
    table = encode({**values, "kind": found.target.tolist()}, Schema((*columns, Category("kind", ("0", "1")))))
    return one_hot(table, "kind"), class_target(table, "kind")


def digits() -> tuple[Features, Target]:
    found = load_digits()
    return images(found.images.astype(np.int64), 0, 16), labels(found.target, tuple("0123456789"))


def a_recipe(features: Features, steps: int = 40, multiplier: str = "0.5") -> Recipe:
    return Recipe(features.rows, features.rows // 4, steps, Decimal(1), Decimal(multiplier))


def test_columns_become_ones_among_zeros() -> None:
    """All but the target's, with the codes for everything else and for missing values."""
    features = one_hot(a_table(), "height")
    assert features.shape == (3 + 3,)
    expected = [[0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]
    assert features.batch(torch.arange(3)).tolist() == expected
    assert features.batch(torch.tensor([2, 0])).tolist() == [expected[2], expected[0]]


def test_targets_are_codes_or_scaled_by_public_bounds() -> None:
    """A bin stands for its middle; 0 and 1 are the bounds."""
    table = a_table()
    assert class_target(table, "colour").values.tolist() == [1, 0, 2]
    assert class_target(table, "colour").meaning.classes == ("red", "blue", "OTHER")
    assert class_target(table, "age").meaning.classes == ("0 to 10", "10 to 40", "missing")
    height = number_target(table, "height")
    assert height.values.tolist() == [0.125, 0.75, 0.375]
    assert (height.meaning.lower, height.meaning.upper) == (0.0, 4.0)


@pytest.mark.parametrize(("column", "told"), [("colour", "is no number"), ("age", "may be missing"), ("x", "not in")])
def test_targets_that_are_not_always_numbers_are_refused(column: str, told: str) -> None:
    """By the schema alone, whatever the rows are."""
    with pytest.raises(InvalidValueError, match=told):
        number_target(a_table(), column)


def test_a_target_alone_is_refused() -> None:
    """There is nothing to learn from."""
    table = encode({"colour": ["red"]}, Schema(COLUMNS[:1]))
    with pytest.raises(InvalidValueError, match="only column"):
        one_hot(table, "colour")


def test_pixels_are_scaled_by_public_bounds() -> None:
    """And one beyond them counts as the bound, so that no row's extremes are seen in another's."""
    scaled = images(np.array([[[0, 255], [51, 999]]])).batch(torch.tensor([0]))
    assert torch.allclose(scaled, torch.tensor([[[[-1.0, 1.0], [-0.6, 1.0]]]]))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: images(np.zeros((2, 2, 2))),  # type: ignore[arg-type]
        lambda: images(np.zeros((2, 2), dtype=int)),
        lambda: images(np.zeros((2, 2, 2), dtype=int), 5, 5),
        lambda: labels(np.array([0, 2]), ("a", "b")),
        lambda: labels(np.array([0.0]), ("a", "b")),
        lambda: labels(np.array([0]), ("a", "a")),
    ],
)
def test_images_and_labels_that_are_none_are_refused(wrong: Callable[[], object]) -> None:
    """With what they must be."""
    with pytest.raises(InvalidValueError, match="must be"):
        wrong()


@pytest.mark.parametrize(
    ("form", "inputs", "hidden", "field"),
    [
        (Form.LINEAR, (3,), (2,), "hidden"),
        (Form.MLP, (3,), (), "hidden"),
        (Form.MLP, (3,), (0,), "hidden"),
        (Form.MLP, (1, 3, 3), (2,), "model"),
        (Form.CNN, (3,), (2,), "model"),
        (Form.CNN, (1, 3, 8), (2, 2), "hidden"),
        (Form.LINEAR, (0,), (), "inputs"),
    ],
)
def test_networks_that_cannot_be_are_refused(
    form: Form, inputs: tuple[int, ...], hidden: tuple[int, ...], field: str
) -> None:
    """With the field that is wrong."""
    with pytest.raises(InvalidValueError) as refused:
        Architecture(form, inputs, 2, hidden)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(Form.LINEAR, (5,), 2),
        Architecture(Form.MLP, (5,), 1, (7, 3)),
        Architecture(Form.CNN, (3, 9, 8), 4, (5, 8, 12)),
    ],
)
def test_our_networks_can_be_made_private(architecture: Architecture) -> None:
    """Each has its outputs for each row, whatever the other rows are."""
    module = build(architecture)
    check_module(module)
    rows = torch.randn(4, *architecture.inputs)
    outputs = module(rows)
    assert outputs.shape == (4, architecture.outputs)
    assert torch.allclose(module(rows[2:3]), outputs[2:3], atol=1e-5)


@pytest.mark.parametrize(
    "task",
    [
        Task(Form.LINEAR, learning_rate=0.02),
        Task(Form.MLP, (16,), learning_rate=0.01, schedule=Schedule.COSINE),
        Task(Form.MLP, (16,), OptimizerName.SGD, learning_rate=1.0, momentum=0.5, secure_noise=True),
    ],
)
def test_classifiers_learn(task: Task) -> None:
    """On real tumours they are right far more often than whoever says the commonest kind."""
    features, target = tumours()
    trained = train(features, target, a_recipe(features), task)
    assert trained.done == 40
    predicted = trained.predict(features)
    assert torch.allclose(predicted.sum(1), torch.ones(features.rows))
    assert float((predicted.argmax(1) == target.values).float().mean()) > 0.8


@pytest.mark.parametrize("precision", Precision)
def test_a_network_for_images_learns(precision: Precision) -> None:
    """In both precisions it tells most of the ten digits."""
    features, target = digits()
    task = Task(Form.CNN, (8, 8), learning_rate=0.02, precision=precision)
    trained = train(features, target, a_recipe(features, 30), task)
    assert trained.choice.method is Method.HOOKS
    assert float((trained.predict(features).argmax(1) == target.values).float().mean()) > 0.6


def test_a_regressor_learns() -> None:
    """Its numbers are within the public bounds, and nearer than the best constant."""
    found = load_diabetes()
    columns = {f"x{at}": found.data[:, at].tolist() for at in (2, 3, 8)} | {"y": found.target.tolist()}
    schema = Schema((*(Number(f"x{at}", evenly(-0.2, 0.2, 20)) for at in (2, 3, 8)), Number("y", evenly(0, 350, 70))))
    table = encode(columns, schema)
    features, target = one_hot(table, "y"), number_target(table, "y")
    trained = train(features, target, a_recipe(features, 60), Task(Form.LINEAR, learning_rate=0.05))
    predicted = trained.predict(features)
    assert 0 <= predicted.min() <= predicted.max() <= 350
    truth = torch.tensor(found.target)
    assert (predicted - truth).square().mean() < 0.8 * truth.var()


def test_the_learning_rate_follows_the_step_count_alone() -> None:
    """From the full rate to nothing, or always the same."""
    falling = Task(Form.LINEAR, learning_rate=0.5, schedule=Schedule.COSINE)
    assert [learning_rate(falling, done, 4) for done in (0, 2, 4)] == pytest.approx([0.5, 0.25, 0.0])
    assert learning_rate(replace(falling, schedule=Schedule.CONSTANT), 3, 4) == 0.5


@pytest.mark.parametrize("method", [Method.HOOKS, Method.FUNCTORCH])
def test_half_precision_keeps_each_row_within_the_clip(method: Method) -> None:
    """Norms are of the rounded per-row gradients that are summed, so no rounding lets a row give more."""
    features, target = digits()
    module = build(Architecture(Form.CNN, features.shape, 10, (4,)))
    recipe = Recipe(features.rows, 1, 50, Decimal("0.1"), Decimal("0.000001"))
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    private = PrivateOptimisation(module, optimizer, recipe, Options(method))
    losses = losses_of(private.module, features, target, Precision.BFLOAT16)
    for row in range(50):
        before = [parameter.detach().clone() for parameter in module.parameters()]
        private.step(torch.tensor([row]), losses)
        moved = [(old - new).flatten() for old, new in zip(before, module.parameters(), strict=True)]
        assert 0.0999 < float(torch.cat(moved).norm()) < 0.1 * (1 + 1e-4)


def test_ghost_clipping_in_half_precision_is_refused() -> None:
    """Its norms would not be those of what is summed."""
    features, target = tumours()
    task = Task(Form.LINEAR, precision=Precision.BFLOAT16, method=Method.GHOST)
    with pytest.raises(InvalidValueError, match="would not bound"):
        train(features, target, a_recipe(features), task)
    chosen = train(features, target, a_recipe(features, 1), replace(task, method=None)).choice
    assert chosen.method is Method.HOOKS


def test_rows_that_do_not_fit_the_recipe_are_refused() -> None:
    """The price is for so many records and no other number."""
    features, target = tumours()
    with pytest.raises(InvalidValueError, match="records"):
        train(features, target, replace(a_recipe(features), records=600), Task(Form.LINEAR))


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0.0), ("learning_rate", math.nan), ("momentum", 0.5), ("physical_batch", 0)],
)
def test_learning_out_of_range_is_refused(name: str, value: float) -> None:
    """Momentum is SGD's alone."""
    with pytest.raises(InvalidValueError) as refused:
        Task(Form.LINEAR, **{name: value})  # type: ignore[arg-type]
    assert refused.value.field == name


def factory(columns: int, width: int = 4) -> nn.Module:
    """A network of somebody's own."""
    return nn.Sequential(nn.Linear(columns, width), nn.Tanh(), nn.Linear(width, 3))


class Mixing(nn.Module):
    """Subtracts the batch's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, rows: Tensor) -> Tensor:
        return cast(Tensor, self.layer(rows - rows.mean(0)))


def normalising() -> nn.Module:
    """Has a layer that mixes rows."""
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def nothing() -> int:
    """Makes no network."""
    return 1


MINE = f"{__name__}:factory"


def test_a_brought_model_is_trained_but_not_by_ghost_clipping() -> None:
    """Of a parameter that is used without its layer, ghost clipping would not see the norm."""
    features, target = tumours()
    task = Task(BroughtForm(MINE, {"columns": 80, "width": 5}), learning_rate=0.02)
    trained = train(features, target, a_recipe(features), task, allowed=[MINE])
    assert trained.choice.method is Method.HOOKS
    with pytest.raises(InvalidValueError, match="without their layer"):
        train(features, target, a_recipe(features), replace(task, method=Method.GHOST), allowed=[MINE])


def test_nothing_may_be_brought_unless_it_is_on_the_list() -> None:
    """The exact name, not what it begins with; and what is refused is not imported."""
    with pytest.raises(InvalidValueError, match="none is allowed"):
        bring(Brought("antigravity:fly", (4,), 3))
    with pytest.raises(InvalidValueError, match="allowed are"):
        bring(Brought(f"{MINE}.x", (4,), 3), [MINE])


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("missing", {}, "not installed"),
        ("nothing", {}, "no torch module"),
        ("factory", {"rows": 4}, "does not take them"),
        ("factory", {"columns": 5}, "does not take rows"),
        ("factory", {"columns": 4}, "must give"),
        ("Mixing", {}, "other company"),
        ("normalising", {}, r"layer 1 \(BatchNorm1d\) mixes rows"),
    ],
)
def test_models_that_cannot_be_used_are_refused(name: str, arguments: dict[str, int], told: str) -> None:
    """With what is wrong with them."""
    path = f"{__name__}:{name}"
    outputs = 2 if told == "must give" else 3
    with pytest.raises(InvalidValueError, match=told):
        bring(Brought(path, (4,), outputs, arguments), [path])


def test_a_saved_model_says_the_same(tmp_path: Path) -> None:
    """With what it means and what it has cost; a brought one only where it may be imported."""
    features, target = tumours()
    for task in (Task(Form.MLP, (4,)), Task(BroughtForm(MINE, {"columns": 80}))):
        trained = train(features, target, a_recipe(features, 2), task, allowed=[MINE])
        save_model(tmp_path / "model.safetensors", trained)
        loaded = load_model(tmp_path / "model.safetensors", [MINE])
        assert torch.equal(loaded.predict(features), trained.predict(features))
        assert replace(loaded, module=trained.module).recipe == trained.recipe
        assert (loaded.model, loaded.meaning, loaded.done, loaded.choice) == (
            trained.model,
            trained.meaning,
            2,
            trained.choice,
        )
    with pytest.raises(InvalidValueError, match="none is allowed"):
        load_model(tmp_path / "model.safetensors")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """Pickle is not even tried."""
    path = tmp_path / "model.safetensors"
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(InvalidValueError, match="no whole safetensors file"):
        load_model(path)
