"""Tokens of outside issuers: what makes a good one, one refusal each, and how their keys come and go."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from proofs.signing import SigningKey
from serve_app.auth.issuer_keys import COOL_DOWN_SECONDS, KEPT_SECONDS
from serve_app.auth.issuers import issuers_from, key_set
from serve_app.auth.policy import Role
from serve_app.auth.principal import OWN_SUBJECTS, TASK_KEEPER
from serve_app.auth.tokens import TokenVerifier, mint_token
from serve_app.config import Settings
from serve_app.problems import Code, Problem
from tests.issuing import AUDIENCE, Key, LiveIssuer, claims, encoded, issuing, new_key, token_of

OWN = SigningKey.generate()
RSA, EC, ED = new_key("RS256", "rsa"), new_key("ES256", "ec"), new_key("EdDSA", "ed")
OTHER = "https://other.example"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[LiveIssuer]:
    """An issuer with a key of each kind."""
    with issuing(RSA, EC, ED) as live:
        yield live


@pytest.fixture
def clock() -> Clock:
    """What the verifier takes for the time."""
    return Clock()


def verifier_of(*said: dict[str, Any], clock: Clock | None = None) -> TokenVerifier:
    """The service's verifier with these issuers."""
    own = {OWN.kid: OWN.private_key.public_key()}
    return TokenVerifier(own, "own", "own", 10, issuers_from(json.dumps(said)), clock=clock or Clock())


async def refused(verifier: TokenVerifier, header: str, says: str, code: Code = Code.UNAUTHENTICATED) -> None:
    """The token is refused for that reason and not remembered."""
    with pytest.raises(Problem, check=lambda problem: problem.code is code) as problem:
        await verifier.verify(header)
    assert says in problem.value.detail
    assert verifier.known(header) is None


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
async def test_a_token_of_a_trusted_issuer_is_good(issuer: LiveIssuer, key: Key) -> None:
    """By each algorithm; it is remembered, and the keys are fetched once for all of them."""
    verifier = verifier_of(issuer.settings())
    header = token_of(key)
    principal = await verifier.verify(header)
    assert (principal.subject, principal.tenant_id, principal.roles) == ("ann", "t", frozenset({Role.VIEWER}))
    assert verifier.known(header) is principal
    await verifier.verify(token_of(EC, claims(sub="bob")))
    assert issuer.fetches == 1


async def test_the_services_own_tokens_are_good_beside_them(issuer: LiveIssuer) -> None:
    """And nothing is fetched for them."""
    verifier = verifier_of(issuer.settings())
    token = mint_token(OWN, issuer="own", audience="own", tenant_id="t", roles=["task"], subject=TASK_KEEPER)
    assert (await verifier.verify(f"Bearer {token}")).subject == TASK_KEEPER
    assert issuer.fetches == 0


