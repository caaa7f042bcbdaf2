"""All pages of the reference, by the names of their files."""

from serve_app.reference.commands import commands_page
from serve_app.reference.errors import errors_page
from serve_app.reference.events import events_page
from serve_app.reference.http import http_page
from serve_app.reference.settings import settings_page

_MADE = "Made from the code by `python -m serve_app.reference docs/reference`; a test holds the two together.\n"


def pages() -> dict[str, str]:
    """The pages in Markdown, each under its heading."""
    made = {
        "cli.md": ("Commands", commands_page()),
        "errors.md": ("Errors", errors_page()),
        "events.md": ("Events", events_page()),
        "http.md": ("HTTP interface", http_page()),
        "settings.md": ("Settings", settings_page()),
    }
    return {name: f"# {heading}\n\n{_MADE}\n{text.rstrip()}\n" for name, (heading, text) in made.items()}
