"""``python -m serve_app.reference FOLDER`` writes the reference there."""

import sys
from pathlib import Path

from serve_app.reference.pages import pages

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)
