"""Refuses a body that the Functions host did not pass on, or that is encoded. Entry points:
`require_length`, `refuse_encoding`.

Azure's host passes a body on only if the request has a Content-Length. A chunked request arrives
with its headers and an empty body.
"""

from __future__ import annotations

import azure.functions as func

from aos.errors import Refused

_HOW = (
    "send the body with Content-Length (in .NET: await content.LoadIntoBufferAsync() before the"
    " request, or StringContent instead of JsonContent)"
)


def refuse_encoding(request: func.HttpRequest) -> None:
    """Raise Refused `unsupported_media_type` for a compressed body."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(
            "unsupported_media_type",
            f"Content-Encoding is {encoding[:80]!r}; send the body plain, without Content-Encoding",
        )


def require_length(request: func.HttpRequest, *, body_needed: bool) -> None:
    """Raise Refused `length_required` for a chunked body, and for a missing length if a body is
    needed.

    If no body is needed, a request without Transfer-Encoding and Content-Length passes.
    """
    if request.get_body():
        return
    if "transfer-encoding" in request.headers:
        raise Refused(
            "length_required",
            "the body came without Content-Length (Transfer-Encoding), and Azure Functions does not"
            f" pass such a body on; {_HOW}",
        )
    if body_needed and "content-length" not in request.headers:
        raise Refused("length_required", f"the request has neither a body nor a length; {_HOW}")
