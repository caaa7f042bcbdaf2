"""The audit of a log with its heads and proofs, as lines that anybody can check without the service."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from accounting.filters import basic_budget
from accounting.ledger.entry import Entry
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.ledger.merkle import consistency_proof, inclusion_proof
from proofs.audit import LogAudit, Report
from proofs.certificate import MalformedError
from proofs.heads import Head, head_of, sign_head
from proofs.signing import SigningKey
from serve_app.cli.main import app
from tests.histories import Scribe, forged
from tests.ledgers import loss

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)
LOG = "0189b8a0-0000-4000-8000-000000000000"
Lines = list[dict[str, Any]]


def history() -> Scribe:
    """A tenant that has spent six times."""
    scribe = Scribe()
    scribe.set_budget(basic_budget(loss("100", "0.0001")))
    for _ in range(6):
        scribe.allocate("pure")
    return scribe


SCRIBES = [history() for _ in range(3)]
ENTRIES = [entry for step in zip(*(scribe.entries for scribe in SCRIBES), strict=True) for entry in step]
"""What three tenants wrote in turns."""


class Log:
    """A log of some entries that has published a head at some sizes."""

    def __init__(self, entries: list[Entry], sizes: list[int], key: SigningKey = KEY, log_id: str = LOG) -> None:
        self.entries = entries
        self.sizes = sizes
        self.key = key
        self.store = MemoryLedgerStore()
        # Entries that a store would refuse can stand in a log that somebody made up.
        self.store.committed += entries
        self.log = MemoryLog(self.store, log_id)
        self.heads: list[Head] = []

    async def publish(self) -> "Log":
        """Takes up everything, and signs a head at each of the sizes."""
        have = 0
        for number, size in enumerate(self.sizes):
            await self.log.sequence(size - have)
            have = size
            self.heads.append(await head_of(self.log, NOW + timedelta(seconds=number)))
        while await self.log.sequence():
            pass
        return self

    def whole(self) -> Lines:
        """What the service gives to an auditor of the whole log."""
        return [
            {"log": 1, "tenant_id": None},
            {"keys": [{**self.key.public_jwk, "purpose": "heads"}]},
            *({"head": sign_head(head, self.key)} for head in self.heads),
            *({"position": at, "body": entry.body} for at, entry in enumerate(self.entries)),
        ]

    async def part(self, tenant: str, kept: Head | None = None) -> Lines:
        """What the service gives to an auditor of one tenant."""
        mine = [(at, entry) for at, entry in enumerate(self.entries) if entry.tenant_id == tenant]
        lines: Lines = [
            {"log": 1, "tenant_id": tenant},
            {"keys": [self.key.public_jwk]},
            *({"head": sign_head(head, self.key)} for head in self.heads),
        ]
        size = self.heads[-1].size
        if kept is not None:
            path = await consistency_proof(self.log.nodes, kept.size, size)
            lines.append({"consistency": {"path": [item.hex() for item in path]}})
        lines += [{"position": at, "body": entry.body} for at, entry in mine]
        covered = [at for at, _ in mine if at < size]
        path = await inclusion_proof(self.log.nodes, covered[-1], size)
        return [*lines, {"inclusion": {"path": [item.hex() for item in path]}}]


@pytest.fixture
async def log() -> Log:
    """A log with three heads and two entries after the last."""
    return await Log(ENTRIES, [4, 11, len(ENTRIES) - 2]).publish()


def run(lines: Lines, **arguments: Any) -> Report:  # noqa: ANN401
    """Audits lines, as they come back from a file."""
    return LogAudit(**({"keys": [KEY.public_jwk]} | arguments)).run(json.loads(json.dumps(lines)))


def wrong(lines: Lines, **arguments: Any) -> list[str]:  # noqa: ANN401
    """What is wrong with lines."""
    return [finding.sentence for finding in run(lines, **arguments).findings]


async def test_a_whole_log_is_audited(log: Log) -> None:
    """Every tenant, every head; what no head covers yet is said."""
    report = run(log.whole())
    assert report.findings == []
    assert (report.entries, report.tenants, report.heads, report.uncovered) == (21, 3, 3, 2)
    assert report.last_head == log.heads[-1]


async def test_a_tenants_part_is_bound_to_the_log_by_proofs(log: Log) -> None:
    """Its last entry is in the log of the last head, which continues the head that was kept."""
    tenant = SCRIBES[1].tenant_id
    report = run(await log.part(tenant, log.heads[0]), kept=log.heads[0])
    assert report.findings == []
    assert (report.entries, report.tenants) == (7, 1)


@pytest.mark.parametrize("at", [0, 5, 12, 18])
async def test_an_entry_that_was_changed_after_a_head_is_found(log: Log, at: int) -> None:
    """Even what nothing follows from, hashed anew through the tenant's whole history."""
    tenant, seq = ENTRIES[at].tenant_id, ENTRIES[at].seq
    mine = [entry for entry in ENTRIES if entry.tenant_id == tenant]
    other = iter(forged(mine, seq - 1, lambda entry: replace(entry, actor="somebody else")))
    entries = [next(other) if entry.tenant_id == tenant else entry for entry in ENTRIES]
    lines = log.whole()
    lines[5:] = [{"position": number, "body": entry.body} for number, entry in enumerate(entries)]
    size = next(head.size for head in log.heads if head.size > at)
    assert wrong(lines) == [f"the first {size} entries are not those of the signed head of that size"]


