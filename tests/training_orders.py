"""People who store rows and order trainings over HTTP, and what they order."""

import random
import time
from typing import Any

from serve_app.service import PREFIX
from tests.support import Caller, Live, assert_problem, new_name

JOBS = f"{PREFIX}/training/jobs"
DATASETS = f"{PREFIX}/generators/dataset"
PATIENCE_SECONDS = 120.0
ROWS = 200
COLUMNS: list[dict[str, Any]] = [
    {"kind": "number", "name": "a", "edges": [0, 0.25, 0.5, 0.75, 1]},
    {"kind": "number", "name": "b", "edges": [0, 0.25, 0.5, 0.75, 1]},
    {"kind": "category", "name": "c", "values": ["no", "yes"]},
]
MLP = {"kind": "mlp", "target": "c", "hidden": [8], "batch_size": 20, "steps": 10, "target_epsilon": "1"}
MARGINAL = {"kind": "dp-marginal", "target_epsilon": "1"}
TVAE = {"kind": "dp-tvae", "target_epsilon": "1"}


def rows_of(number: int = ROWS) -> str:
    """A CSV file of people of whom nothing is true; no two files are alike."""
    chance = random.Random()
    pairs = [(chance.random(), chance.random()) for _ in range(number)]
    return "\n".join(["a,b,c", *(f"{a},{b},{'yes' if a > b else 'no'}" for a, b in pairs)])


def declare(caller: Caller, name: str) -> None:
    """Declares the columns."""
    assert caller.request("PUT", f"{DATASETS}/{name}", json={"columns": COLUMNS}).status_code == 200


def store(caller: Caller, name: str, content: str | bytes, kind: str = "text/csv") -> Any:  # noqa: ANN401
    """Sends a file of rows; the response."""
    return caller.request("PUT", f"{DATASETS}/{name}/rows", content=content, headers={"Content-Type": kind})


def new_owner(live: Live) -> tuple[Caller, str]:
    """An engine with a budget, and the name of a data set of which rows are stored."""
    caller, name = live.new(), new_name("people")
    declare(caller, name)
    assert store(caller, name, rows_of()).json()["rows"] == ROWS
    caller.budget()
    return caller, name


def jobs_of(caller: Caller) -> list[dict[str, Any]]:
    """All that the tenant has ordered."""
    listed: list[dict[str, Any]] = caller.get(JOBS).json()["jobs"]
    return listed


def refused(
    owner: tuple[Caller, str], body: dict[str, Any], field: str | None, status: int = 422, code: str = "invalid_request"
) -> dict[str, Any]:
    """The order is refused for that field, and then the ledger and the list of trainings are what they were."""
    caller, name = owner
    before, known = caller.state(), jobs_of(caller)
    given = {key: value for key, value in ({"dataset_id": name} | body).items() if value is not None}
    problem = assert_problem(caller.post(JOBS, json=given), status, code, field)
    assert caller.state() == before
    assert jobs_of(caller) == known
    return problem


def path_of(live: Live, caller: Caller, name: str) -> Any:  # noqa: ANN401
    """Where the rows of a data set are on disk."""
    digest = caller.get(f"{DATASETS}/{name}").json()["sha256"]
    (found,) = live.service.settings.files_folder.glob(f"rows/*/{digest}.csv")
    return found


def ended(caller: Caller, job: str) -> dict[str, Any]:
    """The training once its hold is settled."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer: dict[str, Any] = caller.get(f"{JOBS}/{job}").json()
        if answer["settlement"] is not None:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"the training did not end: {answer}")


def ordered(caller: Caller, name: str, **body: Any) -> str:  # noqa: ANN401
    """The id of a training that the caller starts himself, so that nothing happens to it."""
    given = {**MARGINAL, "target_epsilon": "0.1", "dataset_id": name, "launch": "caller", **body}
    response = caller.post(JOBS, json=given)
    assert response.status_code == 202, response.text
    job: str = response.json()["id"]
    return job
