"""A stand-in for the service on a real port, which misbehaves on purpose. For tests alone: it keeps nothing."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from serve_app.client.conformance.ledger import Reply, TinyLedger, problem

PREFIX = "/api/v1/privacy/budget"
TOKEN = "conformance-token"
SLOW_SECONDS = 0.5
WAIT_SECONDS = 1
"""What a 429 asks to wait for."""


class Fault(Enum):
    """What goes wrong with one request."""

    NONE = auto()
    LOST = auto()  # decided, then the connection is cut
    HANGS = auto()  # decided, then nothing comes
    SLOW = auto()  # decided, and answered late
    TWICE = auto()  # delivered twice, answered once
    BROKEN = auto()  # 500 in plain text from something in front, nothing decided
    UNAVAILABLE = auto()  # 503 by the service, nothing decided
    LIMITED = auto()  # 429, nothing decided
    STRANGE = auto()  # answered with members that nobody knows yet


@dataclass(frozen=True)
class Seen:
    """One request that arrived: when it was answered, where it went, and how."""

    path: str
    status: int
    began: float
    ended: float


class StandIn:
    """The server, for as long as the block runs.

    Attributes:
        ledger: What it has charged.
        seen: The requests so far.
        decided: Set when a request that hangs was decided.
        tokens: The tokens that it takes.
    """

    def __init__(self, ledger: TinyLedger, faults: Iterable[Fault] = (), *, always: Fault = Fault.NONE) -> None:
        self.ledger = ledger
        self.seen: list[Seen] = []
        self.decided = threading.Event()
        self.tokens = {TOKEN}
        self._faults, self._always = deque(faults), always
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def base_url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str, authorization: str | None, key: str | None, body: Any) -> tuple[Fault, Reply]:  # noqa: ANN401 - JSON
        """What a request comes to, and what goes wrong with it."""
        with self._lock:
            fault = self._faults.popleft() if self._faults else self._always
        if (authorization or "").removeprefix("Bearer ") not in self.tokens:
            return Fault.NONE, problem(401, "unauthenticated", "The token has expired.")
        match fault:
            case Fault.BROKEN:
                return fault, (500, {}, False)
            case Fault.UNAVAILABLE:
                return fault, problem(503, "unavailable", "Repeat with the same idempotency key.")
            case Fault.LIMITED:
                return fault, problem(429, "rate_limited", "Too many requests.")
            case Fault.TWICE:
                self._decide(path, key, body)
        reply = self._decide(path, key, body)
        if fault is Fault.STRANGE and reply[0] == 200:
            reply = (200, {"since_tomorrow": {"x": [1]}} | reply[1], reply[2])
        if fault is Fault.HANGS:
            self.decided.set()
            self._stopped.wait()
        if fault is Fault.SLOW:
            time.sleep(SLOW_SECONDS)
        return fault, reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _decide(self, path: str, key: str | None, body: Any) -> Reply:  # noqa: ANN401 - JSON
        if not isinstance(body, dict):
            return problem(422, "invalid_request", "body: must be a JSON object", field="body")
        if path == f"{PREFIX}/allocate":
            return self.ledger.allocate(body, key)
        if path == f"{PREFIX}/consume":
            return self.ledger.settle(str(body.get("allocation_id")), "commit")
        parts = path.removeprefix(f"{PREFIX}/allocations/").split("/")
        if len(parts) == 2 and parts[1] in ("commit", "void"):
            return self.ledger.settle(parts[0], parts[1])
        return problem(404, "not_found", f"POST {path} is not part of this stand-in.")


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            began = time.monotonic()
            length = int(self.headers["content-length"] or 0)
            try:
                # A number counts as the text that it was written as, as in the service.
                body = json.loads(self.rfile.read(length) or b"{}", parse_float=Decimal)
            except ValueError:
                body = None
            authorization, key = self.headers["authorization"], self.headers["idempotency-key"]
            fault, reply = stand_in.answer(self.path, authorization, key, body)
            stand_in.seen.append(Seen(self.path, reply[0], began, time.monotonic()))
            self._reply(fault, reply)

        def do_GET(self) -> None:
            self._reply(Fault.NONE, problem(404, "not_found", f"GET {self.path} is not part of this stand-in."))

        def _reply(self, fault: Fault, reply: Reply) -> None:
            if fault in (Fault.LOST, Fault.HANGS):
                self.close_connection = True
                return
            status, document, replayed = reply
            kind = "application/json" if status == 200 else "application/problem+json"
            data = json.dumps(document).encode()
            if fault is Fault.BROKEN:
                kind, data = "text/plain", b"Internal Server Error"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if replayed:
                self.send_header("Idempotency-Replayed", "true")
            if fault is Fault.LIMITED:
                self.send_header("Retry-After", str(WAIT_SECONDS))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
