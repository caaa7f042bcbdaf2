"""Networks of synthetic rows: what they are charged, what they release, and what of the records reaches them."""

import json
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from accounting.event_wire import event_to_wire
from accounting.events import ComposedEvent, DiscreteGaussianEvent, PoissonGaussianEvent, SelfComposedEvent
from accounting.plans import price_plan
from accounting.values import InvalidValueError
from deployments.synthesis import gan, tvae
from deployments.synthesis.conditions import drawn_conditions, own_conditions, release_shares, shares_of, starts_of
from deployments.synthesis.gan_model import GanModel
from deployments.synthesis.learner import Progress, State, StoppedError, one_hot
from deployments.synthesis.network_files import PLAN_FILE, TENSORS_FILE, load, save
from deployments.synthesis.networks import (
    GanSettings,
    NetworkPlan,
    TvaeSettings,
    gan_plan,
    plan_from_wire,
    plan_to_wire,
    tvae_plan,
)
from deployments.synthesis.run_file import RunFile
from deployments.synthesis.schema import Category, Number, Schema, evenly
from deployments.synthesis.table import Table, decode, encode
from deployments.synthesis.tvae_model import TvaeModel
from deployments.training.private import PrivateOptimisation
from deployments.training.recipe import Recipe

pytestmark = pytest.mark.untraced

EPSILON, DELTA = Decimal(3), Decimal("1e-4")
SCHEMA = Schema(
    (
        Number("radius", evenly(0, 40, 8)),
        Number("texture", evenly(0, 50, 5), missing=True),
        Number("cells", (0.0, 5.0, 10.0, 20.0), whole=True),
        Category("diagnosis", ("malignant", "benign")),
    )
)
PLANS = {
    "dp-tvae": lambda: tvae_plan(
        SCHEMA, 569, EPSILON, DELTA, TvaeSettings(batch=100, epochs=Decimal(5), hidden=8, latent=2)
    ),
    "dp-ctgan": lambda: gan_plan(
        SCHEMA, 569, EPSILON, DELTA, GanSettings(batch=100, epochs=Decimal(4), hidden=8, latent=4, turns=3)
    ),
}
KINDS = tuple(PLANS)


@cache
def plan_of(kind: str) -> NetworkPlan:
    """The plan of a small run."""
    return PLANS[kind]()


