"""Keeps web pages from calling a laptop's apps, which serve without keys. Entry point:
`refuse_pages`.

With `AOS_AUTH=off` everybody who reaches the port is an admin, and every web page in the user's
browser can reach it. A page is recognised by the host name that it called (DNS rebinding), by its
Origin, by Sec-Fetch-Site, or by a body whose media type needs no preflight.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import azure.functions as func

from aos.errors import Refused

LONGEST_SHOWN = 80
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[^\[\]:@/\\?#%,\s]{1,253})(?::[0-9]{0,5})?")
_OUR_SITES = frozenset({"same-origin", "same-site", "none"})
"""`same-site` is another port of the same loopback name; `none` is a URL that the user typed."""
_WITHOUT_PREFLIGHT = frozenset({"text/plain"})
"""The media types that a page may send to any site without preflight, and that a route accepts."""
_WAY_OUT = "or set AOS_AUTH=keys and send a key"


def refuse_pages(request: func.HttpRequest) -> None:
    """Raise Refused for a request that a web page may have sent.

    `forbidden`: another host name, or a page from another site. `unsupported_media_type`: a body
    without a Content-Type, or of a type that pages may send.
    """
    headers = request.headers
    host = headers.get("host") or urlsplit(request.url).netloc
    if not is_loopback(host):
        raise _make_refusal(
            f"the host is {host[:LONGEST_SHOWN]!r}; call http://localhost:<port> or 127.0.0.1"
        )
    origin = headers.get("origin")
    if origin is not None and not _is_loopback_origin(origin):
        raise _make_refusal(
            f"the request comes from a page of {origin[:LONGEST_SHOWN]!r}; call from a program, or"
            " from a page on localhost"
        )
    site = headers.get("sec-fetch-site")
    if site is not None and site.strip().lower() not in _OUR_SITES:
        raise _make_refusal(
            "the request comes from a page of another site (Sec-Fetch-Site is"
            f" {site[:LONGEST_SHOWN]!r}); open the address directly, or call from a program"
        )
    if request.method.upper() in ("POST", "PUT", "PATCH", "DELETE") and request.get_body():
        _require_type(request, from_page=origin is not None or site is not None)


def is_loopback(authority: str) -> bool:
    """Whether this `host` or `host:port` names this machine: localhost, 127.x.x.x or [::1]."""
    found = _HOST.fullmatch(authority.strip().lower())
    if found is None:
        return False
    host = found[1].removesuffix(".")
    if host == "localhost":
        return True
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1]) == ipaddress.IPv6Address("::1")
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _is_loopback_origin(origin: str) -> bool:
    scheme, separator, authority = origin.strip().lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and is_loopback(authority)


def _require_type(request: func.HttpRequest, *, from_page: bool) -> None:
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if not kind:
        raise Refused(
            "unsupported_media_type",
            "the body has no Content-Type, which AOS_AUTH=off asks for; send"
            " Content-Type: application/json",
        )
    if from_page and kind in _WITHOUT_PREFLIGHT:
        raise Refused(
            "unsupported_media_type",
            f"a web page sent {kind}, which browsers let every page send; send application/json",
        )


def _make_refusal(why: str) -> Refused:
    return Refused(
        "forbidden", f"AOS_AUTH is off, so AOS serves only this machine: {why}, {_WAY_OUT}"
    )
