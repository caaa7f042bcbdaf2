"""The page at ``/``: the files of `serve_app/web`, as they are.

Their digest is part of their address, so a browser may keep each file for ever and never has files of two releases
together: the one document that names them is asked for anew every time.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app.problems import Code, Problem

FOLDER = Path(__file__).parent.parent / "web"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MODULES = "<!-- MODULES -->"
_PROOF_STYLE = re.compile(r"style-src ('sha256-[A-Za-z0-9+/=]+')")


@dataclass(frozen=True)
class Page:
    """The page's files.

    Attributes:
        version: A digest of them all, which stands in their addresses.
        document: The one HTML document.
        files: The rest, by path.
    """

    version: str
    document: bytes
    files: Mapping[str, bytes]


@cache
def page() -> Page:
    """The page, as it is packaged."""
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in _TYPES)
    files = {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(b"%b\0%d\0%b" % (name.encode(), len(content), content))
    version = digest.hexdigest()[:16]
    document = files.pop("index.html").decode()
    # All at once, instead of one level of imports after the other.
    modules = "\n".join(
        f'<link rel="modulepreload" href="/web/VERSION/{name}">' for name in files if name.startswith("js/")
    )
    return Page(version, document.replace(_MODULES, modules).replace("VERSION", version).encode(), files)


@cache
def policy() -> str:
    """The page's content security policy.

    Proofs are shown in a frame that inherits it, so the one style sheet that they have is allowed by its hash. They
    say themselves which it is.
    """
    # Here: mathematics is not among what a replica starts with.
    from proofs.render.document import Document
    from proofs.render.html import html_of

    found = _PROOF_STYLE.search(html_of(Document("", (), ())))
    assert found is not None, "a proof states its policy"
    return "; ".join(
        (
            "default-src 'self'",
            f"style-src 'self' {found[1]}",
            "frame-src blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def web_router() -> APIRouter:
    """The routes of the page. They are no part of the interface, and so not of its description."""
    router = APIRouter()

    async def document(request: Request) -> Response:
        tag = f'"{page().version}"'
        headers = {
            "Content-Security-Policy": await asyncio.to_thread(policy),
            "Cache-Control": "no-cache",
            "ETag": tag,
            **_HEADERS,
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(page().document, headers=headers, media_type="text/html")

    async def file(request: Request) -> Response:
        version, path = request.path_params["version"], request.path_params["path"]
        content = page().files.get(path) if version == page().version else None
        if content is None:
            raise Problem(Code.NOT_FOUND, "The page has no such file. Load the page anew: there may be a newer one.")
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": f'"{version}"', **_HEADERS}
        return Response(content, headers=headers, media_type=_TYPES[Path(path).suffix])

    router.add_route("/", document, include_in_schema=False)
    router.add_route("/web/{version}/{path:path}", file, include_in_schema=False)
    return router


_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
