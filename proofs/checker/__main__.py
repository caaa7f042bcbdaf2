"""``python -m proofs.checker FILE [--keys JWKS.json] [--operator-keys JWKS.json]``: checks a proof offline.

Exit status: 0 valid, 1 not valid, 2 a file cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proofs.certificate import MAX_BYTES, MalformedError, parse_json
from proofs.checker.verify import verify_document


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m proofs.checker", description="Checks a proof document offline.")
    parser.add_argument("file", type=Path, help="the proof, a JSON document")
    parser.add_argument("--keys", type=Path, help="trusted public keys: a JWK set, such as /.well-known/jwks.json")
    parser.add_argument("--operator-keys", type=Path, help="the operators' public keys, likewise a JWK set")
    options = parser.parse_args(arguments)
    try:
        text = _read(options.file)
        keys, operators = (
            None if path is None else _key_set(_read(path)) for path in (options.keys, options.operator_keys)
        )
    except (OSError, MalformedError) as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return 2
    report = verify_document(text, keys, operators)
    for reason in report.reasons:
        print(f"wrong: {reason}")
    for fact in report.facts:
        print(f"checked: {fact}")
    if not report.valid:
        print("NOT VALID")
        return 1
    print(f"VALID: {report.kind} {report.name!a} of tenant {report.tenant_id!a}")
    print(f"  cost epsilon {report.epsilon}, delta {report.delta}")
    return 0


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than the checker takes, so that it can tell and say so.
        return file.read(MAX_BYTES + 1)


def _key_set(raw: bytes) -> list[dict[str, Any]]:
    data = parse_json(raw.decode("utf-8", errors="replace"))
    keys = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise MalformedError("the key file is not a JWK set: an object with a list under keys")
    return keys


if __name__ == "__main__":
    sys.exit(main())