async def test_a_log_that_was_cut_short_is_found(log: Log) -> None:
    """The last head says how long it was."""
    assert wrong(log.whole()[:-3]) == ["the log ends after 18 entries; a signed head has 19"]


async def test_another_log_than_the_one_that_was_kept_is_found(log: Log) -> None:
    """Shorter, grown differently, or made anew under another name."""
    kept = log.heads[-1]
    shorter = await Log(ENTRIES[:10], [10]).publish()
    assert wrong(shorter.whole(), kept=kept) == ["the log ends after 10 entries; a signed head has 19"]
    turned = await Log([ENTRIES[0], ENTRIES[2], ENTRIES[1], *ENTRIES[3:]], [21]).publish()
    assert wrong(turned.whole(), kept=kept) == ["the first 19 entries are not those of the signed head of that size"]
    anew = await Log(ENTRIES, [21], log_id=LOG.replace("0189", "0190")).publish()
    assert wrong(anew.whole(), kept=kept) == ["the log is not the one whose head was kept"]
    assert wrong(log.whole()[:2] + log.whole()[5:], kept=kept) == ["the log is not the one whose head was kept"]
    assert wrong(log.whole(), kept=log.heads[0]) == []


async def test_a_part_without_its_proofs_is_found(log: Log) -> None:
    """Left out, or of something else."""
    tenant, kept = SCRIBES[0].tenant_id, log.heads[0]
    good = await log.part(tenant, kept)
    without = [line for line in good if "inclusion" not in line]
    assert wrong(without, kept=kept) == ["nothing shows that the tenant's entries are in the log"]
    without = [line for line in good if "consistency" not in line]
    assert wrong(without, kept=kept) == ["nothing shows that the log continues the head that was kept"]
    for name in ("inclusion", "consistency"):
        for path in ([], ["00" * 32], None, "x"):
            for spoilt in ({"path": path}, path):
                lines: Lines = [{name: spoilt} if name in line else line for line in good]
                assert wrong(lines, kept=kept), (name, spoilt)


async def test_heads_of_strangers_do_not_count(log: Log) -> None:
    """Only trusted keys; without any given, the service's own are taken and that is said."""
    stranger = await Log(ENTRIES, [21], STRANGER).publish()
    assert all(text.startswith("a head cannot be believed") for text in wrong(stranger.whole()))
    report = run(stranger.whole(), keys=None)
    assert report.findings == []
    assert any("with the keys that the service names itself" in note for note in report.notes)
    assert not any("keys that the service names" in note for note in run(log.whole()).notes)


async def test_heads_are_of_one_log_and_grow(log: Log) -> None:
    """Each is of more entries than the one before it."""
    other = await Log(ENTRIES, [20], log_id=LOG.replace("0189", "0190")).publish()
    head = {"head": sign_head(other.heads[0], KEY)}
    lines = log.whole()
    assert wrong([*lines[:5], head, *lines[5:]]) == ["the head of 20 entries is of another log than the one before it"]
    assert wrong([*lines[:5], lines[2], *lines[5:]]) == ["a head of 4 entries comes after one of 19"]


