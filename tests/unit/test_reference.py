"""The reference says what the code says."""

from pathlib import Path

import pytest

from serve_app.cli.exit_codes import MEANINGS
from serve_app.config import Settings
from serve_app.reference.http import described
from serve_app.reference.markdown import table
from serve_app.reference.pages import pages
from serve_app.reference.settings import settings_page

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
AGAIN = "docs/reference is not what the code generates: run `python -m serve_app.reference docs/reference`"


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The pages as the code makes them now."""
    return pages()


def test_the_files_are_what_the_code_generates(generated: dict[str, str]) -> None:
    """All of them and no others."""
    assert {file.name: file.read_text() for file in FOLDER.iterdir()} == generated, AGAIN


def test_nothing_of_this_machine_is_in_it(generated: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults are those of the code, whatever is set here."""
    for name in Settings.model_fields:
        monkeypatch.setenv(f"AUMOS_PRIVACY_{name.upper()}", "7")
    assert pages() == generated


def test_every_setting_command_and_status_has_a_line(generated: dict[str, str]) -> None:
    """None is left out, and none is without a word."""
    for name, field in Settings.model_fields.items():
        assert f"| `AUMOS_PRIVACY_{name.upper()}` |" in settings_page()
        assert field.description
    for meaning in MEANINGS.values():
        assert meaning in generated["cli.md"]
    for heading in ("## privacy-engine up", "## privacy-engine operator-key new", "## privacy-engine verify"):
        assert heading in generated["cli.md"]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    """Nor does a line's end."""
    assert table(("a", "b"), [("x|y", "one\ntwo")]).splitlines()[2] == "| x&#124;y | one two |"


def test_an_operation_is_told_with_its_parameters_and_body() -> None:
    """From the OpenAPI document alone."""
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}}
    parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Whose."}
    told = {"summary": "Do it", "x-roles": ["admin"], "parameters": [parameter], "requestBody": body}
    members = {
        "much": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "what": {"$ref": "#/components/schemas/Event"},
    }
    schemas = {"Body": {"description": "So.", "properties": members, "required": ["much"]}, "Event": {}}
    page = described({"paths": {"/a/{id}": {"post": told}}, "components": {"schemas": schemas}})
    for line in (
        "| `POST /a/{id}` | Do it | admin |",
        "| `id` | path | yes | string | Whose. |",
        "Body: [Body](#body).",
        "| `much` | yes | integer |  |",
        "| `what` |  | [event](events.md) |  |",
    ):
        assert line in page.splitlines()
