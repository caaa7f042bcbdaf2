"""The witness only goes forward, and the guard notices whatever the database has lost or changed."""

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.entry import Entry
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.ledger.merkle import consistency_proof
from deployments.outbox.guard import Standing, Verdict, judge, standing
from deployments.outbox.heads import publish_head
from deployments.outbox.witness import WITNESS_FILE, Witness, WitnessError
from proofs.heads import Acceptance, Head, head_of, read_head, sign_acceptance, sign_head
from proofs.signing import SigningKey
from tests.ledgers import asked, opened, spent

KEY = SigningKey.generate()
NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)
LOG = "0189b8a0-0000-4000-8000-000000000000"


def history(length: int, epsilon: str = "1") -> list[Entry]:
    """A tenant's entries; those of another epsilon differ from the second on."""
    entries = [opened("t", epsilon="100000")]
    while len(entries) < length:
        entries.append(spent(entries[-1], replace(asked("t", epsilon), key=f"key-{len(entries)}")))
    return entries


ENTRIES, OTHERS = history(80), history(80, "2")


def witness_in(folder: Path) -> Witness:
    """The witness of that data folder."""
    return Witness(folder / WITNESS_FILE, lambda: [KEY.public_jwk])


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """A witness that has seen nothing yet."""
    return witness_in(tmp_path)


@dataclass
class Database:
    """A ledger with its log, and what happens to it."""

    store: MemoryLedgerStore
    log: MemoryLog

    async def append(self, entries: Sequence[Entry]) -> None:
        """Writes entries and takes them up."""
        await self.store.append(entries)
        await self.log.sequence()


async def database(entries: Sequence[Entry], log_id: str = LOG) -> Database:
    """A database with these entries."""
    store = MemoryLedgerStore()
    made = Database(store, MemoryLog(store, log_id))
    await made.append(entries)
    return made


async def published(witness: Witness, entries: Sequence[Entry]) -> Head:
    """Witnesses the head of a log of these entries."""
    head = await publish_head((await database(entries)).log, witness, KEY, NOW)
    assert head is not None
    return head


class TestPublishing:
    """Heads leave in order, and the witness has them first."""

    async def test_a_head_is_published_when_the_log_has_grown(self, witness: Witness) -> None:
        """Not for an empty log, not twice; the witness and the log keep the same one."""
        ledger = await database([])
        assert await publish_head(ledger.log, witness, KEY, NOW) is None
        heads = []
        for stop in (3, 40):
            have = await ledger.log.size()
            await ledger.append(ENTRIES[have:stop])
            head = await publish_head(ledger.log, witness, KEY, NOW)
            assert head is not None
            assert (head.size, witness.head()) == (stop, head)
            assert await publish_head(ledger.log, witness, KEY, NOW) is None
            heads.append(head)
        stored = await ledger.log.heads()
        assert [read_head(item.signed, [KEY.public_jwk]) for item in stored] == heads
        assert [(item.size, item.root.hex()) for item in stored] == [(head.size, head.root) for head in heads]

    @pytest.mark.parametrize("entries", [ENTRIES[:20], OTHERS[:60]], ids=["behind", "forked"])
    async def test_a_log_that_went_back_publishes_nothing(self, witness: Witness, entries: list[Entry]) -> None:
        """Neither to the witness nor into the database."""
        before = await published(witness, ENTRIES[:40])
        ledger = await database(entries)
        with pytest.raises(WitnessError, match="does not continue"):
            await publish_head(ledger.log, witness, KEY, NOW)
        assert witness.head() == before
        assert await ledger.log.last_head() is None


