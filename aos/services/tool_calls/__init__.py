"""Calls tools of MCP servers and lists them, in mcp. Entry points: `ToolCalls`, `ToolListing`,
`ExposedTools`, `CallCanceller`."""

from aos.services.tool_calls.calls import CallLimits, ToolCalls
from aos.services.tool_calls.cancelling import CallCanceller
from aos.services.tool_calls.deliveries import CommandDelivery
from aos.services.tool_calls.exposed_tools import ExposedTools
from aos.services.tool_calls.task_cancelling import TaskCanceller
from aos.services.tool_calls.tool_listing import ToolListing

__all__ = [
    "CallCanceller",
    "CallLimits",
    "CommandDelivery",
    "ExposedTools",
    "TaskCanceller",
    "ToolCalls",
    "ToolListing",
]
