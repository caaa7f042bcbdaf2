"""Signing keys: from files or the environment, followed by others, and never forgotten once they have signed."""

import asyncio
import json
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from deployments.outbox.guard import standing
from deployments.outbox.heads import publish_head
from deployments.outbox.witness import WITNESS_FILE, Witness
from proofs.certificate import MalformedError
from proofs.heads import read_head, sign_head
from proofs.prover import prove_job
from proofs.signing import KeyFileError, SigningKey
from serve_app.auth.keys import HEADS, PROOFS, ROTATED, KeyRing, variable
from serve_app.cli.main import app
from serve_app.cluster import StartError
from serve_app.config import Settings
from serve_app.routes.front import create_front_app
from serve_app.runner import running_service
from serve_app.service import Service
from tests.ledgers import asked, opened, spent
from tests.support import free_port
from tests.unit.proofs_helpers import sample_ledger, text_of

NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)
FILES = {PROOFS: "proof-signing-key.pem", HEADS: "head-signing-key.pem"}


def pem(key: SigningKey) -> str:
    """A private key as it stands in a file or in the environment."""
    return key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def kids(ring: KeyRing, *, retired: bool) -> list[str]:
    """The names of the keys in the key set that sign, or that did."""
    return [key["kid"] for key in ring.public_keys()["keys"] if key.get("retired", False) is retired]


def command(home: Path, *arguments: str) -> Result:
    """Runs ``privacy-engine``."""
    return CliRunner().invoke(app, [*arguments, "--home", str(home)])


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    """The keys of a new service, in the folder ``keys``."""
    ring = KeyRing(tmp_path / "keys")
    ring.public_keys()
    return ring


# Rotation.


@pytest.mark.parametrize("purpose", ROTATED)
def test_a_new_key_signs_and_the_old_one_stays_published(ring: KeyRing, tmp_path: Path, purpose: str) -> None:
    """Also to a process that opened the folder before; the old private key is in no file any more."""
    before = {PROOFS: ring.proof_key, HEADS: ring.head_key}
    elsewhere = KeyRing(tmp_path / "keys")
    new = ring.rotate(purpose)
    assert {PROOFS: elsewhere.proof_key.kid, HEADS: elsewhere.head_key.kid} == {
        **{name: key.kid for name, key in before.items()},
        purpose: new.kid,
    }
    assert elsewhere.published(purpose) == [before[purpose].public_jwk, new.public_jwk]
    assert kids(elsewhere, retired=True) == [before[purpose].kid]
    assert stat.S_IMODE((tmp_path / "keys" / FILES[purpose]).stat().st_mode) == 0o600
    secret = pem(before[purpose]).splitlines()[1]
    assert not any(secret in file.read_text() for file in (tmp_path / "keys").iterdir())


def test_what_was_published_stays_in_its_order_through_many_rotations(ring: KeyRing) -> None:
    """Each key once, the oldest first."""
    expected = [ring.proof_key.kid, *(ring.rotate(PROOFS).kid for _ in range(4))]
    assert [key["kid"] for key in ring.published(PROOFS)] == expected
    assert [key["kid"] for key in ring.published(HEADS)] == [ring.head_key.kid]


def test_an_old_proof_is_valid_by_the_keys_of_today(ring: KeyRing, tmp_path: Path) -> None:
    """``verify --keys`` takes both; a key set from before does not know the new key."""
    home, ledger = tmp_path, sample_ledger()
    proofs, sets = [], []
    for number in range(2):
        proofs.append(home / f"proof-{number}.json")
        proofs[-1].write_text(text_of(prove_job(ledger.job(), ring.proof_key)), encoding="utf-8")
        sets.append(home / f"keys-{number}.json")
        sets[-1].write_text(json.dumps(ring.public_keys()))
        assert command(home, "rotate-key").exit_code == 0

    def valid(proof: Path, keys: Path) -> bool:
        return CliRunner().invoke(app, ["verify", str(proof), "--keys", str(keys)]).exit_code == 0

    assert [[valid(proof, keys) for keys in sets] for proof in proofs] == [[True, True], [False, True]]


def test_the_witness_believes_heads_of_an_earlier_key(ring: KeyRing, tmp_path: Path) -> None:
    """Nothing stops when the key for heads is followed by another, and the log goes on from the old head."""

    async def play() -> None:
        store = MemoryLedgerStore()
        log = MemoryLog(store, "0189b8a0-0000-4000-8000-000000000000")
        witness = Witness(tmp_path / WITNESS_FILE, lambda: ring.published(HEADS))
        first = opened("t")
        await store.append([first])
        await log.sequence()
        old = await publish_head(log, witness, ring.head_key, NOW)
        ring.rotate(HEADS)
        assert witness.head() == old
        assert (await standing(witness, log)).fine
        await store.append([spent(first, asked("t", "1"))])
        await log.sequence()
        assert await publish_head(log, witness, ring.head_key, NOW) == witness.head() != old

        stored = await log.last_head()
        assert stored is not None
        with pytest.raises(MalformedError, match="is not in the document"):
            read_head(stored.signed, ring.published(HEADS)[:1])
        # A key for proofs makes no head, however long ago.
        assert old is not None
        with pytest.raises(MalformedError):
            read_head(sign_head(old, ring.proof_key), ring.published(HEADS))

    asyncio.run(play())


