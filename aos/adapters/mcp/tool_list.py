"""Lists all tools of an MCP server, up to a limit. Entry point: `list_all_tools`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aos.adapters.mcp.masking import Masker
from aos.domain.codec import encode
from aos.domain.json_writer import known_json, write_json
from aos.domain.tools.tool import ToolSchema

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.client.session import ClientSession

MOST_TOOLS = 2_000
MOST_PAGES = 100
MOST_SCHEMA_BYTES = 8 * 1024 * 1024


class NotListable(Exception):
    """The server does not list its tools, or lists too many. The text does not name the server."""


async def list_all_tools(session: ClientSession, masker: Masker) -> list[ToolSchema]:
    """List every tool of the server. Raises NotListable."""
    found: list[ToolSchema] = []
    cursor: str | None = None
    room = MOST_SCHEMA_BYTES
    for _ in range(MOST_PAGES):
        page = await _page(session, cursor)
        for tool in page.tools:
            schema = _read_schema(tool, masker)
            room -= len(write_json(encode(schema)))
            found.append(schema)
        if len(found) > MOST_TOOLS or room < 0:
            raise NotListable(
                f"lists more than {MOST_TOOLS:,} tools, or more than 8 MiB of schemas"
            )
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise NotListable(f"lists its tools on more than {MOST_PAGES} pages")


async def _page(session: ClientSession, cursor: str | None) -> types.ListToolsResult:
    import mcp_types as types
    from mcp.shared.exceptions import MCPError

    params = None if cursor is None else types.PaginatedRequestParams(cursor=cursor)
    try:
        return await session.list_tools(params=params)
    except (MCPError, ValueError, RuntimeError) as error:
        raise NotListable(f"does not list its tools: {error}") from error


def _read_schema(tool: types.Tool, masker: Masker) -> ToolSchema:
    hints = tool.annotations
    return ToolSchema(
        name=tool.name,
        description=masker.text(tool.description or ""),
        input_schema=masker.value(known_json(tool.input_schema)),
        annotations={}
        if hints is None
        else masker.value(
            known_json(hints.model_dump(mode="json", by_alias=True, exclude_none=True))
        ),
    )
