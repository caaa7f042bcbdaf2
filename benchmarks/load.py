"""Closed-loop load on an allocation endpoint, from `wrk` where it is installed and from Python otherwise.

Both generators keep a fixed number of connections busy, each with one request in flight, and send the same requests:
the bearer tokens in turn, and a job identifier that no other request of any run has had. `wrk` is the one to publish
figures from. It costs a fraction of a core, whereas the Python generator competes with what it measures; its
percentiles also include the requests that a stall kept from being sent, which Python's do not.
"""

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import httptools
import httpx
import uvloop

EPSILON = "0.000001"
"""Of every allocation: so small that no budget ends during a run."""

Generator = Literal["wrk", "python"]

SLOT = "#" * 12
"""Stands in a template for the number of the request, and is as wide, so that every body has the same length."""

_WRK_SCRIPT = Path(__file__).with_name("wrk_allocate.lua")
_WRK_RESULT = re.compile(r"^bench-result (?P<fields>.+)$", re.MULTILINE)
_RESPONSE_TIMEOUT_SECONDS = 10


class LoadError(RuntimeError):
    """The load could not be generated, or the endpoint does not answer as the benchmark assumes."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one run of load measured.

    Attributes:
        requests: Answers received, of any status.
        seconds: The time that they took together.
        p50_ms: Median latency in milliseconds.
        p99_ms: 99th percentile of the latency in milliseconds.
        errors_non_2xx: Answers that were not a success.
        errors_socket: Connections that failed and answers that never came.
        generator: What sent the load.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors_non_2xx: int
    errors_socket: int
    generator: Generator

    @property
    def rps(self) -> float:
        """Successful answers a second. Failures are often faster than successes, so they earn nothing."""
        return (self.requests - self.errors_non_2xx) / self.seconds


def available_generator() -> Generator:
    """Return the best generator that this machine has."""
    return "wrk" if shutil.which("wrk") else "python"


def allocation_template() -> str:
    """A body for one allocation, its job named after the request and the template: make a template for each run."""
    return _json(_allocation(secrets.token_hex(6), SLOT))


def batch_template(size: int) -> str:
    """A body for `size` allocations, each for a job of its own; as for `allocation_template`, make one for each run."""
    run = secrets.token_hex(6)
    return _json({"allocations": [_allocation(run, f"{SLOT}-{item:04d}") for item in range(size)]})


def run_load(
    url: str,
    tokens: Sequence[str],
    *,
    concurrency: int = 32,
    seconds: int = 10,
    template: str | None = None,
    generator: Generator | None = None,
) -> LoadResult:
    """Keep an endpoint busy for a while and measure it.

    Args:
        url: The endpoint, which is sent POST requests.
        tokens: Bearer tokens, used in turn.
        concurrency: Connections, each with one request in flight.
        seconds: How long the load lasts.
        template: The body, in which `SLOT` stands for the number of the request; one allocation where it is absent.
        generator: What sends the load; the best that is installed when absent.

    Returns:
        The figures.

    Raises:
        LoadError: A first request by itself was not answered with a success, so load would measure failures; or the
            generator failed, or the endpoint fell silent.
        ValueError: There is no token.
    """
    if not tokens:
        raise ValueError("load needs at least one bearer token")
    template = template or allocation_template()
    _check_endpoint(url, tokens[0], template)
    if (generator or available_generator()) == "wrk":
        result = _run_wrk(url, tokens, concurrency, seconds, template)
    else:
        result = uvloop.run(_run_python(url, tokens, concurrency, seconds, template))
    if result.requests == 0:
        raise LoadError(f"{url} answered nothing in {result.seconds:.1f} s")
    return result


def parse_wrk_output(output: str) -> LoadResult:
    """Read the line that `wrk_allocate.lua` prints at the end of a run.

    Args:
        output: All that wrk printed.

    Returns:
        The figures.

    Raises:
        LoadError: The line is missing or incomplete.
    """
    match = _WRK_RESULT.search(output)
    if match is None:
        raise LoadError(f"wrk printed no result:\n{output}")
    fields = dict(pair.split("=", 1) for pair in match["fields"].split())
    try:
        return LoadResult(
            requests=int(fields["requests"]),
            seconds=int(fields["duration_us"]) / 1e6,
            p50_ms=int(fields["p50_us"]) / 1e3,
            p99_ms=int(fields["p99_us"]) / 1e3,
            errors_non_2xx=int(fields["status"]),
            errors_socket=sum(int(fields[kind]) for kind in ("connect", "read", "write", "timeout")),
            generator="wrk",
        )
    except (KeyError, ValueError) as error:
        raise LoadError(f"wrk printed a result that cannot be read: {match[0]}") from error


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of values in ascending order, and 0 where there are none."""
    if not ordered:
        return 0.0
    rank = -int(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]


