"""The witness: the last published head, kept outside the database, so that a database that went back is noticed.

It is a file in the data folder. It only goes forward, by proof: a new head is taken if the log that it stands for
begins with the log of the head before (RFC 6962, consistency). Only an operator's signed acceptance moves it elsewhere,
and stays in the file for auditors.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accounting.ledger.merkle import consistency_holds
from proofs.certificate import MalformedError, parse_json
from proofs.heads import Acceptance, Head, read_acceptance, read_head

WITNESS_FILE = "witness.json"
_FORMAT = "privacy-engine-witness"

Keys = Callable[[], Sequence[Mapping[str, Any]]]
"""Gives public keys (JWKs) as they are now: one may be added while a process runs."""


class WitnessError(Exception):
    """The witness cannot be read, or does not take what it is given. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is in the file: the last head, and the acceptances that moved it elsewhere, oldest first; signed."""

    head: str
    accepted: tuple[str, ...] = ()


class Witness:
    """The file, read anew each time: one process writes it and several read it."""

    def __init__(self, path: Path, keys: Keys) -> None:
        """Opens nothing yet.

        Args:
            path: Of the file. Its folder exists.
            keys: Gives the public keys that sign heads or ever did: what an earlier key has signed still counts.
        """
        self._path = path
        self._keys = keys

    def head(self) -> Head | None:
        """The last head that was witnessed; None if there never was one.

        Raises:
            WitnessError: If the file is not what this witness wrote.
        """
        kept = self._read()
        return None if kept is None else self._head(kept)

    def accepted(self) -> list[Acceptance]:
        """What operators have accepted, oldest first.

        Raises:
            WitnessError: If the file is not what this witness wrote.
        """
        kept = self._read()
        try:
            return [] if kept is None else [read_acceptance(signed, self._keys()) for signed in kept.accepted]
        except MalformedError as error:
            raise self._damaged(str(error)) from None

    def advance(self, signed: str, proof: Sequence[bytes]) -> None:
        """Takes a new head that continues the last one. One of the same log and size changes nothing.

        Args:
            signed: The new head, signed.
            proof: That the new head's log begins with the last head's: `accounting.ledger.merkle.consistency_proof`.

        Raises:
            WitnessError: If the new head does not continue the last one, or the file cannot be read.
        """
        with self._locked():
            new, kept = self._new_head(signed), self._read()
            if kept is None:
                self._write(_Kept(signed))
                return
            last = self._head(kept)
            if new.log_id != last.log_id:
                raise WitnessError(f"the head is of log {new.log_id}, and the last one was of log {last.log_id}")
            roots = bytes.fromhex(last.root), bytes.fromhex(new.root)
            if not consistency_holds(last.size, roots[0], new.size, roots[1], proof):
                raise WitnessError(f"the head of {new.size} entries does not continue the last one, of {last.size}")
            if new.size > last.size:
                self._write(replace(kept, head=signed))

    def accept(self, acceptance: str, head: str) -> None:
        """Goes on from a head that does not continue the last one, on an operator's word.

        Args:
            acceptance: Signed; it names the last head, the new one, and the reason.
            head: The new head, signed.

        Raises:
            WitnessError: If the acceptance is not about these two heads, or the file cannot be read.
        """
        with self._locked():
            kept, new = self._read(), self._new_head(head)
            try:
                named = read_acceptance(acceptance, self._keys())
            except MalformedError as error:
                raise WitnessError(f"the acceptance is none: {error}") from None
            if kept is None or (named.given_up, named.accepted) != (self._head(kept), new):
                raise WitnessError("the acceptance is not about the head that was witnessed last and the new one")
            self._write(_Kept(head, (*kept.accepted, acceptance)))

    def _new_head(self, signed: str) -> Head:
        try:
            return read_head(signed, self._keys())
        except MalformedError as error:
            raise WitnessError(f"the new head is none: {error}") from None

    def _head(self, kept: _Kept) -> Head:
        try:
            return read_head(kept.head, self._keys())
        except MalformedError as error:
            raise self._damaged(str(error)) from None

    def _read(self) -> _Kept | None:
        try:
            data = parse_json(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, MalformedError) as error:
            raise self._damaged(str(error)) from None
        if not isinstance(data, dict) or data.keys() != {"format", "head", "accepted"} or data["format"] != _FORMAT:
            raise self._damaged("it does not have the members of one")
        head, accepted = data["head"], data["accepted"]
        if not isinstance(accepted, list) or not all(isinstance(text, str) for text in (head, *accepted)):
            raise self._damaged("it does not hold signed heads")
        return _Kept(head, tuple(accepted))

    def _damaged(self, reason: str) -> WitnessError:
        return WitnessError(
            f"the witness file {self._path} cannot be relied on: {reason}. Put it back from a copy; without one, "
            "remove it, and what the database holds then counts as the truth"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other writers out, also of other processes."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, kept: _Kept) -> None:
        """Replaces the file at once and for good: whoever reads sees all of it or what was there before."""
        data = {"format": _FORMAT, "head": kept.head, "accepted": list(kept.accepted)}
        descriptor, draft = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._path)
        except BaseException:
            os.unlink(draft)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
