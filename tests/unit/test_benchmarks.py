"""The parts of the benchmarks that compute: what they measure is for `make bench` alone."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import allocate, batch, history, killed
from benchmarks.findings import Goal, at_least, at_most, format_goals
from benchmarks.load import (
    SLOT,
    LoadError,
    LoadResult,
    allocation_template,
    batch_template,
    parse_wrk_output,
    percentile,
    run_load,
)
from benchmarks.machine import Machine, parse_cpu_model
from benchmarks.report import MeasuredPath, Ratio, Report, Row, format_table, paired_ratio, summarize
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

    def test_every_item_of_a_batch_has_its_own_job(self) -> None:
        """No two allocations share a job, within a request or across requests."""
        with http_server("200 OK") as (url, received):
            run_load(url, ["one"], concurrency=2, seconds=1, template=batch_template(3), generator="python")

        jobs = [
            item["job_id"]
            for request in received
            for item in json.loads(request.partition(b"\r\n\r\n")[2])["allocations"]
        ]
        assert len(jobs) == 3 * len(received) > 6
        assert len(set(jobs)) == len(jobs)

    def test_an_endpoint_that_refuses_is_not_measured(self) -> None:
        """The first refusal ends the run with its status, before any load is sent."""
        with http_server("401 Unauthorized") as (url, received), pytest.raises(LoadError, match="401"):
            run_load(url, ["one"], concurrency=1, seconds=1, generator="python")

        assert len(received) == 1

    def test_needs_a_token(self) -> None:
        """Without any token the load is refused as a caller's mistake."""
        with pytest.raises(ValueError, match="token"):
            run_load("http://127.0.0.1:9/allocate", [])


@pytest.mark.parametrize("make", [allocation_template, lambda: batch_template(2)])
def test_templates_of_two_runs_share_no_job(make: Callable[[], str]) -> None:
    """Numbers start anew in every run, so what stands around them differs: a repeated job would be a replay."""
    assert make().count(SLOT) == make().count(SLOT) > 0
    assert make() != make()


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
        report = summarize(self.PATHS, self.ROUNDS)

        assert report.row("ours") == Row(
            path="ours",
            per_second=250.0,
            p50_ms=4.0,
            p99_ms=8.0,
            to_peer=Ratio(2.5, 2.0, 3.0),
            to_noop=Ratio(0.625, 0.5, 0.75),
            failures=7,
        )
        assert report.rows[0].to_peer is None

    def test_a_rate_counts_every_allocation_of_a_request(self) -> None:
        """Rates count what a request holds; times and ratios are those of requests."""
        paths = (MeasuredPath("peer", each=100), MeasuredPath("ours", peer="peer", each=100))
        row = summarize(paths, self.ROUNDS).row("ours")

        assert (row.per_second, row.p50_ms, row.to_peer) == (25_000.0, 4.0, Ratio(2.5, 2.0, 3.0))

    def test_text_names_generator_and_failures(self) -> None:
        """The text says with what was measured, and does not hide failed requests."""
        text = "\n".join(summarize(self.PATHS, self.ROUNDS).lines())

        assert "wrk, medians of 2 rounds" in text
        assert "ours 7" in text

    def test_json_carries_every_figure(self) -> None:
        """The JSON keeps the number of rounds and each ratio's spread beside its median."""
        document = json.loads(json.dumps(summarize(self.PATHS, self.ROUNDS).figures()))

        assert document["rounds"] == 2
        assert document["rows"][2]["to_peer"] == {"median": 2.5, "low": 2.0, "high": 3.0}

    def test_needs_a_round(self) -> None:
        """A report without a single measured round is refused."""
        with pytest.raises(ValueError, match="at least one round"):
            summarize(self.PATHS, [])

    def test_table_is_aligned(self) -> None:
        """Columns line up whatever the width of their figures, and an absent ratio is a dash."""
        rows = [
            Row("peer", 950.4, 33.3, 61.04, None, None, 0),
            Row("ours, hot", 2845.0, 10.6, 19.96, Ratio(2.994, 2.9, 3.1), Ratio(0.9, 0.88, 0.91), 0),
        ]

        assert format_table(rows) == [
            "path       per second  p50 ms  p99 ms        ratio to peer       ratio to no-op",
            "---------  ----------  ------  ------  -------------------  -------------------",
            "peer              950    33.3    61.0                    -                    -",
            "ours, hot       2,845    10.6    20.0  2.99 (2.90 to 3.10)  0.90 (0.88 to 0.91)",
        ]

    @pytest.mark.parametrize("paths", [allocate.PATHS, batch.PATHS])
    def test_the_benchmark_compares_paths_that_it_measures(self, paths: tuple[MeasuredPath, ...]) -> None:
        """Every peer and no-op that a path is compared with is itself among the measured paths."""
        names = {path.name for path in paths}

        assert {name for path in paths for name in (path.peer, path.noop) if name} <= names


def test_the_machine_is_one_line() -> None:
    """Figures without what they were measured on mean nothing, so one line names all of it."""
    assert MACHINE.line() == "2 cores, 8 GiB, Some CPU, Python 3.11.9, PostgreSQL 18.4, 2026-01-02"