def _allocation(run: str, number: str) -> dict[str, str]:
    return {"job_id": f"bench-{run}-{number}", "source_engine": "tabular", "epsilon": EPSILON}


def _json(body: Mapping[str, object]) -> str:
    return json.dumps(body, separators=(",", ":"))


def _check_endpoint(url: str, token: str, template: str) -> None:
    """Send one request by itself, so that a wrong address or token is an error and not a fast benchmark."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    content = template.replace(SLOT, "0" * len(SLOT))
    try:
        response = httpx.post(url, content=content, headers=headers, timeout=_RESPONSE_TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise LoadError(f"{url} cannot be reached: {error}") from error
    if not response.is_success:
        raise LoadError(f"{url} answers {response.status_code}: {response.text[:500]}")


def _run_wrk(url: str, tokens: Sequence[str], concurrency: int, seconds: int, template: str) -> LoadResult:
    """Send the load from one thread of wrk."""
    with tempfile.NamedTemporaryFile("w", encoding="ascii", prefix="bench-tokens-") as token_file:
        token_file.writelines(f"{token}\n" for token in tokens)
        token_file.flush()
        finished = subprocess.run(
            [
                "wrk",
                "--threads=1",
                f"--connections={concurrency}",
                f"--duration={seconds}s",
                f"--timeout={_RESPONSE_TIMEOUT_SECONDS}s",
                f"--script={_WRK_SCRIPT}",
                url,
            ],
            env={**os.environ, "BENCH_TOKENS": token_file.name, "BENCH_BODY": template, "BENCH_SLOT": SLOT},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    if finished.returncode != 0:
        raise LoadError(f"wrk failed with status {finished.returncode}:\n{finished.stdout}{finished.stderr}")
    return parse_wrk_output(finished.stdout)


@dataclass(slots=True)
class _Tally:
    """What the connections of the Python generator have seen so far."""

    latencies: list[float] = field(default_factory=list)
    non_2xx: int = 0
    broken: int = 0


class _Connection(asyncio.Protocol):
    """One keep-alive connection that sends its next request as soon as the last one is answered."""

    def __init__(self, next_request: Callable[[], bytes], tally: _Tally) -> None:
        """Send what `next_request` returns and count the answers in `tally`."""
        self._next_request = next_request
        self._tally = tally
        self._sent_at: float | None = None
        self._ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Parse a piece of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_complete(self) -> None:
        """Count an answer and send the next request (the parser calls this)."""
        assert self._sent_at is not None
        self._tally.latencies.append(time.perf_counter() - self._sent_at)
        self._sent_at = None
        if not 200 <= self._parser.get_status_code() < 300:
            self._tally.non_2xx += 1
        if self._parser.should_keep_alive():
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a request whose answer will not come any more."""
        if self._sent_at is not None:
            self._tally.broken += 1
        if not self._ended.done():
            self._ended.set_result(None)

    async def ended(self) -> None:
        """Wait until the server has closed the connection."""
        await self._ended

    def _send(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = time.perf_counter()
        self._transport.write(self._next_request())


async def _run_python(url: str, tokens: Sequence[str], concurrency: int, seconds: int, template: str) -> LoadResult:
    """Send the load from this process."""
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise LoadError(f"the Python generator speaks plain HTTP only, not {url}")
    hostname, port = address.hostname, address.port or 80
    numbers = count(1)
    heads = cycle([_request_head(address.netloc, address.path, token, len(template)) for token in tokens])
    tally = _Tally()

    def next_request() -> bytes:
        return f"{next(heads)}{template.replace(SLOT, f'{next(numbers):0{len(SLOT)}d}')}".encode("ascii")

    async def keep_connected() -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, connection = await loop.create_connection(lambda: _Connection(next_request, tally), hostname, port)
            except OSError:
                tally.broken += 1
                await asyncio.sleep(0.1)
            else:
                await connection.ended()

    started = time.perf_counter()
    workers = [asyncio.create_task(keep_connected()) for _ in range(concurrency)]
    await asyncio.wait(workers, timeout=seconds)
    elapsed = time.perf_counter() - started
    latencies, non_2xx, broken = sorted(tally.latencies), tally.non_2xx, tally.broken
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return LoadResult(
        requests=len(latencies),
        seconds=elapsed,
        p50_ms=percentile(latencies, 50) * 1e3,
        p99_ms=percentile(latencies, 99) * 1e3,
        errors_non_2xx=non_2xx,
        errors_socket=broken,
        generator="python",
    )


def _request_head(host: str, path: str, token: str, content_length: int) -> str:
    """Return everything of a request before its body."""
    return (
        f"POST {path or '/'} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {content_length}\r\n\r\n"
    )
