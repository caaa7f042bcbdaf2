"""The guard: whether the database still holds what was published, asked before budgets are spent.

A database that was restored from an older backup has forgotten charges that were acknowledged; admitting more on it
would spend them twice. So admissions stop until it is whole again or an operator accepts the loss.
"""

from dataclasses import dataclass
from enum import StrEnum

from accounting.ledger.heads import Log
from accounting.ledger.merkle import MissingNodesError, root_at
from deployments.outbox.witness import Witness, WitnessError
from proofs.heads import Head


class Verdict(StrEnum):
    """How the log stands to the head that was witnessed last."""

    FINE = "fine"
    """It holds all that was published."""
    BEHIND = "behind"
    """It has fewer entries."""
    FORKED = "forked"
    """It has other entries."""
    ANOTHER_LOG = "another_log"
    """It is the log of another database."""
    UNKNOWN = "unknown"
    """The witness cannot be read, so nobody knows."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A verdict, and what it means, for operators.

    Attributes:
        verdict: The verdict.
        sentence: What was found and what to do.
    """

    verdict: Verdict
    sentence: str

    @property
    def fine(self) -> bool:
        """Whether budgets may be spent."""
        return self.verdict is Verdict.FINE


_WHAT_TO_DO = (
    "Charges that were acknowledged may be missing, so nothing is admitted. Restore the newest state of the database; "
    "or, if it is lost, go on without it by `privacy-engine accept-ledger --reason ...`: what the missing charges have "
    "spent is then no longer counted."
)


def judge(witnessed: Head | None, log_id: str, size: int, root: str | None) -> Standing:
    """How a log stands to the head that was witnessed last.

    Args:
        witnessed: That head; None where none ever was.
        log_id: The log's name.
        size: How many entries it has.
        root: The root over as many of its first entries as the head has, hexadecimal; None if it cannot be computed.
    """
    if witnessed is None:
        return Standing(Verdict.FINE, "No head has been published yet.")
    known = f"The last published head, of {witnessed.at:%Y-%m-%d %H:%M:%S} UTC, has {witnessed.size} entries"
    if log_id != witnessed.log_id:
        return Standing(
            Verdict.ANOTHER_LOG,
            f"{known} of log {witnessed.log_id}; this database is another one, with log {log_id}. {_WHAT_TO_DO}",
        )
    if size < witnessed.size:
        return Standing(Verdict.BEHIND, f"{known}; the database has only {size}: it went back. {_WHAT_TO_DO}")
    if root != witnessed.root:
        return Standing(
            Verdict.FORKED,
            f"{known}; the database has {size}, but the first {witnessed.size} of them are not those: it went back and "
            f"has grown again, or was changed. {_WHAT_TO_DO}",
        )
    return Standing(Verdict.FINE, f"{known}, and the database holds them all.")


async def standing(witness: Witness, log: Log) -> Standing:
    """Asks the witness and the log. Costs a few reads of at most 256 hashes each.

    Raises:
        StoreUnavailableError: If the log did not answer.
    """
    try:
        witnessed = witness.head()
    except WitnessError as error:
        return Standing(Verdict.UNKNOWN, f"Nothing is admitted: {error}.")
    log_id, size, root = await log.log_id(), await log.size(), None
    if witnessed is not None and log_id == witnessed.log_id and size >= witnessed.size:
        try:
            root = (await root_at(log.nodes, witnessed.size)).hex()
        except MissingNodesError:
            pass  # a damaged tree cannot be that of the head
    return judge(witnessed, log_id, size, root)
