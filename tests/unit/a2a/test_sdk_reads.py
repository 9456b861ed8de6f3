"""The SDK's own types read every recorded answer of A2A, without a field that they do not know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from a2a.types import AgentCard, StreamResponse, Task, TaskPushNotificationConfig
from google.protobuf.json_format import MessageToDict, ParseDict

from tests.golden.kinds import FOLDER

RECORDED: dict[str, Any] = json.loads((FOLDER / "answers" / "a2a.json").read_text("utf-8"))
TYPES = {
    "card": AgentCard,
    "task": Task,
    "push": StreamResponse,
    "updates": StreamResponse,
    "config": TaskPushNotificationConfig,
}


@pytest.mark.parametrize("name", [name for name in RECORDED if not name.startswith("error-")])
def test_the_sdk_reads_what_is_recorded(name: str) -> None:
    kind: Any = TYPES[name.partition("-")[0]]
    recorded = RECORDED[name] if isinstance(RECORDED[name], list) else [RECORDED[name]]
    for written in recorded:
        read = ParseDict(written, kind())
        again = ParseDict(MessageToDict(read), kind())
        assert again == read