@cache
def table() -> Table:
    """Biopsies: two measurements, a whole number that follows from one, and the diagnosis."""
    data = load_breast_cancer()
    texture: list[object] = data.data[:, 1].tolist()
    texture[::50] = [None] * len(texture[::50])
    columns = {
        "radius": data.data[:, 0],
        "texture": texture,
        "cells": np.minimum(data.data[:, 0] // 2, 20),
        "diagnosis": [str(data.target_names[target]) for target in data.target],
    }
    return encode(columns, SCHEMA)


def fit(
    kind: str, rows: Table, plan: NetworkPlan, checkpoint: RunFile | None = None, progress: Progress | None = None
) -> TvaeModel | GanModel:
    """Fits a network of that kind."""
    if kind == "dp-tvae":
        return tvae.fit(rows, plan, checkpoint=checkpoint, progress=progress)
    return gan.fit(rows, plan, checkpoint=checkpoint, progress=progress)


class Told(list[int]):
    """Steps that were told, in order; it never asks to stop."""

    def __call__(self, done: int) -> bool:
        """Notes the step."""
        self.append(done)
        return False


@cache
def model_of(kind: str) -> TvaeModel | GanModel:
    """What a small run releases."""
    return fit(kind, table(), plan_of(kind))


@pytest.mark.parametrize("kind", KINDS)
class TestPlans:
    def test_the_event_is_the_counts_and_the_recipe(self, kind: str) -> None:
        """What is charged is one noisy count of each column and every noisy step, no more and no less."""
        plan = plan_of(kind)
        counts, steps = plan.event.events
        assert isinstance(plan.event, ComposedEvent)
        assert counts == SelfComposedEvent(DiscreteGaussianEvent(plan.counts.sigma, Decimal(1)), 4)
        assert isinstance(steps, SelfComposedEvent)
        assert steps == plan.recipe.event
        assert steps.count == plan.recipe.steps
        assert isinstance(steps.event, PoissonGaussianEvent)
        assert steps.event.sampling_probability >= Decimal(100) / Decimal(569)

    def test_the_price_is_at_most_what_was_wanted_and_near_it(self, kind: str) -> None:
        """The least noise that keeps the promise is what is drawn."""
        plan = plan_of(kind)
        assert price_plan(plan.event, DELTA).loss == plan.loss
        assert EPSILON * Decimal("0.999999") < plan.loss.epsilon <= EPSILON

    def test_a_plan_survives_json(self, kind: str) -> None:
        """What is written beside a model says the same when it is read."""
        plan = plan_of(kind)
        assert plan_from_wire(json.loads(json.dumps(plan_to_wire(plan)))) == plan

    def test_a_plan_that_names_another_event_is_refused(self, kind: str) -> None:
        """A model file cannot claim less than its recipe spent."""
        data = plan_to_wire(plan_of(kind))
        data["event"] = event_to_wire(plan_of(kind).recipe.event)
        with pytest.raises(InvalidValueError, match="event: is not what the recipe says"):
            plan_from_wire(data)

    def test_a_plan_that_costs_more_than_it_says_is_refused(self, kind: str) -> None:
        """The promise is checked again whenever a plan is made."""
        plan = plan_of(kind)
        with pytest.raises(InvalidValueError, match="less than what the plan costs"):
            replace(plan, recipe=replace(plan.recipe, multiplier=plan.recipe.multiplier * Decimal("0.99")))

    def test_another_table_is_refused_before_anything_is_drawn(self, kind: str) -> None:
        """A plan is for one schema and one number of rows."""
        fewer = Table(SCHEMA, table().codes[:-1])
        with pytest.raises(InvalidValueError, match="records"):
            fit(kind, fewer, plan_of(kind))
        others = Schema((*SCHEMA.columns[:3], Category("diagnosis", ("benign", "malignant"))))
        with pytest.raises(InvalidValueError, match="schema"):
            fit(kind, Table(others, table().codes), plan_of(kind))
        with pytest.raises(InvalidValueError, match="plan"):
            fit(next(other for other in KINDS if other != kind), table(), plan_of(kind))


@pytest.mark.parametrize(("field", "settings"), [("learning_rate", {"learning_rate": 0.0}), ("hidden", {"hidden": 0})])
def test_settings_out_of_range_are_refused(field: str, settings: dict[str, float]) -> None:
    """Nonsense is named before a plan is made."""
    with pytest.raises(InvalidValueError) as refused:
        TvaeSettings(**settings)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_a_batch_beyond_the_records_is_refused() -> None:
    """Too few rows for the sampling rate is told before anything is read."""
    with pytest.raises(InvalidValueError, match="too few rows"):
        tvae_plan(SCHEMA, 569, EPSILON, DELTA, TvaeSettings(batch=570))


def test_a_delta_at_which_a_row_may_be_published_is_refused() -> None:
    """Delta must be below one in the number of rows."""
    with pytest.raises(InvalidValueError, match="delta"):
        gan_plan(SCHEMA, 569, EPSILON, Decimal("0.002"))


@pytest.mark.parametrize("kind", KINDS)
class TestModels:
    def test_rows_are_of_the_input_types_and_within_bounds(self, kind: str) -> None:
        """Synthetic rows encode again under the same schema, and each value has its column's type."""
        drawn = model_of(kind).sample(300, np.random.default_rng(1))
        columns = decode(drawn, np.random.default_rng(2))
        assert all(type(value) is float and 0 <= value <= 40 for value in columns["radius"])
        assert all(value is None or (type(value) is float and 0 <= value <= 50) for value in columns["texture"])
        assert all(type(value) is int and 0 <= value <= 20 for value in columns["cells"])
        assert {*columns["diagnosis"]} <= {"malignant", "benign", "OTHER"}
        assert (encode(columns, SCHEMA).codes == drawn.codes).all()

    def test_shares_are_near_the_real_ones(self, kind: str) -> None:
        """Each column's synthetic shares are the noisy ones that were released, which are near the rows'."""
        drawn = model_of(kind).sample(20_000, np.random.default_rng(1))
        for column, size in enumerate(SCHEMA.sizes):
            made, real = (np.bincount(each.codes[:, column], minlength=size) / each.rows for each in (drawn, table()))
            # Noise has a standard deviation of 8 of 569 rows on each count.
            assert abs(made - real).sum() / 2 < 0.2

    def test_what_is_saved_holds_no_encoder_and_no_discriminator(self, kind: str, tmp_path: Path) -> None:
        """Of two networks only the one that makes rows is released."""
        save(model_of(kind), tmp_path)
        names = {name.split(".")[0] for name in load_file(tmp_path / TENSORS_FILE)}
        assert names == ({"hidden", "heads"} if kind == "dp-tvae" else {"layers", "norms", "heads", "shares"})

    def test_what_is_saved_comes_back_and_says_what_was_spent(self, kind: str, tmp_path: Path) -> None:
        """The files hold the model and its event, epsilon, delta and recipe, as text and plain numbers."""
        model = model_of(kind)
        save(model, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {PLAN_FILE, TENSORS_FILE}
        said = json.loads((tmp_path / PLAN_FILE).read_text())
        assert (said["epsilon"], said["delta"], said["recipe"]["steps"]) == ("3", "0.0001", model.plan.recipe.steps)
        assert said["event"] == event_to_wire(model.plan.event)
        loaded = load(tmp_path)
        assert (type(loaded), loaded.plan) == (type(model), model.plan)
        drawn, again = (each.sample(50, np.random.default_rng(3)).codes for each in (model, loaded))
        assert (drawn == again).all()

    def test_a_file_of_something_else_is_refused(self, kind: str, tmp_path: Path) -> None:
        """A pickle in place of the numbers is not opened."""
        save(model_of(kind), tmp_path)
        torch.save({"hidden.weight": torch.zeros(1)}, tmp_path / TENSORS_FILE)
        with pytest.raises(InvalidValueError, match="not in that format"):
            load(tmp_path)

    def test_tensors_of_another_shape_are_refused(self, kind: str) -> None:
        """A model is of its plan's network."""
        model = model_of(kind)
        name = next(iter(model.tensors))
        with pytest.raises(InvalidValueError, match=name):
            replace(model, tensors={**model.tensors, name: np.zeros((1, 1), dtype=np.float32)})

    def test_no_rows_is_refused(self, kind: str) -> None:
        """A number of rows is at least one."""
        with pytest.raises(InvalidValueError, match="rows"):
            model_of(kind).sample(0, np.random.default_rng())


def clipped_sum(module: nn.Module, losses: object, drawn: list[int], beside: int, clip: str) -> Tensor:
    """What one step adds up for the rows drawn, without noise to speak of."""
    recipe = Recipe(569, 100, 1, Decimal(clip), Decimal("1e-9"))
    before = torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])
    # A rate of the expected batch takes the mean back to the sum.
    optimizer = torch.optim.SGD(module.parameters(), lr=float(recipe.batch + beside))
    optimisation = PrivateOptimisation(module, optimizer, recipe, beside=beside)
    optimisation.step(torch.tensor(drawn), lambda rows, made_up: losses(optimisation.module, rows, made_up))  # type: ignore[operator]
    return before - torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", ["0.5", "0.01"])
