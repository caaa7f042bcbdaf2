"""Where the service is and with which token to ask it.

A service that runs on this machine says in ``service.json`` in its data folder where it answers, and the key beside it
signs tokens, so that a person on that machine needs to configure nothing. Anywhere else, give an address and a token.
"""

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serve_app.cli.exit_codes import INTERRUPTED, REFUSED, UNREACHABLE, USAGE
from serve_app.cli.keyed import unknown_outcome
from serve_app.cli.output import CommandError
from serve_app.identifiers import NAME_RULE, valid_name

if TYPE_CHECKING:
    import httpx

    from serve_app.client.calls import Call
    from serve_app.client.client import PrivacyClient

DEFAULT_HOME = Path("~/.privacy-engine")
DEFAULT_TENANT = "demo"
ANY_TENANT = "*"
STATE_FILE = "service.json"
TOKEN_KEY = Path("keys", "token-signing-key.pem")
SHORT_LIFETIME_SECONDS = 600
"""How long the token lives that one command mints for itself."""

RoleName = Literal["admin", "engine", "analyst", "viewer", "auditor"]


@dataclass(frozen=True)
class LocalService:
    """What ``service.json`` says of a service.

    Attributes:
        pid: The process that started it.
        url: Where it answers.
        dashboard_url: Ray's dashboard, where there is one.
    """

    pid: int
    url: str
    dashboard_url: str | None


@dataclass(frozen=True)
class Connection:
    """An address, a token, and the tenant that they are about."""

    url: str
    token: str
    tenant_id: str

    def client(self, *, timeout: float = 30.0) -> "PrivacyClient":
        """A client that asks there with that token, and waits so many seconds for an answer."""
        from serve_app.client.client import PrivacyClient

        return PrivacyClient(self.url, self.token, timeout=timeout)

    def send(self, call: "Call", *, timeout: float = 30.0) -> "httpx.Response":
        """The answer to one call. An error carries the call's key, so that it can be repeated and counts once.

        Raises:
            PrivacyEngineError: If the service refuses, or does not answer.
            CommandError: If it is interrupted before it is known whether it was charged.
        """
        from serve_app.client.errors import PrivacyEngineError

        key = call.headers.get("Idempotency-Key")
        try:
            with self.client(timeout=timeout) as client:
                return client.send_raw(call)
        except PrivacyEngineError as error:
            error.key = key
            raise
        except KeyboardInterrupt:
            if key is None:
                raise
            raise CommandError(f"stopped. {unknown_outcome(key)}", INTERRUPTED) from None

    def about(self, call: "Call") -> "Call":
        """The call with the tenant that is meant in its query, so that a token of another one is refused."""
        return replace(call, params={**call.params, "tenant_id": self.tenant_id})


def data_folder(home: Path | None) -> Path:
    """The data folder, absolute: the one given, else the default one."""
    return (home or DEFAULT_HOME).expanduser().absolute()


def local_service(home: Path | None) -> LocalService | None:
    """What the data folder says of its service; None where there is none, or nothing that makes sense."""
    try:
        state = json.loads((data_folder(home) / STATE_FILE).read_text())
        return LocalService(int(state["pid"]), str(state["url"]), state.get("dashboard_url"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def service_url(url: str | None, home: Path | None) -> str:
    """Where the service answers: the address given, else that of the service on this machine.

    Raises:
        CommandError: If the address is none, or no service is running here.
    """
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise CommandError(f"{url!a} is not an address: it has to begin with http:// or https://", USAGE)
        return url.rstrip("/")
    local = local_service(home)
    if local is None:
        raise CommandError(
            f"no service is running with the data folder {data_folder(home)}: start one with `privacy-engine up`, "
            "or say where it is with --url or AUMOS_PRIVACY_URL",
            UNREACHABLE,
        )
    return local.url


def connect(url: str | None, token: str | None, tenant: str | None, home: Path | None, role: RoleName) -> Connection:
    """Where and how to ask.

    Args:
        url: Address, if given.
        token: Token, if given; else one is minted with the key in the data folder.
        tenant: Tenant, if given; else the token's own, or `DEFAULT_TENANT` for a token minted here.
        home: Data folder, if given.
        role: What a minted token may do.

    Raises:
        CommandError: If something is missing; the message says what to do.
    """
    address = service_url(url, home)
    if tenant is not None and not valid_name(tenant):
        raise CommandError(f"--tenant: {NAME_RULE}", USAGE)
    if token is None:
        tenant_id = tenant or DEFAULT_TENANT
        return Connection(address, mint(home, tenant_id, role, lifetime_seconds=SHORT_LIFETIME_SECONDS), tenant_id)
    named = tenant or claimed_tenant(token)
    if not named or named == ANY_TENANT:
        raise CommandError("the token names no single tenant: say which one you mean with --tenant", USAGE)
    return Connection(address, token, named)


def mint(
    home: Path | None,
    tenant_id: str,
    role: RoleName,
    *,
    engine: str | None = None,
    lifetime_seconds: int = 86_400,
) -> str:
    """A token signed with the key in the data folder.

    Raises:
        CommandError: If there is no key, or this environment lacks what is needed to use it.
    """
    path = data_folder(home) / TOKEN_KEY
    if not path.exists():
        raise CommandError(
            f"there is no key to sign a token with at {path}: `privacy-engine up` makes one at its first start; for a "
            "service elsewhere give --token or AUMOS_PRIVACY_TOKEN",
            USAGE,
        )
    try:
        from proofs.signing import KeyFileError, SigningKey
        from serve_app.auth.tokens import mint_token
        from serve_app.config import Settings
    except ModuleNotFoundError as error:
        raise CommandError(
            f"making a token needs {error.name}, which comes with the service: install privacy-engine[service], or "
            "give --token or AUMOS_PRIVACY_TOKEN",
            USAGE,
        ) from None
    try:
        settings = Settings()
        return mint_token(
            SigningKey.load_or_create(path),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            tenant_id=tenant_id,
            roles=[role],
            engine=engine,
            lifetime_seconds=lifetime_seconds,
        )
    except (KeyFileError, OSError, ValueError) as error:
        raise CommandError(f"no token could be made: {error}", REFUSED) from None


def claimed_tenant(token: str) -> str | None:
    """The tenant that a token names. Nothing is verified: it only saves naming the tenant again."""
    try:
        payload = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        tenant_id = claims["tenant_id"]
    except (IndexError, ValueError, KeyError, TypeError):
        return None
    return tenant_id if isinstance(tenant_id, str) else None
