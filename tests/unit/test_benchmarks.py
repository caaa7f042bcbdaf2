"""The parts of the benchmarks that compute: what they measure is for `make bench` alone."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.allocate import PATHS
from benchmarks.load import LoadError, LoadResult, parse_wrk_output, percentile, run_load
from benchmarks.machine import Machine, parse_cpu_model
from benchmarks.report import MeasuredPath, Ratio, Row, format_table, paired_ratio, summarize
from benchmarks.row_lock_peer import PeerSettings, TokenVerifier
from benchmarks.tokens import AUDIENCE, mint, mint_many, public_pem

WRK_OUTPUT = """\
Running 8s test @ http://127.0.0.1:8000/api/v1/privacy/budget/allocate
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    11.12ms    2.11ms  39.40ms   91.50%
  23040 requests in 8.00s, 9.10MB read
bench-result requests=23040 duration_us=8000000 p50_us=10600 p99_us=21450 status=40 connect=1 read=2 write=3 timeout=4
"""

MACHINE = Machine(2, 8 * 2**30, "Some CPU", "2026-01-02", "3.11.9", "18.4")


def result(rps: int, *, p50_ms: float = 1.0, failures: int = 0) -> LoadResult:
    """Return the figures of one second of load."""
    return LoadResult(rps + failures, 1.0, p50_ms, 2 * p50_ms, failures, 0, "wrk")


@contextmanager
def http_server(status: str) -> Iterator[tuple[str, list[bytes]]]:
    """Answer every request with `status`, in a thread of its own, and keep the requests."""
    received: list[bytes] = []
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                received.append(head + await reader.readexactly(length))
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/allocate", received
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


class TestWrkOutput:
    def test_reads_the_result_line_among_the_rest(self) -> None:
        """Microseconds become seconds and milliseconds, and all kinds of socket error are added up."""
        parsed = parse_wrk_output(WRK_OUTPUT)

        assert parsed == LoadResult(23040, 8.0, 10.6, 21.45, 40, 10, "wrk")

    def test_failures_do_not_count_as_throughput(self) -> None:
        """Answers with an error status are taken off before requests are divided by time."""
        assert parse_wrk_output(WRK_OUTPUT).rps == (23040 - 40) / 8

    @pytest.mark.parametrize(
        "output",
        ["", "unable to connect", "bench-result requests=1 duration_us=2", WRK_OUTPUT.replace("10600", "nan")],
    )
    def test_refuses_output_without_a_whole_result(self, output: str) -> None:
        """Missing, partial or non-numeric figures are an error, never a measurement of zero."""
        with pytest.raises(LoadError):
            parse_wrk_output(output)


class TestPythonGenerator:
    def test_each_request_has_its_own_job_and_the_next_token(self) -> None:
        """No two requests share a job, and the load is spread over all tokens."""
        with http_server("200 OK") as (url, received):
            measured = run_load(url, ["one", "two"], concurrency=2, seconds=1, generator="python")

        assert measured.generator == "python"
        assert measured.requests > 2
        assert (measured.errors_non_2xx, measured.errors_socket) == (0, 0)
        bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in received]
        assert len({body["job_id"] for body in bodies}) == len(bodies)
        assert {(body["source_engine"], body["epsilon"]) for body in bodies} == {("tabular", "0.000001")}
        assert all(any(f"Bearer {token}".encode() in request for request in received) for token in ("one", "two"))

    def test_an_endpoint_that_refuses_is_not_measured(self) -> None:
        """The first refusal ends the run with its status, before any load is sent."""
        with http_server("401 Unauthorized") as (url, received), pytest.raises(LoadError, match="401"):
            run_load(url, ["one"], concurrency=1, seconds=1, generator="python")

        assert len(received) == 1

    def test_needs_a_token(self) -> None:
        """Without any token the load is refused as a caller's mistake."""
        with pytest.raises(ValueError, match="token"):
            run_load("http://127.0.0.1:9/allocate", [])


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, 0.0), ([7.0], 99, 7.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.0), (list(map(float, range(1, 201))), 99, 198.0)],
)
def test_percentile_is_nearest_rank(values: list[float], percent: float, expected: float) -> None:
    """A percentile is always a value that was measured, never interpolated, and 0 of nothing."""
    assert percentile(values, percent) == expected


class TestRatios:
    def test_are_paired_within_a_round(self) -> None:
        """Ratios are taken round by round, so a machine that slows down between rounds skews none."""
        rounds = [
            {"ours": result(300), "peer": result(100)},
            {"ours": result(30), "peer": result(15)},
            {"ours": result(800), "peer": result(200)},
        ]

        assert paired_ratio(rounds, "ours", "peer") == Ratio(median=3.0, low=2.0, high=4.0)

    def test_need_a_divisor_that_answered(self) -> None:
        """A peer that served nothing is an error by name, not a division by zero."""
        with pytest.raises(ValueError, match="peer answered nothing"):
            paired_ratio([{"ours": result(1), "peer": result(0)}], "ours", "peer")

    def test_need_a_round(self) -> None:
        """No ratio is made up where no round was measured."""
        with pytest.raises(ValueError, match="at least one round"):
            paired_ratio([], "ours", "peer")


