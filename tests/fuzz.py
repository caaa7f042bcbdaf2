"""Schemathesis over the OpenAPI document, against the whole service: ``python -m tests.fuzz --examples 200``.

Every phase (examples, coverage, fuzzing, sequences of linked operations) and every check. What it cannot know of the
interface stands in `schemathesis.toml`, with the reasons.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from accounting.storage import embedded
from accounting.storage.migrate import Role, ensure_service_login, migrate
from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.support import Live, Serving, WholeService, free_port

CONFIG = Path(__file__).parent.parent / "schemathesis.toml"
PHASES = "examples,coverage,fuzzing,stateful"
OF_ALL = frozenset({"audit", "consistency", "entries", "head", "heads"})
TENANT, DATASET = "fuzz", "patients"
COLUMNS = [
    {"name": "age", "kind": "number", "edges": [0, 50, 100]},
    {"name": "ill", "kind": "category", "values": ["no", "yes"]},
]
ROWS = "age,ill\n" + "".join(f"{number % 100},{'yes' if number % 3 else 'no'}\n" for number in range(200))


@dataclass(frozen=True)
class Asker:
    """Whose token the requests carry.

    Attributes:
        tenant: Its tenant; ``*`` for any.
        roles: Its roles.
    """

    tenant: str
    roles: tuple[str, ...]


ASKERS = {
    "all": Asker(TENANT, ("admin", "engine", "analyst")),
    "viewer": Asker(TENANT, ("viewer",)),
    "auditor": Asker("*", ("auditor",)),
    "service": Asker("*", ("engine",)),
}


def prepare(live: Live) -> None:
    """Gives the tenant a budget that lasts, and rows to train on."""
    caller = live.caller(TENANT, "admin", "engine")
    rows = f"{PREFIX}/generators/dataset/{DATASET}"
    for answer in (
        caller.put_budget(epsilon="100000", delta="0.1"),
        caller.request("PUT", rows, json={"columns": COLUMNS}),
        caller.request("PUT", f"{rows}/rows", content=ROWS, headers={"Content-Type": "text/csv"}),
    ):
        assert answer.status_code == 200, answer.text


def for_any_tenant(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it reads for a token of any tenant, which has to name one: ``tenant_id`` is no longer optional.

    The examples name none, so they are left out. What may be asked about all tenants stays as it is. Nor has such a
    token a tenant of its own, whose budget could be gone on with.
    """
    told: dict[str, Any] = json.loads(json.dumps(document))
    told["paths"][f"{PREFIX}/access/me"]["get"]["responses"]["200"].pop("links")
    for operations in told["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "tenant_id" and operation["operationId"] not in OF_ALL:
                    parameter["required"] = True
    for name, schema in told["components"]["schemas"].items():
        if name.endswith("Body") and "tenant_id" in schema.get("properties", {}):
            stated = schema["properties"]["tenant_id"]
            schema["properties"]["tenant_id"] = next(one for one in stated["anyOf"] if one["type"] == "string")
            schema["required"] = [*schema.get("required", ()), "tenant_id"]
    for operations in told["paths"].values():
        for operation in operations.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                media.pop("examples", None)
    return told


def fuzz(
    live: Live, asker: Asker, folder: Path, *, seed: int, examples: int, phases: str = PHASES
) -> subprocess.CompletedProcess[str]:
    """Runs Schemathesis in a process of its own; its exit status is 0 where it found nothing.

    Args:
        live: The service.
        asker: Who asks.
        folder: For the document and the report.
        seed: Of all that is drawn: the same seed asks the same of the same service.
        examples: Cases for each operation and phase, at most.
        phases: Which phases.
    """
    document = live.client.get("/openapi.json").json()
    path = folder / "openapi.json"
    path.write_text(json.dumps(for_any_tenant(document) if asker.tenant == "*" else document))
    token = live.token(asker.tenant, asker.roles, lifetime_seconds=86_400)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", str(path)),
        *("--url", live.service.settings.base_url, "--header", f"Authorization: Bearer {token}"),
        *("--phases", phases, "--checks", "all", "--max-examples", str(examples), "--seed", str(seed)),
        # A busy machine is no finding.
        *("--request-timeout", "60", "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", "--warnings", "off"),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@contextmanager
def own_service(folder: Path) -> Iterator[Live]:
    """A service with a Postgres of its own, as long as the block runs."""
    url = embedded.start(folder / "pg")
    try:
        asyncio.run(migrate(url))
        service_url = asyncio.run(ensure_service_login(url, "prv_fuzz", "onlyForTests1"))
        recorder_url = asyncio.run(ensure_service_login(url, "prv_fuzz_recorder", "onlyForTests1", Role.RECORDER))
        listener = free_port()
        chosen = Settings.model_validate({"home": folder / "home", "port": listener.getsockname()[1]})
        service = Service(chosen, service_url, recorder_url)
        with (
            Serving(WholeService(service), listener),
            httpx.Client(base_url=chosen.base_url, timeout=60) as client,
        ):
            yield Live(service, client, url)
    finally:
        embedded.stop(folder / "pg")


def main() -> int:
    """Runs as each asker that is named; the exit status is 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--as", dest="askers", choices=ASKERS, nargs="*", default=list(ASKERS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=100, help="cases for each operation and phase")
    parser.add_argument("--phases", default=PHASES)
    given = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as name, own_service(Path(name)) as live:
        prepare(live)
        for asker in given.askers:
            done = fuzz(live, ASKERS[asker], Path(name), seed=given.seed, examples=given.examples, phases=given.phases)
            sys.stdout.write(f"\n{asker}\n{done.stdout}{done.stderr}\n")
            sys.stdout.flush()
            found |= done.returncode
    return found


if __name__ == "__main__":
    sys.exit(main())
