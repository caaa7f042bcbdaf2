"""How a start speaks with the service: until it is answered, and never a step ahead of its own announcement."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deployments.training import reports
from deployments.training.reports import GivenUpError, Pacer, Reporter

Answer = tuple[int, str, str]
JSON = "application/json"


class Service(ThreadingHTTPServer):
    """A service that answers as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        """What comes first, one for each request; then all is well."""
        self.asked: list[tuple[str, str, str | None, dict[str, Any]]] = []
        self.cancelled = False

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Says nothing."""

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(sent) if sent else {}
        self.server.asked.append((self.command, self.path, self.headers["Authorization"], body))
        well = (200, JSON, json.dumps({"document": "{}", "cancelled": self.server.cancelled}))
        status, kind, text = self.server.answers.pop(0) if self.server.answers else well
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service on a real port."""
    # What is tested is that it comes again, not how long that takes.
    monkeypatch.setattr(reports, "LONGEST_PAUSE_SECONDS", 0.01)
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def reporter(service: Service) -> Iterator[Reporter]:
    """Of the second start of a task."""
    made = Reporter(service.url, "a token", "tenant", "task-1", 2)
    yield made
    made.close()


def refusal(status: int) -> Answer:
    """A problem document."""
    return status, "application/problem+json", json.dumps({"detail": "It was cancelled.", "status": status})


def test_a_report_says_whose_and_which_start_it_is(service: Service, reporter: Reporter) -> None:
    """With the start's token; what is not known is left out."""
    reporter.reading({"process": 7})
    reporter.progress(0, 3, None)
    reporter.end("failed", done=2, message="it broke")
    path = "/api/v1/privacy/training/jobs/task-1/reports?tenant_id=tenant"
    assert service.asked == [
        ("POST", path, "Bearer a token", {"kind": "reading", "attempt": 2, "facts": {"process": 7}}),
        ("POST", path, "Bearer a token", {"kind": "progress", "attempt": 2, "done": 0, "through": 3}),
        (
            "POST",
            path,
            "Bearer a token",
            {"kind": "end", "attempt": 2, "ending": "failed", "done": 2, "message": "it broke", "files": []},
        ),
    ]


def test_while_the_service_is_away_a_report_is_sent_again(service: Service, reporter: Reporter) -> None:
    """Whatever says so: the service, or what stands before it and does not know it yet."""
    service.answers = [
        refusal(503),
        refusal(500),
        (502, "text/html", "<h1>Bad gateway</h1>"),
        (404, "text/plain", "no such route"),
        (200, "text/plain", "starting"),
    ]
    reporter.reading({})
    assert len(service.asked) == 6
    assert len({json.dumps(asked) for asked in service.asked}) == 1


def test_a_service_that_is_not_there_is_waited_for(service: Service) -> None:
    """A connection that nobody takes is no answer."""
    port = service.server_address[1]
    service.shutdown()
    service.server_close()
    reporter = Reporter(f"http://127.0.0.1:{port}", "a token", "tenant", "task-1", 1)
    began, answered = threading.Event(), threading.Event()

    def report() -> None:
        began.set()
        reporter.reading({})
        answered.set()

    thread = threading.Thread(target=report)
    thread.start()
    began.wait()
    assert not answered.wait(0.3)
    again = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    again.answers, again.asked, again.cancelled = [], [], False  # type: ignore[attr-defined]  # as `Service` has them
    serving = threading.Thread(target=again.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    thread.join()
    again.shutdown()
    serving.join()
    again.server_close()
    reporter.close()
    assert answered.is_set()


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422])
def test_a_start_that_is_not_wanted_gives_up(service: Service, reporter: Reporter, status: int) -> None:
    """At once, with the service's own words."""
    service.answers = [refusal(status)]
    with pytest.raises(GivenUpError, match="cancelled"):
        reporter.reading({})
    assert len(service.asked) == 1


def test_a_service_that_stays_away_is_given_up(
    service: Service, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than waited for without end."""
    monkeypatch.setattr(reports, "PATIENCE_SECONDS", 0.0)
    service.answers = [refusal(503)] * 10
    with pytest.raises(GivenUpError, match="not answered"):
        reporter.reading({})


# Announcements.


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class Announced:
    """Keeps what is announced."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.cancelled = False
        self.told: list[tuple[int, int, float | None]] = []

    def progress(self, done: int, through: int, seconds_left: float | None) -> bool:
        """See `Reporter.progress`; it takes a while."""
        self.told.append((done, through, seconds_left))
        self.clock.now += 5
        return self.cancelled


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the pacer reads."""
    made = Clock()
    monkeypatch.setattr(reports, "time", made)
    return made


def paced(clock: Clock, steps: int, seconds: float, begun: int = 0) -> list[tuple[int, int, float | None]]:
    """What is announced over a whole run; no step is taken that was not announced before."""
    announced = Announced(clock)
    pacer = Pacer(announced, steps, begun)  # type: ignore[arg-type]  # as much of a reporter as it needs
    for done in range(begun + 1, steps + 1):
        assert done <= max(through for _, through, _ in announced.told)
        clock.now += seconds
        assert not pacer.after_step(done)
    return announced.told


def test_the_first_announcement_is_of_one_step(clock: Clock) -> None:
    """Before it is taken; of how long it takes nothing is known yet."""
    assert paced(clock, 1, 0.01) == [(0, 1, None)]


def test_blocks_grow_until_they_take_about_two_seconds(clock: Clock) -> None:
    """What a start that is killed may be charged too much. What the announcement takes is no step."""
    told = paced(clock, 1_000, 0.02)
    assert [through - done for done, through, _ in told][:6] == [1, 4, 16, 64, 100, 100]
    assert told[-1][1] == 1_000
    assert told[4] == (85, 185, round(915 * 0.02, 1))


def test_slow_steps_are_announced_one_by_one(clock: Clock) -> None:
    """Of a step that takes a minute at most one is lost."""
    assert [through - done for done, through, _ in paced(clock, 5, 60.0)] == [1] * 5


def test_no_more_is_announced_than_there_is(clock: Clock) -> None:
    """The last block is as long as what is left."""
    assert [told[:2] for told in paced(clock, 10, 0.001)] == [(0, 1), (1, 5), (5, 10)]


def test_a_start_that_goes_on_says_where_it_is_and_guesses_nothing(clock: Clock) -> None:
    """It has not taken a step itself yet; a checkpoint of a run that was complete announces nothing more."""
    told = paced(clock, 100, 0.5, begun=60)
    assert told[0] == (60, 61, None)
    assert told[1] == (61, 65, 19.5)
    assert paced(clock, 100, 0.5, begun=100) == [(100, 100, None)]


def test_a_run_that_somebody_cancelled_is_stopped_at_the_end_of_its_block(clock: Clock) -> None:
    """That is when it hears of it, and from then on it says so."""
    announced = Announced(clock)
    pacer = Pacer(announced, 100)  # type: ignore[arg-type]  # as much of a reporter as it needs
    announced.cancelled = True
    assert pacer.after_step(1)
    assert pacer.after_step(2)
