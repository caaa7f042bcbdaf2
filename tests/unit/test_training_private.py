"""The private optimisation keeps what the price assumes: bounded rows, exact noise, exact sampling, exact steps."""

import math
from decimal import Decimal
from typing import cast

import pytest
import torch
from opacus.grad_sample import grad_sample_module
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from accounting.values import InvalidValueError
from deployments.training.methods import Method, check_module, choose_method
from deployments.training.models import Architecture, Form, build
from deployments.training.private import DivergedError, LossOf, Options, OverrunError, PrivateOptimisation
from deployments.training.recipe import Recipe

RECORDS = 60
SILENT = Decimal("0.000001")
"""A multiplier whose noise is below what is compared."""


def a_module(normalised: bool = False) -> nn.Module:
    torch.manual_seed(3)
    middle = [nn.LayerNorm(8)] if normalised else []
    return nn.Sequential(nn.Linear(6, 8), *middle, nn.ReLU(), nn.Linear(8, 3))


def some_rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(RECORDS, 6, generator=generator) * 3, torch.randint(0, 3, (RECORDS,), generator=generator)


def a_recipe(steps: int = 5, multiplier: Decimal = SILENT, clip: str = "0.5", batch: int = 20) -> Recipe:
    return Recipe(RECORDS, batch, steps, Decimal(clip), multiplier)


class Run:
    """A private optimisation on rows, by plain steps of size 1, so that a step's gradient is the weights' change."""

    def __init__(
        self,
        options: Options,
        recipe: Recipe | None = None,
        inputs: Tensor | None = None,
        module: nn.Module | None = None,
        beside: int = 0,
    ) -> None:
        rows, self.classes = some_rows()
        self.inputs = rows if inputs is None else inputs
        self.bare = a_module() if module is None else module
        optimizer = torch.optim.SGD(self.bare.parameters(), lr=1.0)
        self.private = PrivateOptimisation(self.bare, optimizer, recipe or a_recipe(), options, beside=beside)

    def losses(self, rows: Tensor, beside: int) -> Tensor:
        others = torch.ones(beside, 6)
        classes = torch.cat([self.classes[rows], torch.zeros(beside, dtype=torch.long)])
        outputs = self.private.module(torch.cat([self.inputs[rows], others]))
        return functional.cross_entropy(outputs, classes, reduction="none")

    def released(self, drawn: Tensor, losses: LossOf | None = None) -> Tensor:
        """What the step on these rows gave to the optimizer."""
        before = flat(self.bare)
        self.private.step(drawn, losses or self.losses)
        return before - flat(self.bare)


def flat(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def clipped_by_hand(module: nn.Module, rows: Tensor, inputs: Tensor, classes: Tensor, clip: float) -> Tensor:
    """The sum of clipped gradients, one row after the other, by plain torch in double precision."""
    double = module.double()
    total = torch.zeros(sum(parameter.numel() for parameter in module.parameters()), dtype=torch.float64)
    for row in rows.tolist():
        loss = functional.cross_entropy(double(inputs[row : row + 1].double()), classes[row : row + 1])
        gradient = torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(double.parameters()))])
        total += gradient * min(1.0, clip / float(gradient.norm()))
    module.float()
    return total


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("method", Method)
def test_every_method_sums_gradients_clipped_row_by_row(method: Method, normalised: bool) -> None:
    """To 1e-5 it is what clipping one row after the other gives, whatever the physical batch."""
    rows = torch.arange(0, RECORDS, 3)
    inputs, classes = some_rows()
    expected = clipped_by_hand(a_module(normalised), rows, inputs, classes, 0.5) / 20
    for physical in (4096, 7):
        run = Run(Options(method=method, physical_batch=physical), module=a_module(normalised))
        assert torch.allclose(run.released(rows).double(), expected, atol=1e-5)


@pytest.mark.parametrize("method", Method)
def test_no_row_gives_more_than_the_clipping_norm(method: Method) -> None:
    """Each row alone, however large its values, moves the released sum by at most the clip."""
    inputs = some_rows()[0] * 1_000
    run = Run(Options(method=method), a_recipe(steps=RECORDS), inputs)
    norms = [float(run.released(torch.tensor([row])).norm()) * 20 for row in range(RECORDS)]
    assert max(norms) <= 0.5 * (1 + 1e-4)
    assert max(norms) > 0.49, "rows so large are clipped"


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("method", Method)
def test_noise_has_the_recipes_standard_deviation(method: Method, secure: bool) -> None:
    """On a step without rows nothing but noise is released; its variance is within chi-square bounds."""
    recipe = a_recipe(steps=60, multiplier=Decimal("1.5"))
    run = Run(Options(method=method, secure_noise=secure), recipe)
    nobody = torch.empty(0, dtype=torch.long)
    noise = torch.cat([run.released(nobody) for _ in range(60)]).double() * 20 / (1.5 * 0.5)
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], len(noise))
    assert low <= float((noise**2).sum()) <= high
    assert abs(float(noise.mean())) < 5 / math.sqrt(len(noise))


