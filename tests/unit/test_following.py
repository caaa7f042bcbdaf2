"""Following a document fails where the document is wrong."""

import json
import os
from pathlib import Path

import pytest

from tests.document_checks import CHECKED, NotAsWrittenError, check_inline, check_variable, checked
from tests.documents import Block, anchors, commands, documents, guides, inline_commands, links, name_of
from tests.following import Reader


def block(language: str, text: str) -> Block:
    """A block of a document that is not there."""
    return Block("a.md:1", language, text)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Somebody without a service, who needs none."""
    return Reader(tmp_path, "http://127.0.0.1:9", dict(os.environ), lambda: None)


def test_commands_go_over_lines_quotations_and_documents_within() -> None:
    """Comments and empty lines are none."""
    text = "# a comment\nprivacy-engine a \\\n  --b\n\ncurl -d '{\n}'\ncat > f <<'END'\n{\nEND\n"
    assert list(commands(block("console", text))) == [
        "privacy-engine a \\\n  --b",
        "curl -d '{\n}'",
        "cat > f <<'END'\n{\nEND",
    ]
    with pytest.raises(ValueError, match="has no end"):
        list(commands(block("console", "cat <<'END'\n")))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("", "privacy-engine status\n"),
        ("text", "nobody printed this\n"),
        ("rust", "fn main() {}\n"),
        ("json", "{"),
        ("ini", "AUMOS_PRIVACY_NO_SUCH=1\n"),
        ("ini", "ExecStart=/opt/bin/privacy-engine node --no-such\n"),
        ("promql", "rate(ray_privacy_no_such[5m])\n"),
        ("console", "privacy-engine status --no-such\n"),
        ("console", "false\n"),
        ("console", "true  # exit status 3\n"),
        ("console", "make no-such-target\n"),
        ("console", "make run NO_SUCH=1\n"),
        ("python", "raise ValueError\n"),
    ],
)
def test_what_is_not_as_written_is_told_with_its_place(reader: Reader, language: str, text: str) -> None:
    """Blocks that nobody runs or checks among them."""
    with pytest.raises((NotAsWrittenError, json.JSONDecodeError)) as raised:
        reader.follow(block(language, text))
    assert "a.md:1" in str(raised.value) or language == "json"


def test_what_is_shown_has_to_be_seen(reader: Reader) -> None:
    """Lines in their order, members of JSON; dots are anything, and what was assigned is kept."""
    reader.follow(block("console", "WORD=blue\nprintf '%s  sky\\nsea 12\\n' $WORD\n"))
    reader.follow(block("text", "blue sky\n...\nsea ...\n"))
    with pytest.raises(NotAsWrittenError, match="nobody sees 'blue sky'"):
        reader.follow(block("text", "sea 12\nblue sky\n"))
    reader.follow(block("console", """echo '{"a": [1, {"b": "x"}], "c": 2}'\n"""))
    reader.follow(block("json", '{"a": [1, {"b": "..."}]}'))
    for wrong in ('{"a": [2]}', '{"d": 1}', '{"a": [1, {"b": "y"}]}', '{"a": [1, 1, 1]}'):
        with pytest.raises(NotAsWrittenError):
            reader.follow(block("json", wrong))


def test_a_program_with_a_path_is_kept_and_others_run(reader: Reader) -> None:
    """The next one finds it."""
    reader.follow(block("python", "# kept/one.py\nVALUE = 7\n"))
    reader.follow(block("console", 'python -c "from kept.one import VALUE; print(VALUE)"\n'))
    reader.follow(block("text", "7\n"))


def test_what_is_not_run_is_checked() -> None:
    """Each entry of the list by what exists: targets, options, extras, modules."""
    for right in (
        "make run",
        "privacy-engine up --detach",
        "pip install -e '.[training]'",
        "kubectl apply -f cluster.yaml",
    ):
        assert checked(right)
    assert not checked("privacy-engine status")
    for wrong in ("privacy-engine up --no-such", "pip install '.[no-such]'", "kubectl apply -f no-such.yaml"):
        with pytest.raises(NotAsWrittenError):
            checked(wrong)
    with pytest.raises(NotAsWrittenError):
        check_inline("privacy-engine no-such")
    with pytest.raises(NotAsWrittenError):
        check_inline("python -m no.such")
    with pytest.raises(NotAsWrittenError):
        check_variable("AUMOS_PRIVACY_NO_SUCH")
    assert len(CHECKED) <= 20


def test_links_anchors_and_commands_in_sentences_are_found(tmp_path: Path) -> None:
    """Not those of other addresses, and not those within blocks."""
    file = tmp_path / "a.md"
    file.write_text(
        "# One, *two* [three](x.md#y)\n\n![p](q.png) `make run` [h](https://h)\n\n```sh\n[no](no.md)\n```\n"
    )
    assert list(links(file)) == ["x.md#y", "q.png"]
    assert anchors(file) == {"one-two-three"}
    assert list(inline_commands(file)) == ["make run"]


def test_all_documents_of_the_tree_are_among_them() -> None:
    """Decisions and the reference have links, but nobody follows their commands."""
    followed, all_of_them = {name_of(one) for one in guides()}, {name_of(one) for one in documents()}
    assert {"README.md", "docs/client.md", "docs/tutorials/engine.md"} <= followed <= all_of_them
    assert not any(name.startswith(("docs/decisions", "docs/reference")) for name in followed)
    assert {"CHANGELOG.md", "docs/reference/http.md", "docs/decisions/0003-hot-path.md"} <= all_of_them