class TestGoals:
    @pytest.mark.parametrize(
        ("goal", "met"),
        [
            (at_least("ratio", 3.0, 3), True),
            (at_least("ratio", 2.999, 3), False),
            (at_most("lost", 0, 0, places=0), True),
            (at_most("p99", 50.01, 50), False),
        ],
    )
    def test_the_unrounded_figure_decides(self, goal: Goal, met: bool) -> None:
        """A bound itself is met, and a figure that only rounds to it is not."""
        assert goal.met is met

    def test_a_missed_goal_says_so(self) -> None:
        """The table tells which goals were missed, beside what was wanted."""
        table = format_goals([at_least("allocate", 12_345.6, 10_000, places=0), at_most("p99", 51.0, 50)])

        assert table[2].split() == ["allocate", "12,346", "at", "least", "10,000"]
        assert table[3].split() == ["p99", "51.00", "at", "most", "50", "missed"]

    def test_allocate_is_measured_against_every_goal_of_its_own(self) -> None:
        """Ratios and the p99 of the design's table are taken from the rows they speak of."""
        row = Row("", 1.0, 1.0, 60.0, None, None, 0)
        rows = {path.name: replace(row, path=path.name) for path in allocate.PATHS}
        rows[allocate.OURS_HOT] = replace(rows[allocate.OURS_HOT], to_peer=Ratio(3.5, 3, 4))
        rows[allocate.NOOP] = replace(rows[allocate.NOOP], to_peer=Ratio(0.8, 0.7, 0.9))
        rows[allocate.OURS_MANY] = replace(
            rows[allocate.OURS_MANY], to_peer=Ratio(1.8, 1, 2), to_noop=Ratio(0.5, 0.4, 0.6)
        )
        goals = allocate.goals_of(Report("wrk", 1, tuple(rows.values())))

        assert [(goal.measured, goal.met) for goal in goals] == [
            ("3.50", True),
            ("1.80", True),
            ("0.50", False),
            ("60.0", False),
            ("0.80", False),
        ]


class TestHistory:
    SHORT = history.Figures(cold_open_ms=2.0, allocations_per_second=1_000.0, alone_ms=1.0, read_ms=1.0)

    def test_ratios_are_paired_within_a_round(self) -> None:
        """A slow round slows both histories, so the ratio is taken inside it; the figures are medians."""
        slow = history.Figures(cold_open_ms=20.0, allocations_per_second=100.0, alone_ms=10.0, read_ms=10.0)
        found = history.findings([(self.SHORT, self.SHORT), (slow, slow), (self.SHORT, slow)], 60.0)

        assert [goal.measured for goal in found.goals] == ["1.00", "1.00", "1.00", "1.00"]
        assert found.lines[3].split()[-3:] == ["2.00", "20.00", "1.00"]

    def test_a_time_may_not_grow_and_a_rate_not_fall(self) -> None:
        """Both directions keep to the tolerance; faster with more history is no failure."""
        worse = history.Figures(cold_open_ms=2.3, allocations_per_second=880.0, alone_ms=1.2, read_ms=1.2)
        better = history.Figures(cold_open_ms=1.0, allocations_per_second=2_000.0, alone_ms=0.5, read_ms=0.5)

        assert [goal.met for goal in history.findings([(self.SHORT, worse)], 1.0).goals] == [False] * 4
        assert [goal.met for goal in history.findings([(self.SHORT, better)], 1.0).goals] == [True] * 4


class TestKilled:
    SEEN = killed.Seen({("a", "1"): (1.0, 2.5), ("a", "2"): (2.6, 4.0), ("b", "1"): (3.0, 5.0), ("b", "2"): (5.0, 5.1)})

    def test_only_what_was_sent_after_the_kill_shows_that_the_service_is_back(self) -> None:
        """An answer that was on its way when the owner died does not count as its return."""
        whole = {"a": killed.Ledger(frozenset({"1", "2"}), 2), "b": killed.Ledger(frozenset({"1", "2"}), 2)}

        assert killed.compared(self.SEEN, whole, killed_at=2.0) == killed.Kill(
            4, 0, 0, back_seconds=2.0, all_back_seconds=3.0
        )

    def test_what_the_ledger_lacks_is_lost_and_what_it_counts_besides_is_twice(self) -> None:
        """An acknowledged key without an entry is lost; an operation without a key of its own was counted twice."""
        ledgers = {"a": killed.Ledger(frozenset({"1"}), 1), "b": killed.Ledger(frozenset({"1", "2"}), 4)}
        kill = killed.compared(self.SEEN, ledgers, killed_at=2.0)

        assert (kill.lost, kill.twice) == (1, 2)

    def test_a_tenant_without_an_answer_since_is_an_error(self) -> None:
        """No time is made up for a tenant that was not answered after the kill."""
        silent = {
            "a": killed.Ledger(frozenset(), 0),
            "b": killed.Ledger(frozenset(), 0),
            "c": killed.Ledger(frozenset(), 0),
        }

        with pytest.raises(LoadError, match="c"):
            killed.compared(self.SEEN, silent, killed_at=2.0)

    def test_one_lost_allocation_misses_the_goal(self) -> None:
        """Totals over all rounds count for what may never happen, and the median for the time."""
        kills = [killed.Kill(10, 0, 0, 1.0, 1.5), killed.Kill(10, 1, 0, 9.0, 9.5), killed.Kill(10, 0, 0, 2.0, 2.5)]

        assert [(goal.measured, goal.met) for goal in killed.findings(kills).goals] == [
            ("1", False),
            ("0", True),
            ("2.00", True),
        ]


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