async def test_a_key_set_may_be_a_file(tmp_path: Path) -> None:
    """For issuers that publish nothing."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [EC.jwk()]}))
    said = {"issuer": "https://issuer.example", "audience": AUDIENCE, "jwks": str(path), "algorithms": ["ES256"]}
    assert (await verifier_of(said).verify(token_of(EC))).subject == "ann"


async def test_claims_may_have_other_names(issuer: LiveIssuer) -> None:
    """As the operator says; roles for other services are passed over."""
    names = {"tenant_id": "https://x.example/org", "roles": "groups", "engine": "kind"}
    told = claims(tenant_id=None, roles=None) | {names["tenant_id"]: "t2", "groups": ["x", "engine"], "kind": "text"}
    principal = await verifier_of(issuer.settings(claims=names)).verify(token_of(RSA, told))
    assert (principal.tenant_id, principal.engine) == ("t2", "text")
    assert principal.roles == {Role.ENGINE}


# Refusals of a token.


async def test_another_algorithm_than_the_keys_is_refused(issuer: LiveIssuer) -> None:
    """The header names one that is allowed in general; the key is for another."""
    signed = token_of(RSA).removeprefix("Bearer ").split(".")
    header = encoded({"alg": "ES256", "kid": "rsa"})
    await refused(verifier_of(issuer.settings()), f"Bearer {header}.{signed[1]}.{signed[2]}", "alg")


async def test_an_algorithm_that_the_operator_does_not_allow_is_refused(issuer: LiveIssuer) -> None:
    """Its keys are as if they were not published."""
    await refused(verifier_of(issuer.settings(algorithms=["ES256"])), token_of(RSA), "does not publish")


async def test_no_signature_is_refused(issuer: LiveIssuer) -> None:
    """The algorithm "none", under a key id that there is."""
    unsigned = jwt.encode(claims(), "", algorithm="none", headers={"kid": "rsa"})
    await refused(verifier_of(issuer.settings()), f"Bearer {unsigned}", "alg")


async def test_a_public_key_is_no_secret(issuer: LiveIssuer) -> None:
    """HS256 with the text of the published key, the classic confusion."""
    secret = RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{encoded(claims())}"
    mac = jwt.utils.base64url_encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).decode()
    await refused(verifier_of(issuer.settings()), f"Bearer {signed}.{mac}", "alg")


async def test_a_key_is_good_for_its_own_issuer_alone(issuer: LiveIssuer) -> None:
    """Two trusted issuers cannot sign for each other, whatever their keys are called; nor for the service."""
    theirs = new_key("ES256", "theirs")
    alike = new_key("ES256", "ec")
    with issuing(theirs, alike) as other:
        verifier = verifier_of(issuer.settings(), other.settings(OTHER))
        assert (await verifier.verify(token_of(theirs, claims(OTHER)))).subject == "ann"
        await refused(verifier, token_of(theirs), "does not publish")
        await refused(verifier, token_of(alike), "Signature verification failed")
        await refused(verifier, token_of(theirs, claims("own", aud="own")), "does not know")


async def test_the_services_key_does_not_sign_for_an_issuer(issuer: LiveIssuer) -> None:
    """A leaked local key is good for local tokens only."""
    token = mint_token(OWN, issuer="https://issuer.example", audience=AUDIENCE, tenant_id="t", roles=["viewer"])
    await refused(verifier_of(issuer.settings()), f"Bearer {token}", "does not publish")


async def test_an_issuer_that_nobody_trusts_is_refused(issuer: LiveIssuer) -> None:
    """And nothing is fetched for it."""
    await refused(verifier_of(issuer.settings()), token_of(RSA, claims("https://who.example")), "does not know")
    assert issuer.fetches == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"exp": 1_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"nbf": 9_999_999_999}, "not yet valid"),
        ({"iat": 9_999_999_999}, "not yet valid"),
        ({"aud": "another"}, "udience"),
        ({"aud": None}, "aud"),
        ({"sub": None}, "sub"),
        ({"roles": ["task"]}, "by the service alone"),
        ({"roles": ["viewer", "task"]}, "by the service alone"),
        ({"roles": ["who"]}, "roles"),
        ({"roles": "admin"}, "roles"),
        ({"tenant_id": "*"}, "for any tenant"),
        ({"tenant_id": None}, "tenant_id"),
        *[({"sub": subject}, "the service's own") for subject in sorted(OWN_SUBJECTS)],
    ],
    ids=str,
)
async def test_a_wrong_claim_is_refused(issuer: LiveIssuer, change: dict[str, Any], says: str) -> None:
    """Signed by the right key as it is."""
    await refused(verifier_of(issuer.settings()), token_of(EC, claims(**change)), says)


async def test_an_issuer_may_be_trusted_with_tokens_for_any_tenant(issuer: LiveIssuer) -> None:
    """Where the operator says so, and even then without the service's own role and name."""
    verifier = verifier_of(issuer.settings(any_tenant=True))
    told = claims(tenant_id="*", roles=["auditor"])
    assert (await verifier.verify(token_of(EC, told))).tenant_id == "*"
    await refused(verifier, token_of(EC, {**told, "sub": TASK_KEEPER}), "the service's own")