async def test_what_was_taken_for_granted_is_said(log: Log) -> None:
    """Statements without operators' keys; a log without heads."""
    unsigned = [line for line in log.whole() if "head" not in line]
    report = run(unsigned)
    assert report.findings == []
    assert report.uncovered == 21
    assert any(note.startswith("no head was signed") for note in report.notes)
    assert any("operators' statements" in note for note in report.notes)
    assert not any("operators' statements" in note for note in run(unsigned, statement=lambda *_: None).notes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[1:],
        lambda lines: [],
        lambda lines: [{"log": 2, "tenant_id": None}, *lines[1:]],
        lambda lines: [*lines, {"strange": 1}],
        lambda lines: [*lines, lines[2]],
        lambda lines: [*lines, {"position": "0", "body": "x"}],
        lambda lines: [*lines, {"position": True, "body": "x"}],
        lambda lines: [*lines, {"position": 21, "body": 7}],
        lambda lines: [lines[0], {"keys": 7}, *lines[2:]],
        lambda lines: [lines[0], {"keys": [7]}, *lines[2:]],
    ],
)
async def test_lines_that_no_log_gives_out_are_refused(log: Log, spoil: Callable[[Lines], Lines]) -> None:
    """Instead of being audited by guess."""
    with pytest.raises(MalformedError):
        run(spoil(log.whole()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["head", "keys", "body", "position", "path"]), inner, max_size=3)
    ),
)


@given(st.lists(st.dictionaries(st.sampled_from(["head", "keys", "body", "position", "inclusion"]), JSON), max_size=4))
def test_any_lines_get_an_answer(lines: Lines) -> None:
    """A report or a refusal, never another error."""
    try:
        LogAudit(keys=[KEY.public_jwk]).run([{"log": 1, "tenant_id": None}, *copy.deepcopy(lines)])
    except MalformedError:
        pass


# The command, on files.


def command(*arguments: str | Path) -> tuple[int, str]:
    """The exit status and all that was printed."""
    result = CliRunner().invoke(app, ["audit", *map(str, arguments)])
    return result.exit_code, result.output


def written(path: Path, lines: Lines) -> Path:
    """A file of lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def test_a_file_is_audited_without_the_service(log: Log, tmp_path: Path) -> None:
    """Status 0 and VALID; for programs as JSON; from stdin too."""
    file = written(tmp_path / "log.jsonl", log.whole())
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [KEY.public_jwk]}))
    status, output = command("--file", file, "--keys", keys)
    assert (status, output.splitlines()[-1]) == (0, "VALID"), output
    assert "21 of 3 tenants" in output
    assert "3, the last of 19 entries at 2026-11-21 04:37:02 UTC" in output
    assert "2 entries are under no signed head yet" in output
    status, output = command("--file", file, "--json")
    assert (status, json.loads(output)["found"]) == (0, 0)
    piped = CliRunner().invoke(app, ["audit", "--file", "-"], input=file.read_text())
    assert piped.exit_code == 0


async def test_findings_are_listed_and_give_status_1(log: Log, tmp_path: Path) -> None:
    """Each with its tenant and entry, foreign names harmless to a terminal."""
    lines = log.whole()
    del lines[9]
    status, output = command("--file", written(tmp_path / "log.jsonl", lines))
    assert (status, output.splitlines()[-1]) == (1, "NOT VALID")
    assert f"wrong: '{ENTRIES[7].tenant_id}', entry 3: comes where entry 2 belongs" in output
    assert "wrong: the log: position 5 comes where 4 belongs" in output


async def test_an_earlier_audit_binds_the_next(log: Log, tmp_path: Path) -> None:
    """Its last head has to be continued; a file without one is no earlier audit."""
    earlier = written(tmp_path / "earlier.jsonl", log.whole())
    good = written(tmp_path / "good.jsonl", (await Log(ENTRIES, [21]).publish()).whole())
    assert command("--file", good, "--earlier", earlier)[0] == 0
    short = written(tmp_path / "short.jsonl", (await Log(ENTRIES[:9], [9]).publish()).whole())
    status, output = command("--file", short, "--earlier", earlier)
    assert (status, "the log ends after 9 entries; a signed head has 19" in output) == (1, True), output
    status, output = command("--file", good, "--earlier", written(tmp_path / "none.jsonl", log.whole()[:1]))
    assert (status, "it holds no head" in output) == (2, True), output


@pytest.mark.parametrize("option", ["--file", "--keys", "--earlier"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    """Status 2, as for every wrong use."""
    status, output = command("--file", written(tmp_path / "log.jsonl", []), option, tmp_path / "nowhere")
    assert (status, "nowhere cannot be read" in output) == (2, True), output


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    """With the line that is wrong."""
    path = tmp_path / "log.jsonl"
    for text, reason in (
        ("", "the first line"),
        ("{}\n", "the first line"),
        ("?\n", "line 1 is not JSON"),
        ("[]\n", "line 1"),
    ):
        path.write_text(text)
        status, output = command("--file", path)
        assert (status, reason in output) == (1, True), output
    assert command("--file", path, "--save", path)[0] == 2