def test_one_row_more_moves_the_sum_by_at_most_the_clip(kind: str, clip: str) -> None:
    """Whichever row is added, encoder and decoder together, or the discriminator, move by no more than was charged."""
    width = sum(SCHEMA.sizes)
    places = torch.from_numpy(table().codes + starts_of(SCHEMA.sizes))
    torch.manual_seed(5)
    noise, made_up = torch.randn(569, 2), torch.rand(30, 2 * width)

    def of_autoencoder(module: nn.Module, rows: Tensor, _: int) -> Tensor:
        losses: Tensor = module(one_hot(places[rows], width), noise[rows], 1.0)
        return losses

    def of_discriminator(module: nn.Module, rows: Tensor, beside: int) -> Tensor:
        real = one_hot(places[rows], width)
        scores: Tensor = module(torch.cat([torch.cat([real, real], dim=1), made_up[:beside]]))
        return nn.functional.softplus(scores[:, 0])

    def sum_of(drawn: list[int]) -> Tensor:
        torch.manual_seed(6)
        if kind == "dp-tvae":
            return clipped_sum(tvae.Autoencoder(SCHEMA.sizes, 8, 2), of_autoencoder, drawn, 0, clip)
        return clipped_sum(gan.discriminator(width, 8), of_discriminator, drawn, 30, clip)

    drawn = list(range(0, 60, 2))
    moved = float((sum_of([*drawn, 301]) - sum_of(drawn)).norm())
    assert 0.3 * float(clip) < moved < 1.001 * float(clip)


