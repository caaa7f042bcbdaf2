"""What a proof costs: of one operation and of a thousand, from the running service, and to whoever checks it.

A job of one operation and a job of 1,000 (claims, Laplace, Gaussian and DP-SGD in turn, no two with the same numbers)
are charged over HTTP. Then their proofs are fetched again and again. In this process, without HTTP and database, the
same documents are made from the same ledger entries and checked, in turn. There processor time counts, which the
service beside it does not slow down.

    python -m benchmarks.proofs
"""

import gc
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import httpx

from accounting.ledger.entry import entry_from_body
from benchmarks.command import run
from benchmarks.findings import Findings, Goal, at_most
from benchmarks.load import LoadError, percentile
from benchmarks.report import layout
from benchmarks.rounds import Plan, Say
from benchmarks.services import Target
from proofs.certificate import parse_bundle, parse_json
from proofs.checker import verify_document
from proofs.prover import LogEvidence, prove_job
from proofs.signing import SigningKey

PROOF_PATH = "/api/v1/privacy/proof"
MANY = 1_000
BATCH = 100
WARM_UP = 3
"""Proofs that are fetched, made and checked before any that counts."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a job is, and what its proof may take.

    Attributes:
        operations: How many it has.
        fetched: How often its proof is fetched over HTTP.
        alone: How often it is made and checked in process.
        goal_ms: What the 99th percentile over HTTP may be.
    """

    operations: int
    fetched: int
    alone: int
    goal_ms: float

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.operations:,} operation{'' if self.operations == 1 else 's'}"