def test_each_row_is_drawn_with_the_recipes_probability() -> None:
    """Numbers of rows drawn, and how often each row is, are within bounds of the binomial distribution."""
    steps = 2_000
    run = Run(Options(), a_recipe(steps=steps))
    counts = torch.zeros(RECORDS)
    for drawn in run.private.batches():
        assert len(set(drawn.tolist())) == len(drawn)
        counts[drawn] += 1
    probability = float(run.private.recipe.probability)
    low, high = stats.binom.ppf([1e-7, 1 - 1e-7], steps, probability)
    assert low <= counts.min() <= counts.max() <= high
    low, high = stats.binom.ppf([1e-6, 1 - 1e-6], steps * RECORDS, probability)
    assert low <= counts.sum() <= high


def test_a_run_makes_exactly_its_steps() -> None:
    """Not one less; one more is refused before anything is computed; what an earlier start did is not done again."""
    run = Run(Options(), a_recipe(steps=7))
    told: list[int] = []
    run.private.run(run.losses, lambda done: bool(told.append(done)))  # type: ignore[func-returns-value]
    assert told == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(OverrunError):
        run.released(torch.tensor([1]))
    module = a_module()
    later = PrivateOptimisation(module, torch.optim.SGD(module.parameters(), lr=1.0), a_recipe(steps=7), done=5)
    assert len(list(later.batches())) == 2
    with pytest.raises(InvalidValueError, match="7 steps that were charged"):
        PrivateOptimisation(module, torch.optim.SGD(module.parameters(), lr=1.0), a_recipe(steps=7), done=8)


def test_a_run_can_be_stopped_between_steps() -> None:
    """What is answered after a step ends it there."""
    run = Run(Options(), a_recipe(steps=7))
    run.private.run(run.losses, lambda done: done == 3)
    assert run.private.done == 3


@pytest.mark.parametrize("method", Method)
def test_running_out_of_memory_halves_the_parts_and_changes_nothing_else(method: Method) -> None:
    """Wherever in a part it happens, the same sum is released, with no row counted twice."""
    rows = torch.arange(24)
    calm = Run(Options(method=method, physical_batch=24))
    expected = calm.released(rows)
    run = Run(Options(method=method, physical_batch=24))

    def hungry(part: Tensor, beside: int) -> Tensor:
        if len(part) > 12:
            raise torch.OutOfMemoryError("there is none for the forward pass")
        losses = run.losses(part, beside)
        if len(part) > 6:
            inside[-1].register_hook(_out_of_memory)  # type: ignore[no-untyped-call]
        return losses

    inside: list[Tensor] = []
    cast(nn.Sequential, run.bare)[0].register_forward_hook(lambda *seen: inside.append(seen[2]))
    assert torch.allclose(run.released(rows, hungry), expected, atol=1e-6)
    assert run.private.physical_batch == 6


