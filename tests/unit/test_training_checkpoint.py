"""A run goes on where its checkpoint is, counts no step twice, and takes nothing that is damaged or another run's."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch

from accounting.values import InvalidValueError
from deployments.training.checkpoint import KIND, read_checkpoint, write_checkpoint
from deployments.training.features import Images, Target, images, labels
from deployments.training.learning import OptimizerName, Task
from deployments.training.models import Architecture, Form, build
from deployments.training.recipe import Recipe
from deployments.training.stored import read_tensors, write_tensors
from deployments.training.trainer import Checkpointing, TrainedModel, train

RECIPE = Recipe(40, 10, 12, Decimal(1), Decimal(1))
TASK = Task(Form.CNN, (4,))


def some_rows() -> tuple[Images, Target]:
    drawn = np.random.default_rng(1)
    return images(drawn.integers(0, 256, (40, 4, 4))), labels(drawn.integers(0, 2, 40), ("a", "b"))


def run(path: Path, told: list[int], until: int = 12, recipe: Recipe = RECIPE, task: Task = TASK) -> TrainedModel:
    """Runs until so many steps are done, as told step by step."""

    def paced(begun: int) -> Callable[[int], bool]:
        told.append(begun)

        def after_step(done: int) -> bool:
            told.append(done)
            return done == until

        return after_step

    features, target = some_rows()
    return train(features, target, recipe, task, paced=paced, checkpoint=Checkpointing(path, every=5))


@pytest.mark.parametrize("task", [TASK, replace(TASK, optimizer=OptimizerName.SGD, momentum=0.5)])
def test_a_run_goes_on_without_doing_a_step_twice(tmp_path: Path, task: Task) -> None:
    """Stopped after 7, it makes 8 to 12; once finished, it makes none."""
    path, told = tmp_path / "run.safetensors", list[int]()
    assert run(path, told, until=7, task=task).done == 7
    finished = run(path, told, task=task)
    assert told == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12]
    again = run(path, told, task=task)
    assert told[14:] == [12]
    assert again.done == 12
    for name, weight in finished.module.state_dict().items():
        assert torch.equal(weight, again.module.state_dict()[name])


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """What came after it is gone, and is done anew."""
    path, told = tmp_path / "run.safetensors", list[int]()

    class KilledError(Exception):
        pass

    def paced(_: int) -> Callable[[int], bool]:
        def after_step(done: int) -> bool:
            if done == 8:
                raise KilledError
            return False

        return after_step

    features, target = some_rows()
    with pytest.raises(KilledError):
        train(features, target, RECIPE, TASK, paced=paced, checkpoint=Checkpointing(path, every=5))
    run(path, told)
    assert told == [5, 6, 7, 8, 9, 10, 11, 12]


def test_weights_and_the_optimizers_state_come_back(tmp_path: Path) -> None:
    """So that going on is no start from the beginning."""
    path = tmp_path / "run.safetensors"
    run(path, [], until=7)
    module, optimizer = fresh()
    assert read_checkpoint(path, module, optimizer, RECIPE, TASK) == 7
    state = optimizer.state_dict()["state"]
    assert len(state) == len(list(module.parameters()))
    assert all(float(each["step"]) == 7 and each["exp_avg"].abs().sum() > 0 for each in state.values())
    write_checkpoint(tmp_path / "again.safetensors", module, optimizer, RECIPE, TASK, 7)
    tensors, about = read_tensors(path, KIND)
    again, about_again = read_tensors(tmp_path / "again.safetensors", KIND)
    assert about_again == about
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def fresh() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    module = build(Architecture(Form.CNN, (1, 4, 4), 2, (4,)))
    return module, torch.optim.Adam(module.parameters(), lr=TASK.learning_rate)


@pytest.mark.parametrize(
    ("recipe", "task", "told"),
    [
        (replace(RECIPE, multiplier=Decimal(2)), TASK, "its recipe"),
        (replace(RECIPE, steps=13), TASK, "its recipe"),
        (RECIPE, replace(TASK, hidden=(5,)), "its learning"),
        (RECIPE, replace(TASK, optimizer=OptimizerName.SGD), "its learning"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, recipe: Recipe, task: Task, told: str) -> None:
    """Its steps were charged to another recipe, or made another model."""
    run(tmp_path / "run.safetensors", [], until=3)
    with pytest.raises(InvalidValueError, match=told):
        run(tmp_path / "run.safetensors", [], recipe=recipe, task=task)


@pytest.mark.parametrize("done", [13, -1, "7", None])
def test_a_checkpoint_cannot_say_more_steps_than_were_charged(tmp_path: Path, done: object) -> None:
    """Nor what is no number of steps."""
    path = tmp_path / "run.safetensors"
    run(path, [], until=3)
    tensors, about = read_tensors(path, "checkpoint")
    write_tensors(path, tensors, {**about, "done": done})
    with pytest.raises(InvalidValueError, match="12 were charged"):
        run(path, [])


@pytest.mark.parametrize("change", ["missing", "more", "shape"])
def test_a_checkpoint_of_another_shape_changes_nothing(tmp_path: Path, change: str) -> None:
    """Module and optimizer are as they were."""
    path = tmp_path / "run.safetensors"
    run(path, [], until=3)
    tensors, about = read_tensors(path, "checkpoint")
    if change == "missing":
        del tensors["weight/0.weight"]
    elif change == "more":
        tensors["state/99/exp_avg"] = torch.ones(2)
    else:
        tensors["weight/0.weight"] = torch.ones(4, 1, 3, 2)
    write_tensors(path, tensors, about)
    module, optimizer = fresh()
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    with pytest.raises(InvalidValueError, match="another model"):
        read_checkpoint(path, module, optimizer, RECIPE, TASK)
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())
    assert not optimizer.state


def test_any_damaged_byte_is_found(tmp_path: Path) -> None:
    """In the header, in the weights, at the end."""
    path = tmp_path / "run.safetensors"
    run(path, [], until=3)
    data = path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 200)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(InvalidValueError):
            read_tensors(path, "checkpoint")
    for short in (b"", data[:-1], data[: len(data) // 2]):
        path.write_bytes(short)
        with pytest.raises(InvalidValueError, match="no whole safetensors file"):
            read_tensors(path, "checkpoint")
    path.write_bytes(data)
    assert read_tensors(path, "checkpoint")[1]["done"] == 3


def test_a_failed_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "run.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"kind": "checkpoint"})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(path, {"a": torch.zeros(2)}, {"kind": object()})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A model is no checkpoint."""
    path = tmp_path / "run.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"kind": "model"})
    with pytest.raises(InvalidValueError, match="no checkpoint"):
        read_tensors(path, "checkpoint")
    with pytest.raises(InvalidValueError, match="not there"):
        read_tensors(tmp_path / "other", "checkpoint")
