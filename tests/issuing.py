"""An issuer of tokens: real keys, and its key set behind a real socket."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "privacy"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Key:
    """A key pair of an issuer."""

    kid: str
    private: PrivateKey
    algorithm: str

    def jwk(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
        """The public half, as it is published."""
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            told = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            told = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            told = OKPAlgorithm.to_jwk(public, as_dict=True)
        return {**told, "kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}


def new_key(algorithm: str, kid: str = "one", bits: int = 2048) -> Key:
    """A fresh key pair for that algorithm."""
    if algorithm == "RS256":
        return Key(kid, rsa.generate_private_key(public_exponent=65537, key_size=bits), algorithm)
    if algorithm == "ES256":
        return Key(kid, ec.generate_private_key(ec.SECP256R1()), algorithm)
    return Key(kid, ed25519.Ed25519PrivateKey.generate(), algorithm)


@dataclass
class LiveIssuer:
    """An issuer whose key set can be fetched, changed and taken away.

    Attributes:
        url: Of its key set.
        keys: What it publishes, as JWKs.
        status: With which status it answers.
        fetches: How often it was asked.
    """

    url: str
    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    fetches: int = 0

    def settings(self, name: str = "https://issuer.example", **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """What an operator says of it."""
        said = {"issuer": name, "audience": AUDIENCE, "jwks": self.url, "algorithms": ["RS256", "ES256", "EdDSA"]}
        return {**said, **more}


@contextmanager
def issuing(*keys: Key) -> Iterator[LiveIssuer]:
    """An issuer that publishes these keys, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            live.fetches += 1
            content = json.dumps({"keys": live.keys}).encode()
            self.send_response(live.status)
            self.send_header("Location", live.url)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    live = LiveIssuer(f"http://127.0.0.1:{server.server_port}/keys", [key.jwk() for key in keys])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="issuer")
    thread.start()
    try:
        yield live
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def claims(issuer: str = "https://issuer.example", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """The claims of a good token, changed; None takes one out."""
    now = int(time.time())
    good = {"iss": issuer, "aud": AUDIENCE, "sub": "ann", "tenant_id": "t", "roles": ["viewer"], "iat": now}
    told = {**good, "exp": now + 86_400, **changes}
    return {name: value for name, value in told.items() if value is not None}


def token_of(key: Key, told: dict[str, Any] | None = None, **header: Any) -> str:  # noqa: ANN401
    """An ``Authorization`` header with a token that the key has signed."""
    headers = {"kid": key.kid, **header}
    return "Bearer " + jwt.encode(told or claims(), key.private, algorithm=key.algorithm, headers=headers)


def encoded(part: dict[str, Any]) -> str:
    """A part of a token, for tokens that no library makes."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