def test_a_running_service_publishes_a_key_at_once(tmp_path: Path) -> None:
    """So nobody meets a proof by a key that is not published yet."""
    service = Service(Settings(home=tmp_path), "postgresql://nowhere", "postgresql://nowhere")
    front = httpx.ASGITransport(create_front_app(service))

    async def published() -> list[str]:
        async with httpx.AsyncClient(transport=front, base_url="http://service") as client:
            return [key["kid"] for key in (await client.get("/.well-known/jwks.json")).json()["keys"]]

    before = asyncio.run(published())
    new = KeyRing(tmp_path / "keys").rotate(PROOFS)
    assert new.kid not in before
    assert set(asyncio.run(published())) == {*before, new.kid}


def test_processes_that_start_at_once_publish_one_key(tmp_path: Path) -> None:
    """Whoever is first writes it down, and nothing that another wrote is lost."""
    rings = [KeyRing(tmp_path / "keys") for _ in range(8)]
    threads = [threading.Thread(target=ring.public_keys) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = json.loads((tmp_path / "keys" / "published-keys.json").read_text())["keys"]
    assert sorted(key["purpose"] for key in written) == [HEADS, PROOFS]
    assert all(key.keys() == {"kty", "crv", "x", "kid", "use", "alg", "purpose"} for key in written)


# The command.


@pytest.mark.parametrize("purpose", ROTATED)
def test_the_command_names_the_new_key_and_says_what_to_do(ring: KeyRing, tmp_path: Path, purpose: str) -> None:
    """On stdout the key's name alone; beside it that auditors save the key set again."""
    result = command(tmp_path, "rotate-key", purpose)
    assert result.exit_code == 0
    assert result.stdout.strip() == ring.published(purpose)[-1]["kid"]
    assert "save /.well-known/jwks.json again" in result.stderr


def test_a_folder_without_keys_is_not_given_any(tmp_path: Path) -> None:
    """A mistyped --home makes no second service."""
    result = command(tmp_path / "elsewhere", "rotate-key")
    assert (result.exit_code, "no service was started there" in result.stderr) == (2, True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_of_another_kind_cannot_be_rotated(tmp_path: Path) -> None:
    """Tokens are short-lived, and an old key for them must not stay trusted."""
    assert command(tmp_path, "rotate-key", "tokens").exit_code == 2


# From the environment.


def settings_with(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    """Settings of a service whose key for proofs is in the environment."""
    monkeypatch.setenv(variable(PROOFS), text)
    return Settings(home=home)


def test_a_key_from_the_environment_signs_and_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its public half is; the settings do not show the private one."""
    key = SigningKey.generate()
    settings = settings_with(tmp_path, monkeypatch, pem(key))
    ring = KeyRing.of(settings)
    assert ring.proof_key.kid == key.kid
    assert key.kid in kids(ring, retired=False)
    assert not (tmp_path / "keys" / FILES[PROOFS]).exists()
    secret = pem(key).splitlines()[1]
    assert not any(secret in file.read_text() for file in (tmp_path / "keys").iterdir())
    assert secret not in repr(settings)
    assert isinstance(settings.proof_key, SecretStr)


def test_another_key_in_the_environment_is_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before stays published; the command says where to put the new one."""
    old, new = SigningKey.generate(), SigningKey.generate()
    KeyRing.of(settings_with(tmp_path, monkeypatch, pem(old))).public_keys()
    ring = KeyRing.of(settings_with(tmp_path, monkeypatch, pem(new)))
    assert ring.published(PROOFS) == [old.public_jwk, new.public_jwk]
    assert kids(ring, retired=True) == [old.kid]
    refused = command(tmp_path, "rotate-key")
    assert (refused.exit_code, "AUMOS_PRIVACY_PROOF_KEY" in refused.stderr) == (1, True)


# What cannot be used.


def test_a_service_with_a_key_that_others_can_read_does_not_start(ring: KeyRing, tmp_path: Path) -> None:
    """It says which file, and what to do."""
    (tmp_path / "keys" / FILES[HEADS]).chmod(0o644)
    with free_port() as listener:
        settings = Settings(home=tmp_path, port=listener.getsockname()[1])
    with pytest.raises(StartError, match=r"head-signing-key\.pem has mode 0644.*chmod 600"):
        with running_service(settings, lambda _: None):
            pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a secret that is no key",
        SigningKey.generate()
        .private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        .decode(),
    ],
    ids=["empty", "garbage", "encrypted"],
)
def test_a_key_in_the_environment_that_is_none_is_named_and_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """What was given may be a secret all the same."""
    ring = KeyRing.of(settings_with(tmp_path, monkeypatch, text))
    with pytest.raises(KeyFileError, match="AUMOS_PRIVACY_PROOF_KEY holds no unencrypted PEM key") as caught:
        ring.public_keys()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [7]}', '{"keys": [{"kty": "OKP"}]}'])
def test_a_damaged_list_of_published_keys_is_not_overwritten(ring: KeyRing, tmp_path: Path, text: str) -> None:
    """Without it old proofs would have no key, so nothing goes on until it is put back."""
    file = tmp_path / "keys" / "published-keys.json"
    file.write_text(text)
    for use in (ring.public_keys, lambda: ring.rotate(PROOFS), lambda: ring.proof_key):
        with pytest.raises(KeyFileError, match="put it back from a copy"):
            use()
    assert file.read_text() == text
