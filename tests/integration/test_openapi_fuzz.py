"""The OpenAPI document tells the truth: Schemathesis, with every phase and every check, finds nothing.

Some cases for each operation here; ``make fuzz`` asks more, and as more people.
"""

from pathlib import Path

from tests.fuzz import ASKERS, fuzz, prepare
from tests.support import Live


def test_schemathesis_finds_nothing(live: Live, tmp_path: Path) -> None:
    """As somebody of one tenant who may do nearly everything; the same cases every time."""
    prepare(live)
    done = fuzz(live, ASKERS["all"], tmp_path, seed=1, examples=5)
    assert done.returncode == 0, done.stdout + done.stderr