SIZES = (Size(1, 200, 50, 500), Size(MANY, 20, 5, 2_000))


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one job. All times in milliseconds.

    Attributes:
        document_bytes: Size of the proof.
        p50_ms: Of a proof over HTTP.
        p99_ms: Likewise.
        prover_ms: From the entries' text to the document's, in process: the median of processor time.
        checker_ms: From the document's text to the report, likewise.
        checker_first_ms: The same for the first check of the document.
    """

    document_bytes: int
    p50_ms: float
    p99_ms: float
    prover_ms: float
    checker_ms: float
    checker_first_ms: float


def measure(target: Target, plan: Plan, say: Say) -> Findings:
    """Run the benchmark against a running service. Arguments and errors as for `benchmarks.allocate.measure`."""
    tenant = f"bench-{secrets.token_hex(4)}-proofs"
    (token,) = target.tokens(tenant, 1)
    found = []
    with httpx.Client(base_url=target.base_url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        for size in SIZES:
            job = f"job-{size.operations}"
            _charge(client, job, size.operations)
            document, times = _fetch(client, job, size.fetched)
            figures = _figures(document, times, size.alone)
            found.append(figures)
            say(f"measured   {size.name}: p99 {figures.p99_ms:,.1f} ms, {len(document):,} bytes")
    return findings(found)


def findings(found: Sequence[Figures]) -> Findings:
    """Lay the figures of all `SIZES` out, beside what is wanted of them."""
    headers = ("proof", "bytes", "p50 ms", "p99 ms", "prover ms", "checker ms", "checker's first ms")
    lines = [
        (
            size.name,
            f"{one.document_bytes:,}",
            *(f"{ms:,.1f}" for ms in (one.p50_ms, one.p99_ms, one.prover_ms, one.checker_ms, one.checker_first_ms)),
        )
        for size, one in zip(SIZES, found, strict=True)
    ]
    title = (
        "proofs     p50 and p99 over HTTP, one request after the other; prover and checker in processor time, medians"
    )
    return Findings(
        "proofs",
        [title, *layout(headers, lines)],
        [goal for size, one in zip(SIZES, found, strict=True) for goal in _goals(size, one)],
        {size.name: asdict(one) for size, one in zip(SIZES, found, strict=True)},
    )


def events(count: int) -> Iterator[Mapping[str, Any]]:
    """What is asked for, one after the other: four kinds in turn, and no two with the same numbers.

    All of them together fit the budget that a tenant has by default.
    """
    for number in range(count):
        noise = str(2_000 + number)
        match number % 4:
            case 0:
                yield {"epsilon": f"0.000{number + 1:04}", "delta": "0"}
            case 1:
                yield {"event": {"kind": "laplace", "scale": noise, "sensitivity": "1"}}
            case 2:
                yield {"event": {"kind": "gaussian", "sigma": noise, "sensitivity": "1"}, "delta": "0.000000001"}
            case _:
                step = {
                    "kind": "poisson_gaussian",
                    "sigma": f"{20 + number // 4 % 25}",
                    "sensitivity": "1",
                    "sampling_probability": "0.001",
                }
                event = {"kind": "self_composed", "event": step, "count": 10 + number // 100}
                yield {"event": event, "delta": "0.000000001"}


def _goals(size: Size, figures: Figures) -> Iterator[Goal]:
    yield at_most(f"proof of {size.name}: p99 in ms", figures.p99_ms, size.goal_ms, places=1)
    # Who makes a proof also reads the ledger and the log for it; who checks one has it all in the document.
    yield at_most(f"checker of {size.name}: times the proof's p50", figures.checker_ms / figures.p50_ms, 1)


def _charge(client: httpx.Client, job: str, operations: int) -> None:
    wanted = [{"job_id": job, "operation_id": f"{job}-{at}", **body} for at, body in enumerate(events(operations))]
    for start in range(0, operations, BATCH):
        body = {"allocations": wanted[start : start + BATCH]}
        answer = client.post("/api/v1/privacy/budget/allocate:batch", json=body).raise_for_status().json()
        refused = [one for one in answer["results"] if one["status_code"] != 200]
        if refused:
            raise LoadError(f"the service refused an operation of {job}: {json.dumps(refused[0])}")


def _fetch(client: httpx.Client, job: str, times: int) -> tuple[bytes, list[float]]:
    """The proof, with its entries in the log, and what each of its fetches took, in milliseconds, sorted."""

    def fetch() -> bytes:
        return client.get(f"{PROOF_PATH}/{job}").raise_for_status().content

    for _ in range(100):
        document = fetch()
        if all(one["entry"]["inclusion"] for one in json.loads(document)["certificates"]):
            break
        time.sleep(0.1)
    else:
        raise LoadError(f"no head of the log knows all entries of {job}")
    for _ in range(WARM_UP):
        fetch()
    return document, sorted(_times(fetch, times, time.perf_counter))


def _figures(document: bytes, fetched: Sequence[float], repeats: int) -> Figures:
    """The figures of a document: checked first, before anything of it is known, then made and checked in turn."""
    make = _prover_of(document)

    def check() -> None:
        report = verify_document(document)
        if not report.valid:
            raise LoadError(f"a proof is not valid: {report.reasons[0]}")

    def once(work: Callable[[], object]) -> float:
        gc.collect()
        return _times(work, 1, time.process_time)[0]

    first = once(check)
    pairs = [(once(make), once(check)) for _ in range(WARM_UP + repeats)][WARM_UP:]
    return Figures(
        document_bytes=len(document),
        p50_ms=percentile(fetched, 50),
        p99_ms=percentile(fetched, 99),
        prover_ms=median(prover for prover, _ in pairs),
        checker_ms=median(checker for _, checker in pairs),
        checker_first_ms=first,
    )


def _prover_of(document: bytes) -> Callable[[], bytes]:
    """Makes the document again, from the entries that are in it."""
    bundle = parse_bundle(parse_json(document.decode()))
    signer = SigningKey.generate()
    own = [entry for one in bundle.certificates for entry in (one.entry, *one.later)]
    places = {entry.seq: entry.inclusion for entry in bundle.entries() if entry.inclusion is not None}
    evidence = None if bundle.log is None else LogEvidence(bundle.log, places)

    def make() -> bytes:
        entries, neighbours, registrations = (
            [entry_from_body(entry.body) for entry in sorted(part, key=lambda entry: entry.seq)]
            for part in (own, bundle.neighbours, bundle.registrations)
        )
        return json.dumps(prove_job(entries, signer, neighbours, registrations, evidence)).encode()

    return make


def _times(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> list[float]:
    """What each repetition took by a clock of seconds, in milliseconds."""
    found = []
    for _ in range(repeats):
        begun = clock()
        work()
        found.append((clock() - begun) * 1e3)
    return found


if __name__ == "__main__":
    run("benchmarks.proofs", __doc__, measure)
