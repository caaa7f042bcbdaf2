"""What every adapter has to be able to do, each as a small scene with the stand-in."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from serve_app.client.conformance.adapter import Outcome
from serve_app.client.conformance.stand_in import WAIT_SECONDS, Fault
from serve_app.client.conformance.world import LIMIT_SECONDS, FailedError, Report, World

MOST_REQUESTS = 50
EXACT = (("0.1", "0"), ("0.00001", "0.0000001"), ("0.123456789012345678", "0"))
"""Amounts of which a float would lose something, or write it in another way."""


class MakeWorld(Protocol):
    """Makes a world in which those faults befall the first requests."""

    def __call__(
        self, *faults: Fault, always: Fault = Fault.NONE, epsilon: str = "10"
    ) -> AbstractContextManager[World]: ...


@dataclass(frozen=True)
class Property:
    """Something that an adapter must have.

    Attributes:
        name: Short, for reports.
        advice: What to do where it fails.
        check: Raises `FailedError` where it does.
    """

    name: str
    advice: str
    check: Callable[[MakeWorld], None]


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FailedError(otherwise)


def _once(world: World, report: Report, job_id: str) -> None:
    """At most one charge, and an outcome that is true."""
    charged = len(world.ledger.charges(job_id))
    _check(charged <= 1, f"one operation was charged {charged} times")
    _true(report, charged == 1)


def _true(report: Report, charged: bool) -> None:
    if report.outcome is Outcome.SPENT:
        _check(charged, "it said that the budget was spent, and it was not")
    if report.outcome is Outcome.NOT_SPENT:
        _check(not charged, "it said that nothing was spent, and it was charged")


def spends(make: MakeWorld) -> None:
    """Nothing goes wrong."""
    with make() as world:
        request = world.request()
        report = world.do(request)
        _once(world, report, request["job_id"])
        _check(report.outcome is Outcome.SPENT, f"it said {report.outcome}, though the service admitted it")


def survives(make: MakeWorld, *faults: Fault) -> None:
    """Something passing goes wrong with the first request."""
    with make(*faults) as world:
        request = world.request()
        _once(world, world.do(request), request["job_id"])


def never_answered(make: MakeWorld) -> None:
    """Every request is charged for, and no answer ever arrives."""
    with make(always=Fault.LOST) as world:
        request = world.request()
        report = world.do(request)
        _check(report.outcome is not Outcome.NOT_SPENT, "no answer arrived, and it said that nothing was spent")
        sent = len(world.stand_in.seen)
        _check(sent <= MOST_REQUESTS, f"it sent {sent} requests for one operation")


def takes_no_for_an_answer(make: MakeWorld) -> None:
    """The budget is exhausted."""
    with make(epsilon="0.05") as world:
        report = world.do(world.request())
        _check(report.outcome is Outcome.NOT_SPENT, f"it was denied, and said {report.outcome}")
        sent = len(world.stand_in.seen)
        _check(sent == 1, f"it sent a denied operation {sent} times")


def waits(make: MakeWorld) -> None:
    """The service asks to wait."""
    with make(Fault.LIMITED) as world:
        request = world.request()
        _once(world, world.do(request), request["job_id"])
        seen = world.stand_in.seen
        if len(seen) > 1:
            paused = seen[1].began - seen[0].ended
            _check(
                paused >= WAIT_SECONDS * 0.98, f"it was asked to wait {WAIT_SECONDS} s, and came after {paused:.2f} s"
            )


def survives_a_crash(make: MakeWorld) -> None:
    """The adapter's process is killed between the charge and the answer, and started again."""
    with make(Fault.HANGS) as world:
        request = world.request()
        with world.process(request) as first:
            decided = world.stand_in.decided
            while not decided.wait(0.02) and first.poll() is None:
                pass
            _check(decided.is_set(), "its process ended before it asked for budget; can it be imported by its name?")
            first.kill()
        with world.process(request) as second:
            said, _ = second.communicate(timeout=LIMIT_SECONDS)
        _check(second.returncode == 0, f"started again, its process ended with status {second.returncode}")
        _once(world, Report(Outcome(said.strip() or "unknown")), request["job_id"])


def is_exact(make: MakeWorld) -> None:
    """Amounts arrive as they were given."""
    with make() as world:
        for epsilon, delta in EXACT:
            request = world.request(epsilon, delta)
            world.do(request)
            for charge in world.ledger.charges(request["job_id"]):
                for name, asked, got in (("epsilon", epsilon, charge.epsilon), ("delta", delta, charge.delta)):
                    _check(got == Decimal(asked), f"{name} {asked} arrived as {got}")


def spends_to_the_last(make: MakeWorld) -> None:
    """Ten tenths are one, and not a little more."""
    with make(epsilon="1") as world:
        outcomes = [world.do(world.request("0.1")).outcome for _ in range(11)]
        _check(outcomes[:10] == [Outcome.SPENT] * 10, "ten times 0.1 did not fit into a budget of 1")
        _check(outcomes[10] is Outcome.NOT_SPENT, f"the eleventh 0.1 of a budget of 1 was {outcomes[10]}")


