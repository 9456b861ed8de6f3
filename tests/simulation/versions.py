"""Do two versions of the apps work side by side, as in a rolling deployment? Entry points:
`NewerConversationStore`, `find_dropped`.

In worlds of mixed versions some instances are of a newer version: it writes fields that the others
do not know. An older instance must not drop them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aos.domain.codec import decode, encode
from aos.domain.runs.conversation import Conversation, Step
from tests.simulation.wire import WireConversationStore

NEWER = "sim_of_a_newer_version"


class NewerConversationStore(WireConversationStore):
    """Writes fields that this version does not know, into the head and what it holds."""

    def write(self, step: Step) -> str:
        """Write the step with them."""
        raw = json.loads(json.dumps(encode(step.conversation)))
        raw[NEWER] = {"says": 1}
        if raw.get("active"):
            raw["active"][NEWER] = {"says": 2}
            for call in raw["active"].get("calls") or ():
                call[NEWER] = {"says": 3}
        return super().write(replace(step, conversation=decode(Conversation, raw)))


def find_dropped(before: Conversation | None, after: Conversation) -> str | None:
    """What a save has dropped that a newer version wrote; None where it kept all of it."""
    if before is None:
        return None
    if not _is_kept(before.unknown, after.unknown):
        return "the head"
    was, active = before.active, after.active
    if was is None or active is None or was.request.run_id != active.request.run_id:
        return None
    if not _is_kept(was.unknown, active.unknown):
        return "the active run"
    calls = {call.tool_call_id: call.unknown for call in active.calls}
    for call in was.calls:
        if not _is_kept(call.unknown, calls.get(call.tool_call_id, call.unknown)):
            return f"the call {call.tool_call_id}"
    return None


def _is_kept(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return was.keys() <= now.keys()
