"""Defines the parameters of MCP's requests about tasks. Entry points: `TaskParams`, `UpdateParams`.

Import this module only where MCP is served, because the SDK loads slowly.
"""

from __future__ import annotations

from typing import Any

import mcp_types as types


class TaskParams(types.RequestParams):
    """Which task is meant."""

    task_id: str


class UpdateParams(TaskParams):
    """The answers to what the task asks."""

    input_responses: dict[str, Any] | None = None
