"""No document leads nowhere."""

from pathlib import Path

import pytest

from tests.documents import anchors, documents, links, name_of


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_and_picture_is_there(document: Path) -> None:
    """Files exist beside the document that names them, and headings in the file that is named."""
    missing = []
    for target in links(document):
        file, _, anchor = target.partition("#")
        named = (document.parent / file) if file else document
        if not named.exists() or (anchor and anchor not in anchors(named)):
            missing.append(target)
    assert not missing, f"{name_of(document)} links to what is not there: {', '.join(missing)}"
