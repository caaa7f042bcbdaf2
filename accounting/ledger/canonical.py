"""Canonical JSON (RFC 8785) for the values that entries are made of, and the hash over it.

Entries hold strings, whole numbers below 2^53, true, false, null, lists and objects with ASCII keys; never floats. For
those, the canonical form is what msgspec writes with sorted keys (seven times as fast as `json`, which counts on the
allocation path). A test compares it with an independent implementation of the RFC.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

GENESIS_HASH = bytes(32)
"""The previous hash of a tenant's first entry."""

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical_json(value: Mapping[str, Any]) -> str:
    """The canonical text of a JSON object without floats."""
    return _encode(value).decode()


def sha256(text: str) -> bytes:
    """SHA-256 of the text in UTF-8: 32 bytes."""
    return hashlib.sha256(text.encode()).digest()
