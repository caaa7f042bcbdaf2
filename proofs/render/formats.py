"""The forms in which people read a proof."""

from collections.abc import Mapping
from typing import Any, Literal

from proofs.render.html import render_html
from proofs.render.latex import render_latex
from proofs.render.pdf import render_pdf

Form = Literal["latex", "html", "pdf"]


def rendered(document: Mapping[str, Any], form: Form) -> tuple[bytes, str]:
    """A proof in a form for people.

    Args:
        document: A proof as `proofs.prover` returns it, or the JSON of one, parsed.
        form: Which form.

    Returns:
        The bytes of a file, and their media type. Equal documents give equal bytes, by the same version of what sets
        the pages.

    Raises:
        proofs.certificate.MalformedError: If the document is not a proof. Whether it is a right one is not looked at.
        proofs.render.pdf.RenderingError: If LaTeX is installed and failed to make a PDF.
    """
    match form:
        case "latex":
            return render_latex(document).encode(), "application/x-latex"
        case "html":
            return render_html(document).encode(), "text/html; charset=utf-8"
        case "pdf":
            return render_pdf(document), "application/pdf"
