"""A regulator's machine: the checker, what it needs, and nothing else of ours; the quick start's proofs hold there.

Such a machine is made here from the distributions that these tests run with, so that making it needs no network.
"""

import os
import shutil
import subprocess
import tomllib
import venv
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from serve_app.quickstart.__main__ import play
from serve_app.quickstart.scenario import with_one_digit_changed
from tests.support import Caller, Live

ROOT = Path(__file__).parents[2]
NEEDED = ("cryptography", "python-flint", "rfc8785")
"""What the checker imports that is not Python's own."""
CHECKER = ("proofs/__init__.py", "proofs/certificate", "proofs/checker")
SERVICE = ("accounting", "deployments", "serve_app", "ray", "torch", "fastapi", "numpy", "opendp", "asyncpg", "sympy")
"""Of ours and of others: what only a service needs."""


class Machine:
    """A Python of its own, with some distributions and some of our files in it."""

    def __init__(self, folder: Path, requirements: Iterable[str], files: Iterable[str]) -> None:
        venv.create(folder, symlinks=True)
        self._python = folder / "bin" / "python"
        (self._packages,) = (folder / "lib").glob("python*/site-packages")
        self._elsewhere = folder / "elsewhere"
        self._elsewhere.mkdir()
        self.installed = sorted(needed_by(requirements))
        for name in self.installed:
            self._install(name)
        for file in files:
            self._copy(file)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs its Python, isolated: neither this project's folder nor the environment can lend it anything."""
        return subprocess.run(
            [self._python, "-I", *arguments],
            cwd=self._elsewhere,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def finds(self, names: Iterable[str]) -> list[str]:
        """Which of these packages could be imported."""
        code = f"import importlib.util as u; print(*[n for n in {list(names)!r} if u.find_spec(n)])"
        return self.run("-c", code).stdout.split()

    def _install(self, name: str) -> None:
        parts = {file.parts[0] for file in distribution(name).files or [] if file.parts[0] != ".."}
        for part in parts - {"__pycache__"}:
            os.symlink(str(distribution(name).locate_file(part)), self._packages / part)

    def _copy(self, file: str) -> None:
        target = self._packages / file
        target.parent.mkdir(exist_ok=True)
        if (ROOT / file).is_dir():
            shutil.copytree(ROOT / file, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / file, target)


def needed_by(requirements: Iterable[str]) -> set[str]:
    """The distributions that pip would install for these, by name."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        name = canonicalize_name(requirement.name)
        if applies and name not in found:
            found.add(name)
            waiting += map(Requirement, distribution(name).requires or [])
    return found


@pytest.fixture(scope="module")
def proofs(live: Live, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The proofs that the quick start leaves; the keys are beside them."""
    settings, out = live.service.settings, tmp_path_factory.mktemp("quickstart")
    assert play(settings.base_url, out, settings.home) == 0
    return sorted(out.glob("proof-*.json"))


def keys_beside(proof: Path) -> str:
    """The public keys that the quick start saved."""
    return str(proof.with_name("keys.json"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with the checker alone."""
    return Machine(tmp_path_factory.mktemp("alone"), NEEDED, CHECKER)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with what ``pip install privacy-engine`` installs, no extra asked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return Machine(tmp_path_factory.mktemp("base"), project["project"]["dependencies"], packages)


def test_the_checker_alone_needs_five_distributions(alone: Machine) -> None:
    """Three that it imports and two that one of these rests on; no part of the service can be found there."""
    assert alone.installed == ["cffi", "cryptography", "pycparser", "python-flint", "rfc8785"]
    assert alone.finds(["proofs.checker", "proofs.certificate"]) == ["proofs.checker", "proofs.certificate"]
    assert alone.finds(SERVICE) == []


def test_the_quick_starts_proofs_hold_where_only_the_checker_is(alone: Machine, proofs: list[Path]) -> None:
    """Every one of them, by the keys that the service published."""
    assert len(proofs) == 5
    for proof in proofs:
        checked = alone.run("-m", "proofs.checker", str(proof), "--keys", keys_beside(proof))
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "VALID: job" in checked.stdout
        assert "signed by the trusted key" in checked.stdout


def test_a_changed_proof_is_refused_where_only_the_checker_is(
    alone: Machine, proofs: list[Path], tmp_path: Path
) -> None:
    """One digit is enough, and the step that failed is named."""
    forged = tmp_path / "forged.json"
    forged.write_text(with_one_digit_changed(proofs[0].read_text())[0])
    checked = alone.run("-m", "proofs.checker", str(forged), "--keys", keys_beside(proofs[0]))
    assert checked.returncode == 1
    assert "wrong: signature: the signature does not fit the document" in checked.stdout
    assert "wrong: certificate 1 (position 2): the claim is not what the ledger charged" in checked.stdout
    assert checked.stdout.endswith("NOT VALID\n")


def test_an_installation_without_extras_verifies_and_holds_nothing_of_a_service(
    base: Machine, proofs: list[Path]
) -> None:
    """Client, command line and checker: no Ray, no Torch, no accountant. What needs more says what to install."""
    assert base.finds(SERVICE[3:]) == []
    command = ("-m", "serve_app.cli.main")
    verified = base.run(*command, "verify", str(proofs[0]), "--keys", keys_beside(proofs[0]))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "VALID: job" in verified.stdout
    started = base.run(*command, "up")
    assert started.returncode == 2
    assert "install privacy-engine[service]" in started.stderr


HELP = """
import sys
from typer.testing import CliRunner
from serve_app.cli.main import app
from serve_app.cli.panels import PANELS

for command in (one.__name__.replace("_", "-") for panel in PANELS.values() for one in panel):
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0, (command, shown.output, shown.exception)
"""


def test_an_installation_without_extras_shows_every_help_and_asks_a_service_elsewhere(
    base: Machine, live: Live, engine: Caller
) -> None:
    """An address and a token are enough to spend and to look; nothing of the service has to be there."""
    shown = base.run("-c", HELP)
    assert shown.returncode == 0, shown.stderr
    asked = ("--url", live.service.settings.base_url, "--token", str(engine.token))
    command = ("-m", "serve_app.cli.main")
    spent = base.run(*command, "allocate", "--epsilon", "0.5", "--job", "j", *asked)
    assert spent.returncode == 0, spent.stderr
    assert "remaining   epsilon 9.5" in base.run(*command, "summary", *asked).stdout
    refused = base.run(*command, "token", "--tenant", "acme", "--role", "viewer")
    assert refused.returncode == 2