class TestAdversaries:
    def test_the_discriminator_takes_exactly_the_steps_that_are_charged(self) -> None:
        """Each of its steps is told once, and after the last one there is none."""
        told = Told()
        gan.fit(table(), plan_of("dp-ctgan"), progress=told)
        assert told == [*range(1, plan_of("dp-ctgan").recipe.steps + 1)]

    def test_a_step_of_the_generator_reads_no_record(self) -> None:
        """With all records exchanged, it comes to the same generator; nothing of it stays in the discriminator."""
        plan = plan_of("dp-ctgan")
        shares = tuple(np.full(size, 1 / size) for size in SCHEMA.sizes)
        exchanged = Table(SCHEMA, np.zeros_like(table().codes))
        found = []
        for rows in (table(), exchanged):
            torch.manual_seed(7)
            both = gan.Adversaries(rows, plan, shares, "cpu")
            both.noise.manual_seed(8)
            both.random = np.random.default_rng(9)
            before = [parameter.detach().clone() for parameter in both.generator.parameters()]
            both.improve_generator(50, 1)
            found.append([parameter.detach().clone() for parameter in both.generator.parameters()])
            assert any((old != new).any() for old, new in zip(before, found[-1], strict=True))
            assert all(parameter.grad is None for parameter in both.judge.module.parameters())
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))

    def test_a_discriminator_that_mixes_rows_is_refused(self) -> None:
        """With BatchNorm one record would move the scores of all others."""
        mixing = nn.Sequential(gan.discriminator(4, 8), nn.BatchNorm1d(1), nn.Linear(1, 1))
        with pytest.raises(InvalidValueError, match=r"1 \(BatchNorm1d\) mixes rows"):
            PrivateOptimisation(mixing, torch.optim.Adam(mixing.parameters()), plan_of("dp-ctgan").recipe)


class TestConditions:
    def test_a_row_s_condition_is_its_own_value(self) -> None:
        """Every condition of a real row stands in its own one-hot codes, and every column gets its turn."""
        places = own_conditions(table().codes, SCHEMA.sizes, np.random.default_rng(4))
        own = table().codes + starts_of(SCHEMA.sizes)
        assert (own == places[:, None]).any(axis=1).all()
        assert {int((place >= starts_of(SCHEMA.sizes)).sum()) for place in places} == {1, 2, 3, 4}

    def test_made_up_conditions_follow_the_released_shares(self) -> None:
        """They know of the records what was released, and nothing else."""
        shares = (np.array([0.9, 0.1]), np.array([0.2, 0.3, 0.5]))
        places = drawn_conditions(shares, 40_000, np.random.default_rng(4))
        found = np.bincount(places, minlength=5) / 40_000
        assert found == pytest.approx([0.45, 0.05, 0.1, 0.15, 0.25], abs=0.02)

    def test_shares_are_positive_and_sum_to_one_whatever_the_noise(self) -> None:
        """Also where every count came out negative."""
        for counts in ([300.0, -20.0, 400.0], [-5.0, -7.0], [0.0]):
            shares = shares_of(np.array(counts), 569)
            assert shares.sum() == pytest.approx(1)
            assert (shares > 0).all()

    def test_released_shares_carry_the_noise_that_is_charged(self) -> None:
        """Two releases differ: they are OpenDP's draws, not counts."""
        event = plan_of("dp-ctgan").counts
        first, second = (release_shares(table(), 569, event, DELTA) for _ in range(2))
        assert any((one != other).any() for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
class TestRunFiles:
    def test_a_run_that_was_stopped_goes_on_where_it_was(self, kind: str, tmp_path: Path) -> None:
        """No step is done twice, and the shares are not released twice."""
        plan = plan_of(kind)
        run = RunFile(tmp_path / "run.safetensors", plan, every=5)
        with pytest.raises(StoppedError, match="after 12 of"):
            fit(kind, table(), plan, run, lambda done: done == 12)
        assert run.done == 10
        released = state_of(run)["shares.1"]
        told = Told()
        fit(kind, table(), plan, run, told)
        assert told == [*range(11, plan.recipe.steps + 1)]
        assert torch.equal(state_of(run)["shares.1"], released)

    def test_a_file_of_another_plan_is_refused(self, kind: str, tmp_path: Path) -> None:
        """Steps of one recipe are not gone on with under another."""
        plan = plan_of(kind)
        RunFile(tmp_path / "run.safetensors", plan).save(1, {"shares.0": torch.ones(1)})
        other = next(plan_of(other) for other in KINDS if other != kind)
        with pytest.raises(InvalidValueError, match="of another plan"):
            RunFile(tmp_path / "run.safetensors", other).load()


def state_of(run: RunFile) -> State:
    """What a file has."""
    state = run.load()
    assert state is not None
    return state