class TestReport:
    PATHS = (MeasuredPath("peer"), MeasuredPath("no-op"), MeasuredPath("ours", peer="peer", noop="no-op"))
    ROUNDS = (
        {"peer": result(100), "no-op": result(400), "ours": result(300, p50_ms=3.0)},
        {"peer": result(100), "no-op": result(400), "ours": result(200, p50_ms=5.0, failures=7)},
    )

    def test_rows_are_medians_and_failures_add_up(self) -> None:
        """Failures are totals over all rounds, and a path without a peer has no ratio to one."""
        report = summarize(self.PATHS, self.ROUNDS, MACHINE)

        assert report.rows[2] == Row(
            path="ours",
            rps=250.0,
            p50_ms=4.0,
            p99_ms=8.0,
            to_peer=Ratio(2.5, 2.0, 3.0),
            to_noop=Ratio(0.625, 0.5, 0.75),
            failures=7,
        )
        assert report.rows[0].to_peer is None

    def test_text_names_machine_generator_and_failures(self) -> None:
        """The text says on what and with what was measured, and does not hide failed requests."""
        text = summarize(self.PATHS, self.ROUNDS, MACHINE).to_text()

        assert "2 cores, 8 GiB, Some CPU, Python 3.11.9, PostgreSQL 18.4, 2026-01-02" in text
        assert "wrk, medians of 2 rounds" in text
        assert "ours 7" in text

    def test_json_carries_every_figure(self) -> None:
        """The JSON keeps the number of rounds and each ratio's spread beside its median."""
        document = json.loads(summarize(self.PATHS, self.ROUNDS, MACHINE).to_json())

        assert document["rounds"] == 2
        assert document["rows"][2]["to_peer"] == {"median": 2.5, "low": 2.0, "high": 3.0}

    def test_needs_a_round(self) -> None:
        """A report without a single measured round is refused."""
        with pytest.raises(ValueError, match="at least one round"):
            summarize(self.PATHS, [], MACHINE)

    def test_table_is_aligned(self) -> None:
        """Columns line up whatever the width of their figures, and an absent ratio is a dash."""
        rows = [
            Row("peer", 950.4, 33.3, 61.04, None, None, 0),
            Row("ours, hot", 2845.0, 10.6, 19.96, Ratio(2.994, 2.9, 3.1), Ratio(0.9, 0.88, 0.91), 0),
        ]

        assert format_table(rows) == [
            "path       requests/s  p50 ms  p99 ms        ratio to peer       ratio to no-op",
            "---------  ----------  ------  ------  -------------------  -------------------",
            "peer              950    33.3    61.0                    -                    -",
            "ours, hot       2,845    10.6    20.0  2.99 (2.90 to 3.10)  0.90 (0.88 to 0.91)",
        ]

    def test_the_benchmark_compares_paths_that_it_measures(self) -> None:
        """Every peer and no-op that a path is compared with is itself among the measured paths."""
        names = {path.name for path in PATHS}

        assert {name for path in PATHS for name in (path.peer, path.noop) if name} <= names


class TestTokens:
    def test_the_peer_accepts_what_is_minted(self) -> None:
        """A minted token names its key, tenant, audience and role, and is accepted again when repeated."""
        key = Ed25519PrivateKey.generate()
        verifier = TokenVerifier(key.public_key())
        token = mint(key, "key-1", "tenant-a")

        assert jwt.get_unverified_header(token)["kid"] == "key-1"
        assert [verifier.tenant_of(token) for _ in range(2)] == ["tenant-a", "tenant-a"]
        assert jwt.decode(token, public_pem(key), algorithms=["EdDSA"], audience=AUDIENCE)["roles"] == ["engine"]

    def test_the_peer_refuses_other_keys_and_old_tokens(self) -> None:
        """The peer truly verifies signature and expiry, so that it does comparable work."""
        key = Ed25519PrivateKey.generate()
        verifier = TokenVerifier(key.public_key())

        for token in (mint(Ed25519PrivateKey.generate(), "key-1", "tenant-a"), mint(key, "key-1", "tenant-a", now=0)):
            with pytest.raises(jwt.InvalidTokenError):
                verifier.tenant_of(token)

    def test_every_tenant_gets_its_own(self) -> None:
        """Minting many yields one token for each tenant, numbered in order."""
        tokens = mint_many(Ed25519PrivateKey.generate(), "key-1", "run", 3)
        tenants = [jwt.decode(token, options={"verify_signature": False})["tenant_id"] for token in tokens]

        assert tenants == ["run-0000", "run-0001", "run-0002"]


def test_settings_reach_the_workers_of_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come back from the environment, the way to worker processes, as they went in."""
    settings = PeerSettings("postgresql://localhost/bench", Path("key.pem"), 4)
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)

    assert PeerSettings.from_environment() == settings


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: AMD EPYC\n", "AMD EPYC"), ("Hardware: a board\n", None)],
)
def test_cpu_model_is_read_from_cpuinfo(cpuinfo: str, model: str | None) -> None:
    """The first model name counts, and a machine that names none has no model."""
    assert parse_cpu_model(cpuinfo) == model
