"""Whether and when a call is sent again: one decision for both clients, without clock, chance or network."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class RetryPolicy:
    """How long a client tries.

    Attributes:
        attempts: How often a call is sent at most.
        first_pause: Upper end of the first pause, in seconds; it doubles with every attempt.
        longest_pause: Upper end of every later pause, in seconds.
        longest_wait: How much of a ``Retry-After`` is honoured, in seconds.
        deadline: Seconds from the first send after which nothing is begun any more.
    """

    attempts: int = 4
    first_pause: float = 0.2
    longest_pause: float = 5.0
    longest_wait: float = 30.0
    deadline: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.first_pause, self.longest_pause, self.longest_wait, self.deadline) < 0:
            raise ValueError("a call is sent at least once, and no time is negative")


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended.

    Attributes:
        status: HTTP status; None if no answer arrived.
        genuine: Whether the service itself answered, and not something in front of it.
        unsent: Whether the request certainly never reached anything, since there was no connection.
        retry_after: Seconds that the answer asks to wait for.
    """

    status: int | None = None
    genuine: bool = True
    unsent: bool = False
    retry_after: float | None = None

    @property
    def passing(self) -> bool:
        """Whether the cause may pass by itself. The load balancer's own 502 to 504 arrive as 500.

        Before it knows the service, the load balancer says 404 in plain text.
        """
        if self.status is None:
            return True
        return self.status == 429 or self.status >= 500 or (self.status == 404 and not self.genuine)


def next_pause(
    policy: RetryPolicy, *, repeatable: bool, attempt: int, outcome: Outcome, elapsed: float, draw: float
) -> float | None:
    """Seconds to wait before the call is sent again; None if that is over.

    The pause is drawn uniformly from nothing to an end that doubles ("full jitter", Brooker, AWS Architecture Blog,
    2015), so that callers who failed together do not return together. It is never shorter than the (capped)
    ``Retry-After``.

    Args:
        policy: How long to try.
        repeatable: Whether sending the call twice does what sending it once does.
        attempt: Number of this attempt, from 0.
        outcome: How it ended.
        elapsed: Seconds since the first attempt began.
        draw: A number in [0, 1), drawn anew for every pause.
    """
    if not outcome.passing or not (repeatable or outcome.unsent) or attempt + 1 >= policy.attempts:
        return None
    # Beyond 2^60 every end is the longest, and the power would be no float any more.
    pause = draw * min(policy.longest_pause, policy.first_pause * 2 ** min(attempt, 60))
    if outcome.retry_after is not None:
        pause += min(max(outcome.retry_after, 0.0), policy.longest_wait)
    return pause if elapsed + pause < policy.deadline else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the header ``Retry-After`` asks for (RFC 9110, 10.2.3); None if it is absent or unreadable."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        named = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((named.replace(tzinfo=named.tzinfo or UTC) - now).total_seconds(), 0.0)
