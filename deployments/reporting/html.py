"""A report as one HTML file that a browser shows without any network, with its picture inside, by light and by dark.

The text is written by `proofs.render.html`, which allows no image at all. Here images within the file are allowed, and
one more style sheet by its hash; still no script and no address.
"""

import base64
import hashlib
from html import escape

from deployments.reporting.comparison import Comparison
from deployments.reporting.document import CURVES, comparison_document, document_of
from deployments.reporting.picture import described, draw
from deployments.reporting.report import PrivacyReport
from proofs.render.html import html_of

_STYLE = """
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { color: var(--faint); font-size: .85rem; line-height: 1.45; margin-top: .4rem; }
"""
_NO_IMAGES, _IMAGES = "default-src 'none'; style-src ", "default-src 'none'; img-src data:; style-src "
_CAPTION = "Epsilon at other deltas."
_CAPTION_WITH_STEPS = "Left: epsilon at other deltas. Right: epsilon at other numbers of steps."


def report_html(report: PrivacyReport) -> str:
    """One report as an HTML file."""
    page = html_of(document_of(report))
    light, dark = (_data(draw(report, "svg", theme)) for theme in ("light", "dark"))
    figure = (
        f'<figure>\n<picture>\n<source media="print" srcset="{light}"/>\n'
        f'<source media="(prefers-color-scheme: dark)" srcset="{dark}"/>\n'
        f'<img alt="{escape(described(report))}" src="{light}"/>\n</picture>\n'
        f"<figcaption>{_CAPTION_WITH_STEPS if report.by_steps else _CAPTION}</figcaption>\n</figure>"
    )
    allowed = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = f"<h2>{CURVES}</h2>"
    for old, new in (
        (_NO_IMAGES, f"{_IMAGES}'sha256-{allowed}' "),
        ("</style>\n", f"</style>\n<style>{_STYLE}</style>\n"),
        (title, f"{title}\n{figure}"),
    ):
        if page.count(old) != 1:
            raise ValueError("the page is not as proofs.render.html writes it")
        page = page.replace(old, new)
    return page


def comparison_html(comparison: Comparison) -> str:
    """Several reports side by side, as an HTML file."""
    return html_of(comparison_document(comparison))


def _data(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
