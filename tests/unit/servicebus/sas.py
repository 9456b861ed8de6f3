"""Signs tokens as Microsoft documents it, for tests of who is let in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import quote_plus


def sign_token(name: str, key: str, *, resource: str, seconds: int = 3_600) -> str:
    """A shared access signature for a resource, valid for some seconds from now."""
    encoded, expiry = quote_plus(resource), int(time.time()) + seconds
    digest = hmac.digest(key.encode(), f"{encoded}\n{expiry}".encode(), hashlib.sha256)
    signature = quote_plus(base64.b64encode(digest))
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}&skn={name}"
