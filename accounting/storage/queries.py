"""Named SQL statements, read from the `.sql` files beside this module."""

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "sql"


@cache
def queries(name: str) -> dict[str, str]:
    """The statements of ``sql/{name}.sql`` by the name that stands above each as ``-- name: ...``."""
    parts = re.split(r"^-- name: (\w+)\n", (FOLDER / f"{name}.sql").read_text(), flags=re.MULTILINE)
    return {key: text.strip().rstrip(";") for key, text in zip(parts[1::2], parts[2::2], strict=True)}
