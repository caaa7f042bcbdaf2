"""The service's own secrets, made at first start and kept in files that only their owner can read."""

import os
import secrets
from pathlib import Path

from proofs.heads import PURPOSE
from proofs.signing import SigningKey


class KeyRing:
    """Keys in a folder: one each for tokens, proofs and the log's heads, one for releases, and the database password.

    They are apart so that a leaked token key cannot forge proofs, and neither of them heads.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.token_key = SigningKey.load_or_create(folder / "token-signing-key.pem")
        self.proof_key = SigningKey.load_or_create(folder / "proof-signing-key.pem")
        self.head_key = SigningKey.load_or_create(folder / "head-signing-key.pem")
        self.release_key = _secret(folder / "release-encryption-key", 32)
        self.database_password = _secret(folder / "database-password", 24).hex()

    def public_keys(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JSON Web Key Set (RFC 7517), each with the purpose that it signs for."""
        keys = {"tokens": self.token_key, "proofs": self.proof_key, PURPOSE: self.head_key}
        return {
            "keys": [
                {**key.public_jwk, "use": "sig", "alg": "EdDSA", "purpose": purpose} for purpose, key in keys.items()
            ]
        }


def _secret(path: Path, length: int) -> bytes:
    """The secret in the file, made if there is none. The file is complete before it has its name."""
    if not path.exists():
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(length))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
        except FileExistsError:
            pass  # another process was first; its secret counts
        finally:
            scratch.unlink()
    return bytes.fromhex(path.read_text().strip())
