"""A server of the official SDK that speaks the newest revision: headers, changes, questions.

python newest_server.py stdio | PORT
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

server = MCPServer("newest")
Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@server.tool()
def where(region: Region, what: str) -> str:
    """Say where something is."""
    return f"{what} is in {region}"


@server.tool()
async def grow(context: Context[Any, Any]) -> str:
    """Get another tool, and say so."""

    def added() -> str:
        return "new"

    server.add_tool(added, name="added", description="It is new.")
    await context.notify_tools_changed()
    return "grown"


class Consent(BaseModel):
    sure: bool


@server.tool()
async def ask(context: Context[Any, Any]) -> str:
    """Ask a person first."""
    answer = await context.elicit("Are you sure?", Consent)
    return f"the person said: {answer.action}"


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
