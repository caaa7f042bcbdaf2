"""Canonical JSON (RFC 8785), as it is hashed and signed."""

import json

import rfc8785


def canonical_json(data: object) -> bytes:
    """The canonical form of what `proofs.certificate.parse_json` gives: no floats, no integer beyond 2^53.

    Without floats the standard library writes the same, many times faster, but for the order of names: RFC 8785 sorts
    by UTF-16 code units, Python by code points. Where each character is one unit the two orders are one; for other
    texts the library is asked.

    Raises:
        ValueError: If a text holds half of a surrogate pair.
        RecursionError: If the data is nested too deeply.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    one_unit_each = len(text.encode("utf-16-le")) == 2 * len(text)
    return text.encode() if one_unit_each else rfc8785.dumps(data)  # type: ignore[arg-type]
