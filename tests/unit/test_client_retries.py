"""What the client makes of answers that are not the service's own, from a server that says whatever a test wants."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serve_app.client import calls
from serve_app.client.client import ATTEMPTS, AsyncPrivacyClient, PrivacyClient
from serve_app.client.conformance.ledger import TinyLedger
from serve_app.client.conformance.stand_in import SLOW_SECONDS, TOKEN, Fault, StandIn
from serve_app.client.retries import RetryPolicy

UNKNOWN = (404, "text/plain", b"Path '/api/v1/privacy/budget/allocate' not found. Ping http://.../-/routes")
BROKEN = (500, "text/plain", b"Internal Server Error")
GRANTED = (200, "application/json", b'{"status": "approved"}')
NO_SUCH = (404, "application/problem+json", b'{"code": "not_found", "detail": "no such job"}')
SPEND = calls.allocate({"job_id": "j", "epsilon": "1"}, "one")


@contextmanager
def answering(*answers: tuple[int, str, bytes]) -> Iterator[tuple[str, list[str | None]]]:
    """A server that gives those answers, the last one for ever; its address, and the key of each request so far."""
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            keys.append(self.headers["idempotency-key"])
            status, kind, body = answers[min(len(keys), len(answers)) - 1]
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("words", [UNKNOWN, BROKEN])
async def test_the_load_balancers_own_words_are_no_answer(words: tuple[int, str, bytes]) -> None:
    """What may pass by itself is repeated with the same key, and the service's answer counts."""
    with answering(words, words, GRANTED) as (url, keys):
        with PrivacyClient(url, "token") as client:
            assert client.send(SPEND) == {"status": "approved"}
        assert keys == ["one"] * 3
    with answering(words, GRANTED) as (url, keys):
        async with AsyncPrivacyClient(url, "token") as waiting:
            assert await waiting.send(SPEND) == {"status": "approved"}
        assert keys == ["one"] * 2


@pytest.mark.parametrize("words", [UNKNOWN, BROKEN])
def test_where_they_do_not_pass_the_outcome_is_unknown_and_not_refused(words: tuple[int, str, bytes]) -> None:
    """A charge may have happened before the load balancer lost the answer."""
    with answering(words) as (url, keys), PrivacyClient(url, "token") as client:
        with pytest.raises(calls.ServiceUnreachableError, match=str(words[0])):
            client.send(SPEND)
        assert len(keys) == ATTEMPTS


def test_the_services_own_404_is_an_answer() -> None:
    """It comes as a problem document, and is not repeated."""
    with answering(NO_SUCH, GRANTED) as (url, keys), PrivacyClient(url, "token") as client:
        with pytest.raises(calls.RefusedError, match="no such job"):
            client.send(SPEND)
        assert len(keys) == 1


async def test_no_attempt_outlives_the_deadline() -> None:
    """An answer that would come later than that is not waited for, however long one attempt may take."""
    hurried = RetryPolicy(deadline=SLOW_SECONDS / 5)
    with StandIn(TinyLedger(), always=Fault.SLOW) as slow:
        with PrivacyClient(slow.base_url, TOKEN) as client:
            assert client.send(SPEND)["status"] == "approved"
        with PrivacyClient(slow.base_url, TOKEN, retries=hurried) as client:
            with pytest.raises(calls.ServiceUnreachableError):
                client.send(SPEND)
        async with AsyncPrivacyClient(slow.base_url, TOKEN, retries=hurried) as waiting:
            with pytest.raises(calls.ServiceUnreachableError):
                await waiting.send(SPEND)


def test_what_answers_something_else_than_json_is_not_the_service() -> None:
    """A page of somebody else's with status 200 is no charge, nor a refusal."""
    with answering((200, "text/html", b"<h1>Welcome</h1>")) as (url, _), PrivacyClient(url, "token") as client:
        with pytest.raises(calls.ServiceUnreachableError, match="not the service"):
            client.send(SPEND)