async def test_an_issuer_that_is_trusted_with_some_tenants_speaks_for_no_other(issuer: LiveIssuer) -> None:
    """So a customer's own issuer cannot act for another customer."""
    verifier = verifier_of(issuer.settings(tenants=("acme",)))
    assert (await verifier.verify(token_of(EC, claims(tenant_id="acme")))).tenant_id == "acme"
    await refused(verifier, token_of(EC, claims(tenant_id="other")), "for that tenant")
    await refused(verifier, token_of(EC, claims(tenant_id="*")), "for any tenant")


# Keys that are not accepted.


@pytest.mark.parametrize(
    "jwk",
    [
        new_key("RS256", bits=1024).jwk(),
        Key("one", ec.generate_private_key(ec.SECP384R1()), "ES256").jwk(),
        RSA.jwk(alg="PS256"),
        RSA.jwk(alg="HS256"),
        RSA.jwk(use="enc"),
        RSA.jwk(key_ops=["encrypt"]),
        EC.jwk(d="AAAA"),
        EC.jwk(x="AAAA"),
        EC.jwk(kid=None),
        EC.jwk(kid=""),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"},
        {"kty": ["RSA"], "kid": "one"},
        "key",
    ],
    ids=[
        "short",
        "p384",
        "ps256",
        "hs256",
        "enc",
        "ops",
        "private",
        "broken",
        "no-kid",
        "empty-kid",
        "oct",
        "kty",
        "text",
    ],
)
def test_a_key_that_does_not_fit_is_left_out(jwk: Any) -> None:  # noqa: ANN401
    """The others stay good, and operators are told why."""
    found = key_set(json.dumps({"keys": [jwk, ED.jwk()]}).encode(), ("RS256", "ES256", "EdDSA"))
    assert list(found.keys) == ["ed"]
    assert len(found.left_out) == 1


