"""Writes the tool calls that a client's history holds as texts. Entry points: `write_calls`,
`write_result`, `write_item`.

A history that comes with a request may hold calls: those of an earlier response, which clients send
back as they got them, or those of another model. The agent reads them as texts, because its own
calls are the ones that AOS has entered.
"""

from __future__ import annotations

from typing import Any

from aos.domain.json_writer import write_json
from aos.entrypoints.http.openai.errors import refuse

UNSAID = frozenset({"reasoning", "mcp_list_tools"})
"""Items that hold nothing that was said: a model's own notes, and lists of tools."""
CALLS = frozenset({"mcp_call", "mcp_approval_request", "function_call", "function_call_output"})


def write_calls(message: dict[str, Any], where: str) -> str:
    """The calls of an assistant's message of a chat, one a line; "" without any."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise refuse(f"{where}.tool_calls", "must be a list", code="invalid_type")
    lines = [_write_function(call, where) for call in calls]
    if message.get("function_call"):
        lines.append(_write_function({"function": message["function_call"]}, where))
    return "\n".join(lines)


def _write_function(call: Any, where: str) -> str:
    called = call.get("function") if isinstance(call, dict) else None
    if not isinstance(called, dict):
        raise refuse(f"{where}.tool_calls", "can only have calls of functions")
    return _write_call(called.get("name"), called.get("arguments"), call.get("id"))


def write_result(name: Any, content: Any) -> str:
    """The result of a call. `name` says which."""
    return f"[result of {_write(name)}: {_write(content)}]"


def write_item(item: dict[str, Any]) -> str:
    """The text of an item of `CALLS`."""
    if item["type"] == "function_call_output":
        return write_result(item.get("call_id"), item.get("output"))
    named = _write_call(item.get("name"), item.get("arguments"), item.get("call_id"))
    if item["type"] != "mcp_call":
        return named
    result = item.get("output") if item.get("error") is None else item.get("error")
    return f"{named}\n{write_result(item.get('name'), result)}"


def _write_call(name: Any, arguments: Any, call_id: Any = None) -> str:
    called = f" as {_write(call_id)}" if call_id else ""
    return f"[call of {_write(name)} with {_write(arguments)}{called}]"


def _write(value: Any) -> str:
    return value if isinstance(value, str) else write_json(value, ensure_ascii=False)
