"""Every snippet of the client's guide is complete, and runs against the real service."""

import re
import runpy
import sys
import threading
from pathlib import Path

import pytest

from serve_app.client.conformance.suite import check
from tests.support import Live

GUIDE = Path(__file__).parents[2] / "docs" / "client.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
ADAPTER = "Outcome.SPENT"
"""What only the snippet of an adapter says."""


def run_apart(file: Path) -> None:
    """Runs a program with nothing defined, on a thread that has no event loop; raises what it raises."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            runpy.run_path(str(file))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def test_the_guides_snippets_run_as_they_stand(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself, with an address and a token in the environment; the ledger has what they say together."""
    snippets = [snippet for snippet in SNIPPETS if ADAPTER not in snippet]
    assert len(snippets) == 7
    engine = live.new()
    monkeypatch.setenv("AUMOS_PRIVACY_URL", live.service.settings.base_url)
    monkeypatch.setenv("AUMOS_PRIVACY_TOKEN", str(engine.token))
    monkeypatch.chdir(tmp_path)
    for number, snippet in enumerate(snippets):
        file = tmp_path / f"snippet_{number}.py"
        file.write_text(snippet)
        run_apart(file)
    # 0.1 three times, a hold of 0.2, a hundred of 0.001, three steps of 0.01, two releases of 0.1.
    assert engine.state().spent == "0.83"


def test_the_guides_adapter_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few lines are enough, where they say unknown when it is unknown."""
    (adapter,) = [snippet for snippet in SNIPPETS if ADAPTER in snippet]
    (tmp_path / "adapter_of_the_guide.py").write_text(adapter)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        check("adapter_of_the_guide:spend")
    finally:
        sys.modules.pop("adapter_of_the_guide", None)