@pytest.mark.parametrize("method", [Method.HOOKS, Method.FUNCTORCH])
def test_half_a_layers_gradients_are_forgotten(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out between a layer's weight and its bias leaves no row's gradient behind, to be added twice."""
    expected = Run(Options(method=method)).released(torch.arange(8))
    create, calls = grad_sample_module.create_or_accumulate_grad_sample, [0]

    def hungry(**given: object) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise torch.OutOfMemoryError("there is none for the second parameter")
        create(**given)

    monkeypatch.setattr(grad_sample_module, "create_or_accumulate_grad_sample", hungry)
    run = Run(Options(method=method, physical_batch=8))
    assert torch.allclose(run.released(torch.arange(8)), expected, atol=1e-6)
    assert run.private.physical_batch == 4


class Sometimes(nn.Module):
    """Has a layer that it does not always call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.both = nn.Linear(6, 3), nn.Linear(3, 3), True

    def forward(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self.first(rows)
        return self.second(outputs) if self.both else outputs


@pytest.mark.parametrize("method", Method)
def test_a_layer_that_is_left_out_is_refused(method: Method) -> None:
    """Its norm of an earlier step is not taken for one of this."""
    module = Sometimes()
    run = Run(Options(method=method), module=module)
    run.released(torch.arange(8))
    module.both = False
    with pytest.raises(ValueError, match="every layer must be called"):
        run.released(torch.arange(8))


def _out_of_memory(_: Tensor) -> None:
    raise torch.OutOfMemoryError("there is none for the rest of the backward pass")


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
@pytest.mark.parametrize("method", Method)
def test_a_row_without_a_finite_gradient_gives_nothing(method: Method, value: float) -> None:
    """What is released is what the other rows give."""
    inputs = some_rows()[0]
    inputs[4, 2] = value
    run = Run(Options(method=method, physical_batch=8), inputs=inputs)
    expected = Run(Options(method=method), inputs=inputs).released(torch.tensor([0, 1, 2, 3, 5]))
    assert torch.allclose(run.released(torch.arange(6)), expected, atol=1e-6)
    alone = Run(Options(method=method), inputs=inputs)
    assert float(alone.released(torch.tensor([4])).abs().max()) < 1e-4


def test_rows_that_are_no_records_must_have_finite_gradients() -> None:
    """Their number is public, and leaving one out would be a fault of the model."""
    run = Run(Options(), beside=2)

    def broken(rows: Tensor, beside: int) -> Tensor:
        return run.losses(rows, beside) * torch.cat([torch.ones(len(rows)), torch.full((beside,), math.nan)])

    with pytest.raises(DivergedError):
        run.released(torch.arange(4), broken)


@pytest.mark.parametrize("method", Method)
def test_a_failed_step_leaves_nothing_to_a_later_one(method: Method) -> None:
    """Half a step's sum is left behind; another step would count its rows twice, so there is none."""
    run = Run(Options(method=method, physical_batch=4))

    def broken(rows: Tensor, beside: int) -> Tensor:
        if 5 in rows:
            raise OSError("the disk is gone")
        return run.losses(rows, beside)

    with pytest.raises(OSError, match="disk"):
        run.released(torch.arange(8), broken)
    with pytest.raises(RuntimeError, match="last checkpoint"):
        run.released(torch.arange(8))
    assert run.private.done == 0


@pytest.mark.parametrize("method", Method)
def test_the_scale_is_public(method: Method) -> None:
    """The sum is divided by the expected batch, not by how many rows were drawn; rows beside count in it."""
    one = Run(Options(method=method)).released(torch.tensor([7]))
    assert float(one.norm()) == pytest.approx(0.5 / 20, rel=1e-3), "clipped, over the expected batch"
    run = Run(Options(method=method), beside=5)
    alone = Run(Options(method=method), beside=5).released(torch.empty(0, dtype=torch.long))
    assert torch.allclose(run.released(torch.tensor([7])) - alone, one * 20 / 25, atol=1e-6)


def test_no_two_runs_have_the_same_noise_or_batches() -> None:
    """Seeds come from the operating system, whatever torch's own seed is."""
    released, drawn = [], []
    for _ in range(2):
        torch.manual_seed(0)
        run = Run(Options(), a_recipe(multiplier=Decimal(1)))
        drawn.append(torch.cat(list(run.private.batches())).tolist())
        released.append(run.released(torch.arange(5)))
    assert drawn[0] != drawn[1]
    assert not torch.allclose(released[0], released[1])


class Centred(nn.Module):
    """Keeps a running mean of what it sees."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, rows: Tensor) -> Tensor:
        return rows - self.mean


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.BatchNorm1d(6), r"layer 1 \(BatchNorm1d\) mixes rows"),
        (nn.BatchNorm1d(6, affine=False), r"layer 1 \(BatchNorm1d\) mixes rows"),
        (Centred(), r"layer 1 \(Centred\) has buffers \(mean\)"),
        (nn.LSTM(6, 6), r"layer 1 \(LSTM\) "),
    ],
)
def test_layers_that_cannot_be_private_are_named(layer: nn.Module, told: str) -> None:
    """The refusal says which layer and why."""
    with pytest.raises(InvalidValueError, match=told):
        check_module(nn.Sequential(nn.Linear(6, 6), layer))


def test_a_module_without_parameters_is_refused() -> None:
    """There would be nothing to train."""
    with pytest.raises(InvalidValueError, match="no parameter"):
        check_module(nn.Sequential(nn.ReLU()))


def test_the_method_is_chosen_by_the_layers_and_says_why() -> None:
    """Ghost clipping for linear layers of ours; no ghost for convolutions, shared parameters or strange modules."""
    cnn = build(Architecture(Form.CNN, (1, 8, 8), 10, (8, 16)))
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    for module, known, method in (
        (a_module(), True, Method.GHOST),
        (cnn, True, Method.HOOKS),
        (tied, True, Method.HOOKS),
        (a_module(), False, Method.HOOKS),
        (nn.Sequential(nn.PReLU(), nn.Bilinear(2, 2, 2)), True, Method.FUNCTORCH),
    ):
        choice = choose_method(module, known)
        assert (choice.method, bool(choice.reason)) == (method, True)
