"""What a command's exit status says, in one place."""

DONE, REFUSED, USAGE, UNREACHABLE, NOT_ALLOWED, EXHAUSTED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS = {
    DONE: "Done; what was checked holds.",
    REFUSED: "Refused, or what was checked does not hold.",
    USAGE: "Asked in a wrong way, or a file or a package is missing.",
    UNREACHABLE: "The service does not answer, or cannot now. Repeat with the same --key.",
    NOT_ALLOWED: "The token is missing, wrong or expired, or does not allow it.",
    EXHAUSTED: "The privacy budget does not hold it. Nothing was charged.",
    INTERRUPTED: "Stopped by Ctrl-C. What the service was asked for goes on.",
}

_BY_HTTP_STATUS = {401: NOT_ALLOWED, 402: EXHAUSTED, 403: NOT_ALLOWED, 429: UNREACHABLE}


def exit_code_of(http_status: int) -> int:
    """The exit status for a refusal by the service."""
    return UNREACHABLE if http_status >= 500 else _BY_HTTP_STATUS.get(http_status, REFUSED)


def as_markdown() -> str:
    """The table of exit statuses, for the reference."""
    rows = (f"| {status} | {meaning} |" for status, meaning in MEANINGS.items())
    return "\n".join(("| status | says |", "| --- | --- |", *rows))


def as_text() -> str:
    """The table of exit statuses, for a terminal."""
    return "\n".join(f"{status:>3}  {meaning}" for status, meaning in MEANINGS.items())
