"""Something between client and service that loses answers: the request is delivered, and its answer cut off."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass
class Relay:
    """How it behaves.

    Attributes:
        base_url: Its address.
        lose: How many answers are still to be lost; after `skip` others.
        skip: How many answers pass before one is lost.
        hang: Whether an answer that is lost leaves the client waiting, and not cut off.
        paths: Where requests went.
        lost: Set when an answer was lost.
    """

    base_url: str = ""
    lose: int = 0
    skip: int = 0
    hang: bool = False
    paths: list[str] = field(default_factory=list)
    lost: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def relaying(service_url: str) -> Iterator[Relay]:
    """A relay before that service, for as long as the block runs."""
    relay = Relay()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            relay.paths.append(self.path)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "content-length", "accept-encoding", "connection")
            }
            answer = service.request(self.command, self.path, content=body, headers=headers)
            if relay.skip > 0:
                relay.skip -= 1
            elif relay.lose > 0:
                relay.lose -= 1
                relay.lost.set()
                if relay.hang:
                    relay.go_on.wait()
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            for name in ("content-type", "idempotency-replayed", "retry-after"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def __getattr__(self, name: str) -> Callable[[], None]:
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self.relay

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with httpx.Client(base_url=service_url) as service, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        relay.base_url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield relay
        finally:
            relay.go_on.set()
            server.shutdown()
            thread.join()
