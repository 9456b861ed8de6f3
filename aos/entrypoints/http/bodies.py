"""Refuses a body that the Functions host did not hand over. Entry point: `require_length`.

Azure's host passes a body on only if the request says its Content-Length. A chunked one arrives
here empty, with its headers: read as it stands it would be "an empty body", which nobody sent.
"""

from __future__ import annotations

import azure.functions as func

from aos.errors import Refused

_HOW = (
    "send the body with Content-Length (in .NET: await content.LoadIntoBufferAsync() before the"
    " request, or StringContent instead of JsonContent)"
)


def require_length(request: func.HttpRequest, *, body_needed: bool) -> None:
    """Raises Refused `length_required` for a chunked body, and where a needed body has no length.

    A request without a body, and with neither Transfer-Encoding nor Content-Length, passes where
    none is needed.
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
