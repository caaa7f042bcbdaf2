"""Follows a document as a reader would: its commands in order, in an empty folder, against the service under test.

A document may use:

* ``console`` and ``sh`` blocks: commands, without prompts. One that is to fail says ``# exit status 4`` behind it.
* ``text`` and ``json`` blocks directly after them: what one really sees, shortened. ``...`` stands for anything.
* ``python`` blocks: programs, each complete; one whose first line is a comment with a path is a file to be kept.
* ``ini``, ``promql``, ``yaml`` and lone ``json`` blocks: looked through, not run.

What cannot run here, such as ``make run``, is in `document_checks.CHECKED` and is checked in another way.
Anything else fails.
"""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.observing.catalogue import as_table
from tests.document_checks import (
    NotAsWrittenError,
    check_command,
    check_variable,
    checked,
    see,
    see_json,
)
from tests.documents import ROOT, Block, commands

ADDRESSES = ("http://127.0.0.1:8000", "http://localhost:8000")
"""How documents call the service."""
_OF_THE_LOG = ("privacy-engine proof", "privacy-engine audit ", "privacy-engine evidence")
"""Commands whose output tells of the log's newest head, which follows within a second."""
_STATUS = re.compile(r"#.*\bexit status (\d+)")
_ASSIGNED = re.compile(r"(?P<export>export )?(?P<name>\w+)=\$\((?P<command>privacy-engine [^|>&()]*)\)")
_NAMED = re.compile(r"\$\{?(\w+)\}?")
_ENVIRONMENT = re.compile(r"\bAUMOS_PRIVACY_[A-Z_]+")


@dataclass
class Reader:
    """Somebody who follows one document.

    Attributes:
        folder: Where they stand.
        url: Where the service answers.
        environment: What a terminal of theirs holds.
        typed: Waits as long as people need to type: until a head of the log covers what was done before.
        seen: What the commands of the last block printed; None where no command came before.
        ran: Whether one of them ran here, so that it can be compared.
    """

    folder: Path
    url: str
    environment: dict[str, str]
    typed: Callable[[], None]
    seen: str | None = None
    ran: bool = False
    _programs: int = field(default=0)

    def follow(self, block: Block) -> None:
        """Does what a block says.

        Raises:
            NotAsWrittenError: If it does not go as written.
        """
        try:
            self._follow(block)
        except NotAsWrittenError as error:
            raise NotAsWrittenError(f"{block.place}: {error}") from None

    def _follow(self, block: Block) -> None:
        match block.language:
            case "console" | "sh" | "bash":
                self.ran = False
                self.seen = "".join([self._do(command) for command in commands(block)])
            case "python":
                self.seen = self._program(block.text)
            case "text" if self.seen is not None:
                if self.ran:
                    see(self._here(block.text), self.seen)
            case "json" if self.seen:
                see_json(json.loads(block.text), json.loads(self.seen))
            case "json":
                json.loads(block.text)
            case "yaml":
                yaml.safe_load(block.text)
            case "ini":
                self._look_through(block.text)
            case "promql":
                (metric,) = re.findall(r"\bray_privacy_\w+", block.text)
                if metric not in as_table():
                    raise NotAsWrittenError(f"there is no metric {metric}")
            case "" if any(drawn in block.text for drawn in "┌└├──>"):
                pass  # a drawing
            case _:
                raise NotAsWrittenError(f"nobody runs or checks this block: ```{block.language}")

    def _here(self, text: str) -> str:
        for address in ADDRESSES:
            text = text.replace(address, self.url)
        return text

    def _do(self, command: str) -> str:
        command = self._here(command)
        if checked(command):
            return ""
        if command.startswith(_OF_THE_LOG):
            self.typed()
        self.ran = True
        stated = _STATUS.search(command)
        status, output, errors = self._run(command)
        if status != (int(stated[1]) if stated else 0):
            raise NotAsWrittenError(f"exit status {status} of: {command}\n{output}{errors}")
        return output + errors

    def _run(self, command: str) -> tuple[int, str, str]:
        assigned = _ASSIGNED.fullmatch(command.strip())
        if assigned:
            status, output, errors = self._ours(assigned["command"])
            self.environment[assigned["name"]] = output.strip()
            return status, "", errors
        plain = re.sub(r"'[^']*'|\"[^\"]*\"", "", command.partition(" #")[0])
        if command.startswith("privacy-engine ") and not re.search(r"[|<>&;()`]", plain):
            return self._ours(command)
        return self._shell(command)

    def _ours(self, command: str) -> tuple[int, str, str]:
        """In this process: starting Python again for each would take most of the time."""
        words = shlex.split(command.replace("\\\n", " "), comments=True)[1:]
        words = [_NAMED.sub(lambda name: self.environment[name[1]], word) for word in words]
        with _Standing(self.folder, self.environment):
            done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise NotAsWrittenError(f"{command} raised {done.exception!r}")
        return done.exit_code, done.stdout, done.stderr

    def _shell(self, command: str) -> tuple[int, str, str]:
        left = self.folder / ".environment"
        endless = "curl -N " in command
        if endless:  # a stream that a reader ends
            command = command.replace("curl -N ", "curl -sN --max-time 2 ")
        script = f"set -a -o pipefail\n{command}\nstatus=$?\nenv -0 > {shlex.quote(str(left))}\nexit $status"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if left.exists():
            pairs = (pair.partition("=") for pair in left.read_text().split("\0") if pair)
            self.environment.update(
                {name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD", "status")}
            )
            left.unlink()
        timed_out = 28
        return 0 if endless and done.returncode == timed_out else done.returncode, done.stdout, done.stderr

    def _program(self, text: str) -> str:
        kept = re.match(r"# ([\w/]+\.py)\n", text)
        if kept:
            file = self.folder / kept[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            return ""
        self._programs += 1
        file = self.folder / f"program_{self._programs}.py"
        file.write_text(self._here(text))
        with _Standing(self.folder, self.environment):
            return _apart(file)

    def _look_through(self, text: str) -> None:
        for command in re.findall(r"^Exec\w+=\S*/(privacy-engine .*)$", text, re.MULTILINE):
            check_command(command)
        for name in _ENVIRONMENT.findall(text):
            check_variable(name)


class _Standing:
    """This process in a reader's folder with a reader's environment, for as long as the block runs."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def __enter__(self) -> None:
        self._before = Path.cwd(), dict(os.environ)
        os.chdir(self._folder)
        os.environ.clear()
        os.environ.update(self._environment)

    def __exit__(self, *_: object) -> None:
        os.chdir(self._before[0])
        os.environ.clear()
        os.environ.update(self._before[1])


def _apart(file: Path) -> str:
    """Runs a program with nothing defined, on a thread that has no event loop; returns nothing that it printed."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            runpy.run_path(str(file))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise NotAsWrittenError(f"{file.read_text()}\nraised {raised[0]!r}")
    return ""


def environment_of(home: Path, url: str) -> dict[str, str]:
    """The environment of a reader on the service's own machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUMOS_PRIVACY_")}
    return {
        **kept,
        "AUMOS_PRIVACY_HOME": str(home),
        "AUMOS_PRIVACY_URL": url,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        # Tables are as wide as the terminal, and plain.
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
