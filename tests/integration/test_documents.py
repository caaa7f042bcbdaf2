"""Every command of the documents does what the document says, against the real service."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.databases import new_database
from tests.document_checks import check_inline, check_variable
from tests.documents import blocks, guides, inline_commands, name_of
from tests.following import Reader, environment_of
from tests.support import Live, Serving, WholeService, free_port


@pytest.fixture(scope="module")
def service(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service on a database of its own: documents audit the whole log, other tests write what no rule would."""
    database = asyncio.run(new_database(admin_url))
    listener = free_port()
    chosen = Settings.model_validate({"home": tmp_path_factory.mktemp("home"), "port": listener.getsockname()[1]})
    running = Service(chosen, database.urls.service, database.urls.recorder)
    with (
        Serving(WholeService(running), listener),
        httpx.Client(base_url=chosen.base_url, timeout=30) as client,
    ):
        yield Live(running, client, database.admin_url)


def a_head_covers_all(service: Live) -> None:
    """Waits until the log's newest head covers what has been written so far."""
    auditor = service.caller("anybody", "auditor")
    for _ in range(100):
        health = auditor.get(f"{PREFIX}/log/health").json()
        if health["head"] is not None and health["head"]["size"] == health["log"]["size"]:
            return
        time.sleep(0.1)
    raise AssertionError("no head covers the log")


@pytest.mark.parametrize("document", guides(), ids=name_of)
def test_whoever_follows_it_sees_what_it_says(document: Path, service: Live, tmp_path: Path) -> None:
    """All blocks in their order, in an empty folder: commands, programs, and what is shown of their output."""
    settings = service.service.settings
    environment = environment_of(settings.folder, settings.base_url)
    reader = Reader(tmp_path, settings.base_url, environment, lambda: a_head_covers_all(service))
    for block in blocks(document):
        reader.follow(block)


@pytest.mark.parametrize("document", guides(), ids=name_of)
def test_commands_and_settings_in_sentences_exist(document: Path) -> None:
    """With the options that are named."""
    for command in inline_commands(document):
        check_inline(command)
    for name in re.findall(r"\bAUMOS_PRIVACY_[A-Z_]*[A-Z]\b", document.read_text()):
        check_variable(name)
