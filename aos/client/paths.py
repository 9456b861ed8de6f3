"""Makes the paths of AOS's API. Entry points: `make_agent_path`, `make_run_path`."""

from __future__ import annotations

from urllib.parse import quote, urlsplit


def quote_part(text: str) -> str:
    """Return the text as one segment of a path."""
    return quote(text, safe="")


def make_agent_path(agent_id: str) -> str:
    """Return the path of an agent."""
    return f"/api/agents/{quote_part(agent_id)}"


def make_server_path(server_id: str) -> str:
    """Return the path of an MCP server."""
    return f"/api/mcp-servers/{quote_part(server_id)}"


def make_run_path(run_id: str) -> str:
    """Return the path of a run."""
    return f"/api/runs/{quote_part(run_id)}"


def strip_host(url: str) -> str:
    """Keep only path and query: behind a proxy the host may differ, and the key is for this host
    only.

    The path begins with a slash: `@other/x` after the address would name another host.
    """
    parts = urlsplit(url)
    return f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")
