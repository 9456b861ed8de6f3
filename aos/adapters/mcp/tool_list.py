"""Lists all tools of an MCP server, up to a limit. Entry point: `list_all_tools`.

A tool that does not meet MCP's schema costs no other: what can be read of it is kept, and one that
cannot be called says so in `offered.left_out`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aos.adapters.mcp.masking import Masker
from aos.domain.codec import encode
from aos.domain.json_writer import known_json, write_json
from aos.domain.tools.endpoint_rules import FittedTool
from aos.domain.tools.tool import ToolSchema

if TYPE_CHECKING:
    from aos.adapters.mcp.session import Session

MOST_TOOLS = 2_000
MOST_PAGES = 100
MOST_EMPTY_PAGES = 3
"""After as many pages in a row without a new tool the list has ended, whatever the cursor says."""
MOST_SCHEMA_BYTES = 8 * 1024 * 1024
LONGEST_NAME = 128
_HINTS = {
    "title": str,
    "readOnlyHint": bool,
    "destructiveHint": bool,
    "idempotentHint": bool,
    "openWorldHint": bool,
}
UNTOLD_SECONDS = 5.0
"""How long a server that does not say that it has tools is waited for."""


class NotListable(Exception):
    """The server does not list its tools, or lists too many. The text does not name the server."""


async def list_all_tools(session: Session, masker: Masker) -> list[ToolSchema]:
    """List every tool of the server, each name once. Raises NotListable.

    A server without tools has none. The list ends where a cursor or a page repeats.
    """
    found: dict[str, ToolSchema] = {}
    cursor: str | None = None
    cursors: set[str] = set()
    room = MOST_SCHEMA_BYTES
    empty = 0
    for _ in range(MOST_PAGES):
        page = await _read_page(session, cursor)
        new: dict[str, ToolSchema] = {}
        for place, raw in enumerate(_read_tools(page)):
            tool = _read_tool(session, raw, masker, place=len(found) + place)
            if tool.name not in found:
                new.setdefault(tool.name, tool)
        room -= sum(len(write_json(encode(tool))) for tool in new.values())
        found.update(new)
        if len(found) > MOST_TOOLS or room < 0:
            raise NotListable(
                f"lists more than {MOST_TOOLS:,} tools, or more than 8 MiB of schemas"
            )
        cursor = _read_cursor(page)
        empty = 0 if new else empty + 1
        repeats = cursor in cursors or (page.get("tools") and not new)
        if cursor is None or repeats or empty == MOST_EMPTY_PAGES:
            return list(found.values())
        cursors.add(cursor)
    raise NotListable(f"lists its tools on more than {MOST_PAGES} pages")


async def _read_page(session: Session, cursor: str | None) -> dict[str, Any]:
    """Ask for a page; an empty one where the server has no tools, or no such page."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND

    try:
        async with asyncio.timeout(None if session.has_tools else UNTOLD_SECONDS):
            return await session.list_page(cursor)
    except TimeoutError:
        return {}
    except MCPError as error:
        untold = not session.has_tools and error.code in (INVALID_PARAMS, INVALID_REQUEST)
        unknown = cursor is not None and error.code == INVALID_PARAMS  # the server's own cursor
        if untold or unknown or error.code == METHOD_NOT_FOUND:
            return {}
        raise NotListable(f"does not list its tools: {error}") from error
    except (ValueError, RuntimeError) as error:
        raise NotListable(f"does not list its tools as MCP says: {error}") from error


def _read_tools(page: dict[str, Any]) -> list[Any]:
    tools = page.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise NotListable("does not list its tools: 'tools' is not a list")
    return tools


def _read_cursor(page: dict[str, Any]) -> str | None:
    """Return the cursor of the next page. An empty text is a cursor, too."""
    cursor = page.get("nextCursor")
    return cursor if cursor is None or isinstance(cursor, str) else write_json(cursor)


def _read_tool(session: Session, raw: object, masker: Masker, *, place: int) -> ToolSchema:
    """Read one tool; what is missing or of another type is left empty."""
    told: dict[str, Any] = known_json(raw) if isinstance(raw, dict) else {}
    name, schema = told.get("name"), told.get("inputSchema")
    fault = _find_name_fault(name)
    if fault is not None:
        name = f"(tool {place + 1})" if not isinstance(name, str) else name[:LONGEST_NAME]
    assert isinstance(name, str)
    if isinstance(schema, dict):
        fault = fault or session.find_header_fault(name, schema)
    elif schema is not None:
        fault = fault or "its inputSchema is not an object"
    return ToolSchema(
        name=name,
        description=masker.text(_read_text(told, "description")),
        input_schema=masker.value(schema) if isinstance(schema, dict) else {},
        annotations=masker.value(_read_annotations(told.get("annotations"))),
        offered=None if fault is None else FittedTool(left_out=fault),
    )


def _find_name_fault(name: object) -> str | None:
    if not isinstance(name, str) or not name.strip():
        return "it has no name"
    if len(name) > LONGEST_NAME:
        return f"its name has {len(name):,} characters, the limit is {LONGEST_NAME}"
    return None


def _read_text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""


def _read_annotations(value: object) -> dict[str, Any]:
    """Return MCP's hints that have MCP's types."""
    hints = value if isinstance(value, dict) else {}
    return {name: hints[name] for name, kind in _HINTS.items() if isinstance(hints.get(name), kind)}
