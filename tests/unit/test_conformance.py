"""The conformance suite tells sound adapters from others, and those by the very thing that they break."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve_app.client.conformance.adapter import UnknownAdapterError
from serve_app.client.conformance.suite import NotConformingError, check, results

ADAPTERS = "tests.unit.broken_adapters"
OWN = "serve_app.client.conformance.own"
ROOT = Path(__file__).parents[2]
BROKEN = {
    "sound": [],
    "new_key_each_time": ["lost answer"],
    "forgets_its_key": ["killed and started again"],
    "argues": ["denied (402)"],
    "rounds": ["exact amounts"],
    "hopes": ["no answer at all"],
    "hurries": ["asked to wait (429)"],
    "peeks": ["data after the charge"],
    "distrusts": ["lost answer", "sent twice by the network", "killed and started again"],
    "is_strict": ["unknown members"],
    "keeps_asking": ["expired token (401)"],
    "trusts": ["a 500", "a 503"],
}
"""What each adapter is told."""


@pytest.fixture(scope="module")
def told() -> dict[str, list[str]]:
    """The failures of every adapter; side by side, since each of them mostly waits."""

    def failures(pair: tuple[str, str | None]) -> list[str]:
        adapter, holding = pair
        return [one.name for one in results(adapter, holding=holding) if one.failure is not None]

    pairs: dict[str, tuple[str, str | None]] = {name: (f"{ADAPTERS}:{name}", None) for name in BROKEN}
    pairs["takes_back"] = (f"{ADAPTERS}:sound", f"{ADAPTERS}:takes_back")
    pairs["our own"] = (f"{OWN}:spend_with_journal", f"{OWN}:hold")
    with ThreadPoolExecutor(len(pairs)) as pool:
        return dict(zip(pairs, pool.map(failures, pairs.values()), strict=True))


@pytest.mark.parametrize("name", BROKEN)
def test_an_adapter_fails_on_exactly_what_it_breaks(told: dict[str, list[str]], name: str) -> None:
    """And on nothing else; one that breaks nothing passes."""
    assert sorted(told[name]) == sorted(BROKEN[name])


def test_a_hold_may_not_be_taken_back_after_the_reading(told: dict[str, list[str]]) -> None:
    """Nor be said to have cost nothing, where its commit was not confirmed."""
    assert told["takes_back"] == ["commit: lost answer", "commit: a 503"]


def test_our_own_client_conforms(told: dict[str, list[str]]) -> None:
    """With a key that it makes and a journal that keeps it; and by holds."""
    assert told["our own"] == []


def test_an_adapter_that_raises_is_told_so_and_what_to_do() -> None:
    """Every property then fails with the error, and a test of one's own fails with all of them."""
    with pytest.raises(NotConformingError, match=r"charges once: it raised OSError: connection refused\. POST budget"):
        check(f"{ADAPTERS}:gives_up")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The suite as a command."""
    command = [sys.executable, "-m", "serve_app.client.conformance", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_says_what_to_do_and_fails() -> None:
    """Status 1, a line for every property, advice where one fails."""
    ended = run(f"{ADAPTERS}:rounds")
    assert ended.returncode == 1, ended.stderr
    assert "FAIL  exact amounts: epsilon 0.123456789012345678 arrived as 0.12345678901234568." in ended.stdout
    assert "Send amounts as decimal texts; a float loses digits." in ended.stdout
    assert ended.stdout.endswith("14 passed, 1 failed\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "write package.module:function"),
        ("no.such.module:spend", "no.such.module cannot be imported"),
        (f"{ADAPTERS}:no_such", "has no no_such"),
        (f"{ADAPTERS}:PATH", "is not a function"),
    ],
)
def test_a_name_of_no_adapter_is_told(name: str, reason: str) -> None:
    """Before anything runs."""
    with pytest.raises(UnknownAdapterError, match=reason):
        check(name)


def test_the_command_ends_with_status_2_for_a_name_of_no_adapter() -> None:
    """So that a script can tell misuse from a failure."""
    ended = run("nothing")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "write package.module:function" in ended.stderr
