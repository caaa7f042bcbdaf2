"""What ends a run: something that should hold and does not."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, what: str, *facts: object) -> None:
    """Raises `ViolationError` unless it holds."""
    if not holds:
        raise ViolationError(" ".join([what, *map(str, facts)]))
