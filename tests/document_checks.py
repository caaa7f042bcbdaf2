"""What documents say, held against what is so: commands that cannot be run here, settings, and output that is shown."""

import re
import shlex
from collections.abc import Callable
from typing import Any

import typer

from serve_app.cli.main import app
from serve_app.config import Settings
from tests.documents import ROOT

_ELSEWHERE = frozenset(f"AUMOS_PRIVACY_{name}" for name in ("URL", "TOKEN", "TENANT", "TASK_TOKEN"))
"""Variables of the command line, of the client and of a task; all others are settings."""


class NotAsWrittenError(AssertionError):
    """What a document says is not what happens."""


def _is_target(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, given, _ = word.partition("=")
        known = f"$({name})" in makefile or f"$(or $({name})," in makefile
        if not (known if given else re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE)):
            raise NotAsWrittenError(f"the Makefile knows no {name}: {command}")


def check_command(command: str) -> None:
    """The commands and options are in the command line's own help; placeholders stand for values."""
    words = shlex.split(command, comments=True)[1:]
    known: Any = typer.main.get_command(app)
    while words and words[0] in getattr(known, "commands", {}):
        known = known.commands[words.pop(0)]
    if hasattr(known, "commands") and words and not words[0].startswith("-"):
        raise NotAsWrittenError(f"there is no such command: {command}")
    options = {option for parameter in known.params for option in parameter.opts} | {"--help"}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("-") and name != "-" and name not in options:
            raise NotAsWrittenError(f"there is no option {name}: {command}")


def _is_module(command: str) -> None:
    (module,) = re.findall(r"-m ([\w.]+)", command)
    if not any((ROOT / f"{module.replace('.', '/')}{end}").exists() for end in (".py", "/__main__.py")):
        raise NotAsWrittenError(f"there is no module {module}: {command}")


def _files_exist(command: str) -> None:
    for name in shlex.split(command, comments=True):
        if name.endswith((".yaml", "Dockerfile")) and not (ROOT / name).exists():
            raise NotAsWrittenError(f"there is no file {name}: {command}")


def _extras_exist(command: str) -> None:
    offered = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"\[([\w,-]+)\]", command):
        for one in extra.split(","):
            if not re.search(rf"^{one} = \[", offered, re.MULTILINE):
                raise NotAsWrittenError(f"there is no extra {one}: {command}")


def _is_plain(command: str) -> None:
    """A command of the system, with nothing of ours in it."""


CHECKED: dict[str, Callable[[str], None]] = {
    "make": _is_target,
    "privacy-engine up": check_command,
    "privacy-engine down": check_command,
    "privacy-engine node": check_command,
    "privacy-engine deploy": check_command,
    "privacy-engine accept-ledger": check_command,
    "privacy-engine rotate-key": check_command,
    "privacy-engine train ": check_command,
    "privacy-engine audit-mechanism": check_command,
    "privacy-engine audit-training": check_command,
    "privacy-engine evaluate": check_command,
    "ray job submit": _is_module,
    "ray up": _files_exist,
    "kubectl": _files_exist,
    "docker": _files_exist,
    "pip install": _extras_exist,
    ". .venv/bin/activate": _is_plain,
    "systemctl": _is_plain,
    "git clone": _is_plain,
}
"""What is not run here, and how it is checked instead: a cluster, what takes long, what changes the test's keys."""


def checked(command: str) -> bool:
    """Whether a command is one that is not run here; it has then been checked."""
    for beginning, check in CHECKED.items():
        if f"{command.strip()} ".startswith(beginning):
            check(command)
            return True
    return False


def check_inline(command: str) -> None:
    """Checks a command in a sentence: it exists, with the options that are named."""
    if command.startswith("privacy-engine "):
        check_command(command)
    elif command.startswith("make "):
        _is_target(command.replace(" ...", ""))
    else:
        _is_module(command)


def check_variable(name: str) -> None:
    """Checks that a variable of the environment means something.

    Raises:
        NotAsWrittenError: If it is no setting.
    """
    if name not in _ELSEWHERE and name.removeprefix("AUMOS_PRIVACY_").lower() not in Settings.model_fields:
        raise NotAsWrittenError(f"there is no setting {name}")


def see(shown: str, seen: str) -> None:
    """Checks that the lines shown are among those seen, in their order; blanks do not count, ``...`` is anything.

    Raises:
        NotAsWrittenError: If one is not.
    """
    rest = [" ".join(line.split()) for line in seen.splitlines()]
    for line in (" ".join(line.split()) for line in shown.splitlines()):
        if line in ("", "..."):
            continue
        form = re.compile(".*".join(map(re.escape, line.split("..."))))
        place = next((number for number, one in enumerate(rest) if form.fullmatch(one)), None)
        if place is None:
            raise NotAsWrittenError(f"nobody sees {line!r}, but:\n{seen}")
        rest = rest[place + 1 :]


def see_json(shown: Any, seen: Any) -> None:  # noqa: ANN401 - JSON
    """Checks that what is shown is part of what is seen; ``"..."`` is anything.

    Raises:
        NotAsWrittenError: If it is not.
    """
    if shown == "...":
        return
    if isinstance(shown, dict) and isinstance(seen, dict):
        for name, value in shown.items():
            if name not in seen:
                raise NotAsWrittenError(f"there is no {name} in {seen}")
            see_json(value, seen[name])
    elif isinstance(shown, list) and isinstance(seen, list) and len(shown) <= len(seen):
        for one, other in zip(shown, seen, strict=False):
            see_json(one, other)
    elif shown != seen:
        raise NotAsWrittenError(f"{seen!r} is seen where {shown!r} is shown")
