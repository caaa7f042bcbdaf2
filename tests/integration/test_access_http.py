"""Who may do what: a request without a good token gets nowhere, on any path there is."""

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from proofs.signing import SigningKey
from serve_app.auth.tokens import TokenVerifier, mint_token
from serve_app.problems import Code, Problem
from serve_app.service import PREFIX
from tests.support import APPLY, BATCH, PICTURE, PLAN, Caller, Live, assert_problem, new_name

OPEN = ("/health/live", "/health/ready", "/.well-known/jwks.json", "/openapi.json")


def operations(live: Live) -> Iterator[tuple[str, str]]:
    """Every method and path of the interface's own description."""
    for path, described in live.client.get("/openapi.json").json()["paths"].items():
        for method in described:
            yield method.upper(), re.sub(r"{[^}]*}", "something", path)


def test_every_path_but_the_open_ones_needs_a_token(live: Live) -> None:
    """Every described path outside the open list answers 401 to no token, nonsense or another scheme."""
    closed = [(method, path) for method, path in operations(live) if path not in OPEN]
    assert len(closed) >= 11
    for method, path in closed:
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic dTpw"}):
            response = live.client.request(method, path, headers=headers)
            assert_problem(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


def test_the_open_paths_need_none_and_say_so(live: Live) -> None:
    """The open paths answer 200 without a token, and the document exempts them from its bearer default."""
    document = live.client.get("/openapi.json").json()
    assert document["security"] == [{"bearer": []}]
    for path in OPEN:
        assert live.client.get(path).status_code == 200
        assert document["paths"][path]["get"]["security"] == []


def test_the_document_describes_what_there_is(live: Live) -> None:
    """The document lists at least the known paths, and every schema it refers to is defined in it."""
    document = live.client.get("/openapi.json").json()
    assert {path for _, path in operations(live)} >= {*OPEN, BATCH, APPLY, PLAN, PICTURE, f"{PREFIX}/budget/allocate"}
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert names <= document["components"]["schemas"].keys()


def test_the_public_keys_are_public_and_only_that(live: Live) -> None:
    """The key set holds a key for each purpose with exactly its public fields, so no private part leaks."""
    keys = live.client.get("/.well-known/jwks.json").json()["keys"]
    assert [key["purpose"] for key in keys] == ["tokens", "proofs", "heads"]
    assert len({key["kid"] for key in keys}) == 3
    assert all(key.keys() == {"kty", "crv", "x", "kid", "use", "alg", "purpose"} for key in keys)


# Tokens that are none.


def claims_of(live: Live, tenant: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """The claims of a good token, changed; None takes one out."""
    claims: dict[str, Any] = jwt.decode(live.token(tenant, ["admin"]), options={"verify_signature": False})
    return {name: value for name, value in (claims | changes).items() if value is not None}


def signed(live: Live, claims: dict[str, Any]) -> str:
    """A token with these claims that the service's own key has signed."""
    key = live.service.keys().token_key
    return jwt.encode(claims, key.private_key, algorithm="EdDSA", headers={"kid": key.kid})


def assert_refused(live: Live, tenant: str, token: str) -> None:
    """The token opens neither the hot path nor the others, and changes nothing."""
    owner = live.caller(tenant, "viewer")
    before = owner.state()
    caller = live.stranger(tenant, token)
    assert_problem(caller.allocate(epsilon=1), 401, "unauthenticated")
    assert_problem(caller.put_budget(epsilon=100), 401, "unauthenticated")
    assert_problem(caller.get(f"{PREFIX}/budget/{tenant}"), 401, "unauthenticated")
    assert owner.state() == before


def test_an_expired_token_is_refused(live: Live) -> None:
    """A token a minute past its end opens nothing and leaves the ledger unchanged."""
    tenant = new_name("tenant")
    assert_refused(live, tenant, live.token(tenant, ["admin"], lifetime_seconds=-60))


def test_a_token_of_a_foreign_key_is_refused_whatever_it_calls_itself(live: Live) -> None:
    """A foreign signature is refused under its own key id and under ours alike; the ledger is unchanged."""
    tenant, foreign = new_name("tenant"), SigningKey.generate()
    assert_refused(live, tenant, live.token(tenant, ["admin"], key=foreign))
    ours = live.service.keys().token_key.kid
    disguised = jwt.encode(claims_of(live, tenant), foreign.private_key, algorithm="EdDSA", headers={"kid": ours})
    assert_refused(live, tenant, disguised)


def test_a_token_signed_with_the_key_of_the_proofs_is_refused(live: Live) -> None:
    """Both keys are published together; each is good for its own purpose only."""
    tenant = new_name("tenant")
    assert_refused(live, tenant, live.token(tenant, ["admin"], key=live.service.keys().proof_key))


def test_a_token_without_a_signature_is_refused(live: Live) -> None:
    """The algorithm "none" is not accepted, even with good claims and our own key id."""
    tenant, kid = new_name("tenant"), live.service.keys().token_key.kid
    unsigned = jwt.encode(claims_of(live, tenant), "", algorithm="none", headers={"kid": kid})
    assert_refused(live, tenant, unsigned)


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(live: Live) -> None:
    """The published key cannot serve as an HMAC secret, so the token does not choose the algorithm."""
    tenant, key = new_name("tenant"), live.service.keys().token_key
    secret = base64.urlsafe_b64decode(key.public_jwk["x"] + "=")
    confused = jwt.encode(claims_of(live, tenant), secret, algorithm="HS256", headers={"kid": key.kid})
    assert_refused(live, tenant, confused)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another-service"},
        {"aud": None},
        {"iss": "somebody"},
        {"iss": None},
        {"exp": None},
        {"sub": None},
        {"tenant_id": None},
        {"tenant_id": "a b"},
        {"tenant_id": ""},
        {"tenant_id": ["t"]},
        {"roles": None},
        {"roles": []},
        {"roles": "admin"},
        {"roles": ["admin", "root"]},
        {"engine": 7},
        {"nbf": 9_999_999_999},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(live: Live, change: dict[str, Any]) -> None:
    """Our own signature does not save a token whose claims are missing, malformed or meant for others."""
    tenant = new_name("tenant")
    assert_refused(live, tenant, signed(live, claims_of(live, tenant, **change)))


@pytest.mark.parametrize("token", ["x", "a.b.c", "ey.ey.ey", "e30.e30.", "\u00e9", "a" * 9000])
def test_what_is_no_token_is_refused(live: Live, token: str) -> None:
    """Any text that is no token, however short, long or foreign, is a 401 and never a server error."""
    headers = {b"Authorization": f"Bearer {token}".encode("latin-1")}
    assert_problem(live.client.get(f"{PREFIX}/budget/t", headers=headers), 401, "unauthenticated")


def test_a_token_of_endless_brackets_is_refused(live: Live) -> None:
    """Reading it must not bring anything down."""
    tenant = new_name("tenant")
    brackets = base64.urlsafe_b64encode(b"[" * 5000).decode()
    assert_refused(live, tenant, f"{brackets}.e30.AAAA")


def test_a_changed_token_is_refused(live: Live) -> None:
    """A viewer's signature does not carry over to the claims of an administrator."""
    tenant = new_name("tenant")
    header, _, signature = live.token(tenant, ["viewer"]).split(".")
    better = base64.urlsafe_b64encode(json.dumps(claims_of(live, tenant)).encode()).rstrip(b"=").decode()
    assert_refused(live, tenant, f"{header}.{better}.{signature}")


async def test_a_remembered_token_is_forgotten_when_it_expires() -> None:
    """Having verified a token once does not keep it good beyond its own expiry."""
    key = SigningKey.generate()
    verifier = TokenVerifier({key.kid: key.private_key.public_key()}, "i", "a", leeway=0)
    token = mint_token(key, issuer="i", audience="a", tenant_id="t", roles=["viewer"], lifetime_seconds=1)
    expires = (await verifier.verify(f"Bearer {token}")).expires_at
    assert (await verifier.verify(f"Bearer {token}")).tenant_id == "t"
    while (left := expires - time.time()) > 0:
        time.sleep(left)
    with pytest.raises(Problem) as refused:
        await verifier.verify(f"Bearer {token}")
    assert refused.value.code is Code.UNAUTHENTICATED


# Good tokens that do not allow it.


def test_a_reader_may_not_spend(live: Live) -> None:
    """Viewers and auditors get 403 on every call that spends or ends a hold; the ledger is unchanged."""
    tenant = live.new(epsilon="3").tenant
    for role in ("viewer", "auditor"):
        reader = live.caller(tenant, role)
        before = reader.state()
        identity = "00000000-0000-8000-8000-000000000000"
        for response in (
            reader.allocate(epsilon=1),
            reader.apply(mechanism="laplace", epsilon=1, sensitivity=1, data=1),
            reader.post(PLAN, json={"name": "p", "steps": []}),
            reader.settle(identity, "void"),
            reader.post(f"{PREFIX}/budget/consume", json={"allocation_id": identity}),
        ):
            assert_problem(response, 403, "forbidden")
        assert reader.state() == before


@pytest.mark.parametrize("role", ["admin", "engine", "analyst"])
def test_those_who_may_spend_can(live: Live, role: str) -> None:
    """Administrators, engines and analysts may each allocate, so the refusals are not too broad."""
    assert live.new(role).allocate(epsilon=1).status_code == 200


def test_a_service_token_is_good_for_the_engine_calls_alone(live: Live) -> None:
    """A token for all tenants sets no budget and reads no proof; only its engine role may allocate."""
    tenant = live.new(epsilon="3").tenant
    platform = live.caller("*", "engine", "admin")
    viewer = live.caller(tenant, "viewer")
    before = viewer.state()
    refused: list[httpx.Response] = [
        Caller(live.client, tenant, platform.token).put_budget(epsilon="100", delta="0.1"),
        platform.get(f"{PREFIX}/proof/job"),
        platform.get(f"{PREFIX}/proof/job", params={"tenant_id": tenant}),
        platform.get(PICTURE, params={"tenant_id": tenant}),
        platform.get(f"{PREFIX}/composition/00000000-0000-8000-8000-000000000000", params={"tenant_id": tenant}),
        live.caller("*", "analyst").allocate(epsilon=1, tenant_id=tenant),
    ]
    for response in refused:
        assert_problem(response, 403, "forbidden")
    assert viewer.state() == before
