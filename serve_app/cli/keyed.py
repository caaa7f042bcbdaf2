"""What commands say that charge under a key: whether this was a repetition, and what to do when no answer came."""

from collections.abc import Mapping


def unknown_outcome(key: str) -> str:
    """What to do where the service did not answer."""
    return f"Whether it was charged is not known. To find out, repeat the command with --key {key}: it counts once."


def replay_note(headers: Mapping[str, str]) -> str:
    """A note behind the answer to a repetition; nothing behind any other."""
    replayed = headers.get("idempotency-replayed") == "true"
    return " (the answer of an earlier request with this key; nothing was charged now)" if replayed else ""
