"""A proof as a PDF: by LaTeX where it is installed, and plainly where it is not."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from proofs.render.content import document_of
from proofs.render.latex import latex_of

_SECONDS = 60.0
"""Longer than LaTeX needs for the longest document that is written here."""
_RUNS = 4
"""A table's columns have their final widths after two or three."""
_LAST_LINES = 20


class RenderingError(RuntimeError):
    """LaTeX is there but did not make a PDF. The message ends with the last lines of its log."""


def render_pdf(bundle: Mapping[str, Any]) -> bytes:
    """A proof as a PDF. Arguments and errors as `content.document_of`.

    Raises:
        RenderingError: If LaTeX is installed and failed.
    """
    document = document_of(bundle)
    command = shutil.which("pdflatex")
    if command is not None:
        return compiled(latex_of(document), command)
    # Here alone, so that nobody waits for these libraries who does not need them.
    from proofs.render.plain_pdf import plain_pdf_of

    return plain_pdf_of(document)


def compiled(source: str, command: str, seconds: float = _SECONDS) -> bytes:
    """What LaTeX makes of a source, in a folder of its own that is gone afterwards.

    Args:
        source: LaTeX. What comes from outside has been escaped in it; all the same LaTeX is allowed no command of the
            system, and no file outside its folder and its own installation.
        command: The path of pdflatex.
        seconds: How long one run may take.

    Raises:
        RenderingError: If it fails, or takes longer.
    """
    with TemporaryDirectory(prefix="proof-") as name:
        folder = Path(name)
        (folder / "proof.tex").write_text(source, encoding="utf-8")
        log = folder / "proof.log"
        for _ in range(_RUNS):
            _run(folder, command, seconds)
            if "Rerun" not in log.read_text(encoding="latin-1"):
                break
        return (folder / "proof.pdf").read_bytes()


def _run(folder: Path, command: str, seconds: float) -> None:
    arguments = [command, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "proof.tex"]
    # Paranoid: files are opened below the folder only, and those of the installation. Of the service's own environment,
    # with its secrets, LaTeX gets the path alone.
    path = os.environ.get("PATH", os.defpath)
    environment = {"PATH": path, "HOME": str(folder), "openin_any": "p", "openout_any": "p"}
    try:
        subprocess.run(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise RenderingError(f"LaTeX was stopped after {seconds:g} s.\n{_told(folder)}") from None
    except subprocess.CalledProcessError as error:
        raise RenderingError(f"LaTeX failed with status {error.returncode}.\n{_told(folder)}") from None


def _told(folder: Path) -> str:
    log = folder / "proof.log"
    lines = log.read_text(encoding="latin-1").splitlines() if log.exists() else ["It wrote no log."]
    return "\n".join(lines[-_LAST_LINES:])
