"""Serves the files of the console. Entry point: `ConsoleRoutes`.

The page holds no data, so anyone may read it. What it shows it asks from the routes of main, with
the caller's key or sign-in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import azure.functions as func

from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.errors import Refused

PAGE = "index.html"
HTML = b'<html lang="en">'
SIGN_IN_HTML = b'<html lang="en" data-sign-in="/.auth/login/aad">'
"""The address at which App Service Authentication signs in with Microsoft's identity platform."""
FOLDER = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str


class ConsoleRoutes:
    """The routes of the console. `signs_in`: callers sign in through the platform, so the page
    sends a browser that has not to the sign-in and asks for no key."""

    def __init__(self, responder: HttpResponder, *, signs_in: bool) -> None:
        self._responder = responder
        self._page = _make_sign_in_page() if signs_in else read_page()[PAGE]

    async def page(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/console"""
        return await self._responder.answer("console", req, self._get_page, at_once=True)

    async def file(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/console/{file}"""
        return await self._responder.answer("console_file", req, self._get_file, at_once=True)

    async def _get_page(self, call: Call) -> Answer:
        return _answer_file(call, self._page)

    async def _get_file(self, call: Call) -> Answer:
        name = call.part("file")
        file = self._page if name == PAGE else read_page().get(name)
        if file is None:
            raise Refused(
                "not_found", f"the console has no file {name[:80]!r}; see GET /api/console"
            )
        return _answer_file(call, file)


@cache
def read_page() -> Mapping[str, PageFile]:
    """Read the files of the page, by name."""
    found: dict[str, PageFile] = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in MEDIA_TYPES:
            found[path.name] = _make_file(path.read_bytes(), MEDIA_TYPES[path.suffix])
    return found


@cache
def _make_sign_in_page() -> PageFile:
    """Return the page that knows the address of the platform's sign-in."""
    page = read_page()[PAGE]
    return _make_file(page.content.replace(HTML, SIGN_IN_HTML, 1), page.media_type)


def _make_file(content: bytes, media_type: str) -> PageFile:
    digest = hashlib.sha256(content).hexdigest()[:32]
    return PageFile(content=content, media_type=media_type, etag=f'"{digest}"')


def _answer_file(call: Call, file: PageFile) -> Answer:
    """Return the file, or 304 to a client that has it."""
    headers = {**HEADERS, "ETag": file.etag}
    if _has_it(call.header("if-none-match"), file.etag):
        return Answer(status=304, body=None, raw=b"", headers=headers, mimetype=file.media_type)
    return Answer(body=None, raw=file.content, headers=headers, mimetype=file.media_type)


def _has_it(if_none_match: str | None, etag: str) -> bool:
    """Whether the header names this ETag. Comparison is weak, as RFC 9110 asks for GET."""
    given = [item.strip().removeprefix("W/") for item in (if_none_match or "").split(",")]
    return etag in given or "*" in given
