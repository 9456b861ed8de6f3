"""Joins the cancellations of MCP's older revisions to their calls. Entry points: `Session`,
`begin_session`.

`notifications/cancelled` is a request of its own, which any process may get. It names a call by the
id of its request, which is unique in a session. So the run of a call is found by both together, as
by an idempotency key, and nothing has to be remembered.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aos.domain.json_writer import write_json
from aos.entrypoints.http.responder import Answer

HEADER = "mcp-session-id"
_SESSION = re.compile("[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Session:
    """The session that a client names."""

    session_id: str

    @classmethod
    def read(cls, header: str | None) -> Session | None:
        """Return the session in the header; None where there is none."""
        known = header is not None and _SESSION.fullmatch(header) is not None
        return cls(str(header)) if known else None

    def name_call(self, request_id: object) -> str | None:
        """Return the key of the call with this id; None for what cannot be an id."""
        if isinstance(request_id, bool) or not isinstance(request_id, int | str):
            return None
        return f"{self.session_id}\n{write_json(request_id)}"

    def find_cancelled(self, message: Mapping[str, Any]) -> str | None:
        """Return the key of the call that the message cancels; None for another message."""
        params = message.get("params")
        if message.get("method") != "notifications/cancelled" or not isinstance(params, dict):
            return None
        return self.name_call(params.get("requestId"))


def begin_session(message: Mapping[str, Any], answer: Answer) -> Answer:
    """Give the client a session with the answer to its handshake."""
    if message.get("method") == "initialize" and answer.status == 200:
        return replace(answer, headers={**answer.headers, HEADER: str(uuid.uuid4())})
    return answer
