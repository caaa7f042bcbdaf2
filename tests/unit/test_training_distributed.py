"""Two processes together make the very steps that one makes: the same sums, the same noise, the same sampling."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from deployments.training.methods import Method
from tests.training_workers import LOUD, NOISY_STEPS, alone

Found = dict[str, Any]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    """What each of two processes found."""
    folder: Path = tmp_path_factory.mktemp("workers")
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training_workers", str(rank), str(folder)], stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    for process in started:
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0, said.decode()
    first, second = (json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2))
    return first, second


@pytest.mark.parametrize("method", Method)
def test_two_processes_release_what_one_does(workers: tuple[Found, Found], method: Method) -> None:
    """Both get the gradient of all rows, clipped row by row and divided by the expected batch."""
    expected = alone(method)
    for found in workers:
        assert torch.allclose(torch.tensor(found[method]), expected, atol=1e-6)


@pytest.mark.parametrize("method", Method)
def test_a_process_that_drew_nothing_takes_part(workers: tuple[Found, Found], method: Method) -> None:
    """Both make the step, and both get the other's rows."""
    first, second = workers
    assert first[f"one-sided {method}"] == second[f"one-sided {method}"]
    assert any(first[f"one-sided {method}"])


def test_noise_is_added_once_and_at_the_full_scale(workers: tuple[Found, Found]) -> None:
    """Both have the same noise, of the recipe's variance: not half of it, and not twice."""
    first, second = workers
    assert first["noise"] == second["noise"]
    noise = torch.tensor(first["noise"], dtype=torch.float64)
    assert len(noise) == NOISY_STEPS * (6 * 8 + 8 + 8 * 3 + 3)
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], len(noise))
    assert low <= float((noise**2).sum()) <= high


def test_each_process_draws_its_own_records_with_the_recipes_probability(workers: tuple[Found, Found]) -> None:
    """Every step, also an empty one; and no record is drawn by both."""
    first, second = (found["batches"] for found in workers)
    assert len(first) == len(second) == LOUD.steps
    drawn = [row for batch in (*first, *second) for row in batch]
    assert {row % 2 for batch in first for row in batch} == {0}
    assert {row % 2 for batch in second for row in batch} == {1}
    low, high = stats.binom.ppf([1e-6, 1 - 1e-6], LOUD.steps * LOUD.records, float(LOUD.probability))
    assert low <= len(drawn) <= high
    assert set(drawn) == set(range(LOUD.records))


def test_processes_stop_together_and_agree_on_the_recipe(workers: tuple[Found, Found]) -> None:
    """One that went on alone would wait for ever; one with another recipe would not do what is charged."""
    for found in workers:
        assert found["stopped"] == 3
        assert "do not agree" in found["refused"]


def test_the_trainer_shares_its_work(workers: tuple[Found, Found]) -> None:
    """Both end with the same weights, at the recipe's last step; only the first one's pace counts."""
    first, second = workers
    assert first["told"] == [1, 2, 3, 4, 5, 6]
    assert second["told"] == []
    assert first["trained"] == second["trained"] == 6
    assert first["weights"] == second["weights"]