def test_two_keys_of_one_name_are_both_left_out() -> None:
    """Nobody could say which of them is meant."""
    content = json.dumps({"keys": [EC.jwk(kid="a"), RSA.jwk(kid="a"), ED.jwk()]}).encode()
    assert list(key_set(content, ("RS256", "ES256", "EdDSA")).keys) == ["ed"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff", b"[" * 9_000])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    """With an error that the fetching side expects."""
    with pytest.raises(ValueError, match="not"):
        key_set(content, ("ES256",))


# Keys that come and go.


async def test_a_new_key_is_fetched_when_its_first_token_comes(issuer: LiveIssuer, clock: Clock) -> None:
    """Without waiting for the next refresh."""
    verifier, new = verifier_of(issuer.settings(), clock=clock), new_key("ES256", "new")
    await verifier.verify(token_of(EC))
    issuer.keys.append(new.jwk())
    clock.now += COOL_DOWN_SECONDS
    assert (await verifier.verify(token_of(new))).subject == "ann"


async def test_a_flood_of_made_up_key_ids_is_one_fetch(issuer: LiveIssuer, clock: Clock) -> None:
    """At once or one after the other, and again only after a while."""
    verifier = verifier_of(issuer.settings(), clock=clock)
    forged = [token_of(EC, kid=f"made-up-{number}") for number in range(50)]
    answers = await asyncio.gather(*(verifier.verify(header) for header in forged), return_exceptions=True)
    assert all(isinstance(answer, Problem) and answer.code is Code.UNAUTHENTICATED for answer in answers)
    for header in forged:
        await refused(verifier, header, "does not publish")
    assert issuer.fetches == 1
    clock.now += COOL_DOWN_SECONDS
    await refused(verifier, forged[0], "does not publish")
    assert issuer.fetches == 2


async def test_a_token_is_forgotten_when_its_key_is_withdrawn(issuer: LiveIssuer, clock: Clock) -> None:
    """As soon as the keys are read again, which any new key id makes happen; other issuers' tokens stay."""
    own = "Bearer " + mint_token(OWN, issuer="own", audience="own", tenant_id="t", roles=["viewer"])
    verifier = verifier_of(issuer.settings(), clock=clock)
    withdrawn, kept = token_of(RSA), token_of(EC)
    for header in (own, withdrawn, kept):
        await verifier.verify(header)
    issuer.keys = [EC.jwk()]
    await verifier._sources["https://issuer.example"].refresh()
    assert verifier.known(own) is not None
    assert verifier.known(withdrawn) is None
    await refused(verifier, withdrawn, "does not publish")
    await verifier.verify(kept)


async def test_a_key_that_is_replaced_under_its_name_is_another(issuer: LiveIssuer) -> None:
    """What the old one signed is no longer good."""
    verifier, header = verifier_of(issuer.settings()), token_of(EC)
    await verifier.verify(header)
    issuer.keys = [new_key("ES256", "ec").jwk()]
    await verifier._sources["https://issuer.example"].refresh()
    await refused(verifier, header, "Signature verification failed")


async def test_the_known_keys_stay_good_for_a_while_where_the_issuer_is_down(issuer: LiveIssuer, clock: Clock) -> None:
    """New tokens of them too; after that they are refused, remembered or not, until the issuer is back."""
    verifier, header = verifier_of(issuer.settings(), clock=clock), token_of(EC)
    await verifier.verify(header)
    issuer.status = 500
    clock.now += KEPT_SECONDS - 1
    assert verifier.known(header) is not None
    await verifier.verify(token_of(RSA))
    clock.now += 1
    for known in (header, token_of(ED)):
        await refused(verifier, known, "cannot be read now", Code.UNAVAILABLE)
    issuer.status = 200
    clock.now += COOL_DOWN_SECONDS
    assert (await verifier.verify(header)).subject == "ann"


async def test_an_issuer_that_never_answered_is_an_outage_of_its_tokens_alone(clock: Clock) -> None:
    """Nothing listens there; the service's own tokens are good all the same."""
    with issuing() as gone:
        said = gone.settings()
    verifier = verifier_of(said, clock=clock)
    await refused(verifier, token_of(EC), "cannot be read now", Code.UNAVAILABLE)
    own = mint_token(OWN, issuer="own", audience="own", tenant_id="t", roles=["viewer"])
    await verifier.verify(f"Bearer {own}")


async def test_a_redirect_is_not_followed(issuer: LiveIssuer, clock: Clock) -> None:
    """It could lead where no operator has pointed."""
    issuer.status = 302
    await refused(verifier_of(issuer.settings(), clock=clock), token_of(EC), "cannot be read now", Code.UNAVAILABLE)
    assert issuer.fetches == 1


# What an operator may say.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"jwks": "http://issuer.example/keys"}, "https"),
        ({"jwks": "http://127.0.0.1.example/keys"}, "https"),
        ({"jwks": "ftp://issuer.example/keys"}, "https"),
        ({"jwks": ""}, "address or a file"),
        ({"algorithms": ["HS256"]}, "HS256"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": []}, "empty"),
        ({"audience": ""}, "empty"),
        ({"issuer": "privacy-engine"}, "service itself"),
        ({"leeway": 1}, "leeway"),
        ({"claims": {"tenant": "x"}}, "tenant"),
    ],
    ids=str,
)
def test_settings_that_would_be_unsafe_are_refused(change: dict[str, Any], says: str) -> None:
    """At start, with what is wrong."""
    good = {"issuer": "i", "audience": "a", "jwks": "https://issuer.example/keys", "algorithms": ["ES256"]}
    assert Settings(issuers=json.dumps([good])).outside_issuers[0].issuer == "i"
    with pytest.raises(ValidationError, match=says):
        Settings(issuers=json.dumps([good | change]))


@pytest.mark.parametrize("text", ["", "x", "{}", "[1]"])
def test_settings_that_are_no_list_of_issuers_are_refused(text: str) -> None:
    """Rather than taken for none."""
    with pytest.raises(ValidationError, match="JSON list of issuers"):
        Settings(issuers=text)


def test_an_issuer_is_named_once() -> None:
    """Two entries of one name would each be half of what is trusted."""
    one = {"issuer": "i", "audience": "a", "jwks": "https://issuer.example/keys", "algorithms": ["ES256"]}
    with pytest.raises(ValueError, match="once"):
        issuers_from(json.dumps([one, one]))