class TestWitness:
    """A file that only goes forward."""

    def test_a_witness_that_has_seen_nothing_has_no_head(self, witness: Witness) -> None:
        """And nothing was accepted."""
        assert witness.head() is None
        assert witness.accepted() == []

    @given(st.integers(0, 40), st.integers(0, 40), st.booleans())
    def test_it_goes_forward_by_proof_alone(self, first: int, second: int, same: bool) -> None:
        """To any longer log that begins with the last one, and to no other."""

        async def run(witness: Witness) -> None:
            await published(witness, ENTRIES[: first + 2])
            last = witness.head()
            assert last is not None
            grown = await database((ENTRIES if same else OTHERS)[: second + 2])
            head = await head_of(grown.log, NOW)
            proof = await consistency_proof(grown.log.nodes, min(last.size, head.size), head.size)
            if same and second >= first:
                witness.advance(sign_head(head, KEY), proof)
                assert witness.head() == head
                return
            with pytest.raises(WitnessError):
                witness.advance(sign_head(head, KEY), proof)
            assert witness.head() == last

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(run(witness_in(Path(folder))))

    async def test_it_takes_no_head_of_another_log(self, witness: Witness) -> None:
        """Not even one that would continue it."""
        await published(witness, ENTRIES[:2])
        other = await database(ENTRIES[:4], str(uuid4()))
        proof = await consistency_proof(other.log.nodes, 2, 4)
        with pytest.raises(WitnessError, match="is of log"):
            witness.advance(sign_head(await head_of(other.log, NOW), KEY), proof)

    async def test_it_takes_no_head_of_a_stranger(self, witness: Witness) -> None:
        """The first one neither."""
        head = await head_of((await database(ENTRIES[:2])).log, NOW)
        with pytest.raises(WitnessError, match="the new head is none"):
            witness.advance(sign_head(head, SigningKey.generate()), [])
        assert witness.head() is None

    async def test_what_it_has_seen_survives_the_process(self, witness: Witness, tmp_path: Path) -> None:
        """Another process reads the same head from the file, which nobody else may read; no draft is left."""
        head = await published(witness, ENTRIES[:5])
        assert witness_in(tmp_path).head() == head
        assert (tmp_path / WITNESS_FILE).stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in tmp_path.iterdir()) == ["witness.json", "witness.lock"]

    async def test_writers_at_once_leave_the_furthest_head(self, witness: Witness, tmp_path: Path) -> None:
        """Whoever comes late with an earlier head is refused."""
        ledger = await database([])
        heads: list[tuple[str, Head]] = []
        for stop in range(1, 20):
            await ledger.append(ENTRIES[stop - 1 : stop])
            head = await head_of(ledger.log, NOW)
            heads.append((sign_head(head, KEY), head))

        def advance(signed: str, head: Head) -> bool:
            own = witness_in(tmp_path)
            for _ in range(50):
                last = own.head()
                size = 0 if last is None else last.size
                if size >= head.size:
                    return False
                proof = asyncio.run(consistency_proof(ledger.log.nodes, size, head.size))
                try:
                    own.advance(signed, proof)
                    return True
                except WitnessError:
                    continue
            raise AssertionError("never got a turn")

        taken = await asyncio.gather(*(asyncio.to_thread(advance, *item) for item in heads))
        assert taken[-1]
        assert witness.head() == heads[-1][1]

    async def test_a_file_that_is_damaged_is_an_error_and_stays_as_it_is(
        self, witness: Witness, tmp_path: Path
    ) -> None:
        """It is neither believed nor overwritten, and the message says what to do."""
        await published(witness, ENTRIES[:5])
        path = tmp_path / WITNESS_FILE
        good = path.read_text()
        data = json.loads(good)
        head = data["head"]
        damaged = [
            good[:-20],
            "",
            "[]",
            json.dumps(data | {"head": head[:-1] + ("A" if head[-1] != "A" else "Q")}),
            json.dumps(data | {"head": None}),
            json.dumps(data | {"accepted": head}),
            json.dumps(data | {"more": 1}),
        ]
        for text in damaged:
            path.write_text(text)
            with pytest.raises(WitnessError, match=r"witness.json cannot be relied on.*Put it back from a copy"):
                witness.head()
            with pytest.raises(WitnessError):
                witness.advance(head, [])
            assert path.read_text() == text
        path.write_text(json.dumps(data | {"accepted": [head]}))
        with pytest.raises(WitnessError, match="cannot be relied on"):
            witness.accepted()

    async def test_a_write_that_fails_leaves_the_last_head(
        self, witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk at the worst moment: the file is whole, and no draft is left."""
        head = await published(witness, ENTRIES[:5])

        def full(_: int) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(os, "fsync", full)
        grown = await database(ENTRIES[:9])
        with pytest.raises(OSError, match="no space"):
            await publish_head(grown.log, witness, KEY, NOW)
        assert witness.head() == head
        assert sorted(path.name for path in tmp_path.iterdir()) == ["witness.json", "witness.lock"]


class TestAcceptance:
    """Only an operator's word moves the witness elsewhere."""

    async def test_an_accepted_head_is_gone_on_from(self, witness: Witness) -> None:
        """And what was accepted stays readable, however often and whatever is published later."""
        given_up = await published(witness, ENTRIES[:40])
        for length in (20, 10):
            ledger = await database(OTHERS[:length])
            head = await head_of(ledger.log, NOW)
            acceptance = Acceptance(given_up, head, "the disk is lost", NOW)
            witness.accept(sign_acceptance(acceptance, KEY), sign_head(head, KEY))
            assert witness.head() == head
            assert witness.accepted()[-1] == acceptance
            assert (await standing(witness, ledger.log)).fine
            given_up = head
        await ledger.append(OTHERS[10:30])
        assert await publish_head(ledger.log, witness, KEY, NOW) == witness.head()
        assert len(witness.accepted()) == 2

    async def test_an_acceptance_is_about_two_heads_and_no_others(self, witness: Witness) -> None:
        """It cannot be used a second time, for another head, or before anything was witnessed."""
        heads = [await head_of((await database(OTHERS[:length])).log, NOW) for length in (3, 4)]
        signed = [sign_head(head, KEY) for head in heads]
        unseen = sign_acceptance(Acceptance(heads[0], heads[1], "why", NOW), KEY)
        with pytest.raises(WitnessError, match="is not about"):
            witness.accept(unseen, signed[1])
        given_up = await published(witness, ENTRIES[:40])
        acceptance = sign_acceptance(Acceptance(given_up, heads[0], "why", NOW), KEY)
        with pytest.raises(WitnessError, match="is not about"):
            witness.accept(acceptance, signed[1])
        with pytest.raises(WitnessError, match="is not about"):
            witness.accept(unseen, signed[1])
        assert witness.head() == given_up
        witness.accept(acceptance, signed[0])
        with pytest.raises(WitnessError, match="is not about"):
            witness.accept(acceptance, signed[0])

    async def test_an_acceptance_of_a_stranger_does_not_count(self, witness: Witness) -> None:
        """Signed by another key, or no acceptance at all."""
        given_up = await published(witness, ENTRIES[:40])
        head = await head_of((await database(OTHERS[:3])).log, NOW)
        acceptance = Acceptance(given_up, head, "why", NOW)
        for text in (sign_acceptance(acceptance, SigningKey.generate()), sign_head(head, KEY), ""):
            with pytest.raises(WitnessError, match="the acceptance is none"):
                witness.accept(text, sign_head(head, KEY))
        assert witness.head() == given_up


class TestGuard:
    """What the database is, beside what was published."""

    @given(st.integers(1, 80), st.integers(0, 80), st.integers(0, 80))
    def test_only_a_database_that_holds_all_that_was_published_is_fine(self, seen: int, kept: int, size: int) -> None:
        """A database that kept some entries and then went its own way is found out, however far it has grown again."""
        kept = min(kept, size)
        # Both histories begin with the same entry.
        shared = max(kept, min(1, size))

        async def run(witness: Witness) -> Standing:
            await published(witness, ENTRIES[:seen])
            entries = ENTRIES[:kept] + (history_after(kept)[: size - kept] if size > kept else [])
            return await standing(witness, (await database(entries)).log)

        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(run(witness_in(Path(folder))))
        if size < seen:
            assert found.verdict is Verdict.BEHIND
        elif shared < seen:
            assert found.verdict is Verdict.FORKED
        else:
            assert found.verdict is Verdict.FINE

    async def test_another_database_is_found_out(self, witness: Witness) -> None:
        """Even one with the very same entries: it is another log."""
        await published(witness, ENTRIES[:5])
        found = await standing(witness, (await database(ENTRIES[:5], str(uuid4()))).log)
        assert found.verdict is Verdict.ANOTHER_LOG

    async def test_before_the_first_head_everything_is_fine(self, witness: Witness) -> None:
        """A service that starts for the first time has nothing to hold its database against."""
        assert (await standing(witness, (await database(ENTRIES[:5])).log)).fine

    async def test_a_witness_that_cannot_be_read_is_not_fine(self, witness: Witness, tmp_path: Path) -> None:
        """Nobody knows then, so nothing is admitted."""
        (tmp_path / WITNESS_FILE).write_text("?")
        found = await standing(witness, (await database(ENTRIES[:5])).log)
        assert (found.verdict, found.fine) == (Verdict.UNKNOWN, False)
        assert "Put it back from a copy" in found.sentence

    async def test_a_tree_with_a_node_missing_is_not_fine(self, witness: Witness) -> None:
        """A database that lost part of its tree cannot show that it holds what was published."""
        await published(witness, ENTRIES[:70])
        ledger = await database(ENTRIES[:70])

        class Damaged(MemoryLog):
            async def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
                return (await super().nodes(level, start, stop))[:-1]

        damaged = Damaged(ledger.store, LOG)
        await damaged.sequence()
        assert (await standing(witness, damaged)).verdict is Verdict.FORKED

    @given(st.integers(0, 100), st.integers(0, 100), st.booleans(), st.booleans())
    def test_a_verdict_says_what_was_found_and_what_to_do(
        self, seen: int, size: int, same_log: bool, same_root: bool
    ) -> None:
        """Sizes stand in the sentence, and every verdict but fine names the command for operators."""
        head = Head(LOG, seen, "ab" * 32, NOW)
        found = judge(head, LOG if same_log else str(uuid4()), size, head.root if same_root else "cd" * 32)
        assert found.fine == (same_log and same_root and size >= seen)
        assert f"has {seen} entries" in found.sentence
        assert "2026-11-21 04:37:00 UTC" in found.sentence
        assert found.fine != ("accept-ledger" in found.sentence)


def history_after(kept: int) -> list[Entry]:
    """Other entries that could follow the first `kept` ones."""
    if not kept:
        return OTHERS
    entries = [ENTRIES[kept - 1]]
    while len(entries) <= 80 - kept:
        entries.append(spent(entries[-1], replace(asked("t", "2"), key=f"key-{kept + len(entries)}")))
    return entries[1:]
