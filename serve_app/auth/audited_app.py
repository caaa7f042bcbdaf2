"""ASGI middleware that tells the audit log what an app did and what it refused."""

import asyncio
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.auth.deeds import ASKED, DONE, Asked, deed_of, kept, present_request_id
from serve_app.auth.policy import Kept
from serve_app.auth.trail import Trail
from serve_app.problems import Code

UNANSWERED, CLIENT_CLOSED = "unanswered", 499
"""Outcome and status of a request whose asker did not wait for the answer. Other servers use that status too."""


class Audited:
    """Watches the answers of an app. A route's permission says in the scope who asks for what."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        """Wraps an app.

        Args:
            app: What answers.
            trail: Where its deeds go.
        """
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = scope[ASKED] = Asked()
        refused: int | None = None
        told = False

        async def tell(outcome: str, status: int) -> None:
            nonlocal told
            when = kept(asked, outcome)
            if when is Kept.NO:
                return
            deed = deed_of(asked, scope["method"], scope["path"], outcome, status)
            if when is Kept.BEFORE:
                await self._trail.write(deed, present_request_id())
            else:
                self._trail.add(deed, present_request_id())
            told = True

        async def sending(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                if message["status"] < 400:
                    await tell(DONE, message["status"])
                else:
                    refused = message["status"]
            elif refused is not None:
                # A problem document comes in one piece.
                status, refused = refused, None
                await tell(_code_in(message.get("body", b"")), status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            # Whoever asked has hung up; what was asked may have happened all the same.
            if not told and kept(asked, DONE) is not Kept.NO:
                deed = deed_of(asked, scope["method"], scope["path"], UNANSWERED, CLIENT_CLOSED)
                self._trail.add(deed, present_request_id())
            raise
        except Exception:
            # What answers for it stands around this.
            await tell(Code.INTERNAL, 500)
            raise


def _code_in(body: bytes) -> str:
    """The code of a problem document."""
    try:
        return Code(json.loads(body)["code"])
    except (ValueError, KeyError, TypeError):
        return Code.INTERNAL