def reads_later_answers(make: MakeWorld) -> None:
    """A newer service says more than this one."""
    with make(always=Fault.STRANGE) as world:
        report = world.do(world.request())
        _check(report.outcome is Outcome.SPENT, f"an answer with an unknown member made it say {report.outcome}")


def ends_with_its_token(make: MakeWorld) -> None:
    """The token expires between two operations."""
    with make() as world:
        world.do(world.request())
        world.stand_in.tokens.clear()
        before = len(world.stand_in.seen)
        report = world.do(world.request())
        _check(report.outcome is not Outcome.SPENT, "its token was refused, and it said that the budget was spent")
        sent = len(world.stand_in.seen) - before
        _check(sent <= 2, f"it sent a refused token {sent} times")


def reads_after_the_charge(make: MakeWorld) -> None:
    """The data is read when it is paid for, and not at all where it is denied."""
    with make(epsilon="0.15") as world:
        first = world.do(world.request())
        _check(bool(first.read_after), "it never read the data: call read_data when the budget is spent")
        _check(min(first.read_after) >= 1, "it read the data before anything was charged")
        denied = world.do(world.request())
        _check(not denied.read_after, "it was denied, and read the data")


def commits(make: MakeWorld, *faults: Fault) -> None:
    """A hold is committed after the data was read."""
    with make(*faults) as world:
        request = world.request()
        report = world.do(request)
        states = [charge.state for charge in world.ledger.charges(request["job_id"])]
        _check(len(states) <= 1, f"one operation was held {len(states)} times")
        if report.read_after:
            _check("voided" not in states, "it read the data and took the hold back")
        if report.outcome is Outcome.SPENT:
            _check(states == ["committed"], f"it said that the budget was spent, and the hold is {states}")
        if report.outcome is Outcome.NOT_SPENT:
            _check(not report.read_after, "it read the data and said that nothing was spent")


def _with(check: Callable[..., None], *faults: Fault) -> Callable[[MakeWorld], None]:
    return lambda make: check(make, *faults)


_SAME_KEY = "Make the idempotency key before the first send, and repeat with the very same one."

SPENDING = (
    Property(
        "charges once", "POST budget/allocate with job_id, epsilon and delta; 200 means that it is spent.", spends
    ),
    Property("lost answer", _SAME_KEY, _with(survives, Fault.LOST)),
    Property(
        "sent twice by the network",
        "An answer with Idempotency-Replayed is the first answer again: the budget is spent, once.",
        _with(survives, Fault.TWICE),
    ),
    Property("a 500", "Repeat with the same key, or say that the outcome is unknown.", _with(survives, Fault.BROKEN)),
    Property(
        "a 503", "Repeat with the same key, or say that the outcome is unknown.", _with(survives, Fault.UNAVAILABLE)
    ),
    Property("slow answer", "Wait longer, or repeat with the same key.", _with(survives, Fault.SLOW)),
    Property(
        "no answer at all",
        "A request without an answer may have been charged: say unknown, and count it as spent until you know.",
        never_answered,
    ),
    Property("denied (402)", "A denial is an answer: do not repeat it, and read no data.", takes_no_for_an_answer),
    Property("asked to wait (429)", "Wait at least the seconds in Retry-After before you repeat.", waits),
    Property(
        "killed and started again",
        "Keep the key where a crash does not lose it: derive it from the operation's name, or write it down first.",
        survives_a_crash,
    ),
    Property("exact amounts", "Send amounts as decimal texts; a float loses digits.", is_exact),
    Property(
        "the last bit of budget", "Leave sums to the service, or add decimals: ten times 0.1 is 1.", spends_to_the_last
    ),
    Property("unknown members", "Ignore members of an answer that you do not know.", reads_later_answers),
    Property(
        "expired token (401)",
        "Nothing was charged: get a new token, and say not spent until then.",
        ends_with_its_token,
    ),
    Property(
        "data after the charge",
        "Read the data when the service has admitted the charge, not before.",
        reads_after_the_charge,
    ),
)
"""Of an adapter that spends at once."""

HOLDING = (
    Property("holds, reads, commits", "Reserve, read, then POST allocations/{id}/commit.", commits),
    Property("hold: lost answer", _SAME_KEY, _with(commits, Fault.LOST)),
    Property(
        "commit: lost answer",
        "Repeat the commit: it does the same however often it is sent.",
        _with(commits, Fault.NONE, Fault.LOST),
    ),
    Property(
        "commit: a 503",
        "Repeat the commit, or leave the hold to be spent.",
        _with(commits, Fault.NONE, Fault.UNAVAILABLE),
    ),
    Property("hold: denied (402)", "A denial is an answer: do not repeat it.", takes_no_for_an_answer),
    Property("hold: data after it", "Read the data when the budget is held, not before.", reads_after_the_charge),
)
"""Of an adapter that holds, reads and commits."""
