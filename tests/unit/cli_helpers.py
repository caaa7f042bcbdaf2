"""Running commands: in this process, and where the service is not installed."""

import subprocess
import sys
from collections.abc import Callable

from typer.testing import CliRunner, Result

from serve_app.cli.main import app

Invoke = Callable[..., Result]

NOBODY = "http://127.0.0.1:9"
"""The port of the discard protocol, where nobody answers."""
OF_THE_SERVICE = (
    "ray fastapi starlette pydantic_settings jwt asyncpg alembic sqlalchemy numpy scipy opendp structlog".split()
)


def command(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Runs a command."""
    return CliRunner().invoke(app, list(arguments), input=stdin)


def without_the_service(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command where only the base installation can be imported. (Typer itself brings pydantic.)"""
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({OF_THE_SERVICE}))\n"
        "from serve_app.cli.main import app\n"
        f"app({list(arguments)})"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
