"""Says what a client asks of agents, MCP servers and their cards. Entry point: `CardOperations`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aos.client.flows import Flow, Json, Listing, Operation, Pause
from aos.client.paths import make_agent_path, make_server_path
from aos.client.wire import MAX_ITEMS, Call, Sender
from aos.domain.json_writer import write_json

POLL_SECONDS = 0.5


class CardOperations:
    """Reading, uploading and rolling back cards, and the tools of servers."""

    _sender: Sender

    @Listing
    def agents(self, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List all agents with their state."""
        return self._sender.read_pages("/api/agents", limit)

    @Operation
    def agent(self, agent_id: str) -> Flow[Json]:
        """Return an agent: its state, its uploaded card, and its `source_etag`."""
        return self._sender.get(make_agent_path(agent_id))

    @Operation
    def put_agent(
        self,
        agent_id: str,
        card: Mapping[str, Any] | bytes,
        *,
        if_match: str | None = None,
        only_new: bool = False,
        dry_run: bool = False,
    ) -> Flow[Json]:
        """Upload a card and publish it (admins only); return its status.

        `if_match`: the `source_etag` that the stored card must have. `only_new`: no card may exist.
        Raises AosClientError `invalid_card` (its details hold the errors of the status file) or
        `precondition_failed`. With a condition, a call whose answer was lost is not repeated: read
        the card, then decide.
        """
        body = card if isinstance(card, bytes) else encode_card(card)
        path = make_agent_path(agent_id) + ("?dry_run=true" if dry_run else "")
        conditions = {"If-Match": if_match, "If-None-Match": "*" if only_new else None}
        return self._send_change("PUT", path, body, conditions)

    @Operation
    def agent_versions(self, agent_id: str) -> Flow[list[Json]]:
        """List the versions that served under this id, newest first, with digests (admins only)."""
        return self._sender.collect(f"{make_agent_path(agent_id)}/versions")

    @Operation
    def rollback_agent(
        self, agent_id: str, digest: str, *, if_match: str | None = None
    ) -> Flow[Json]:
        """Upload an earlier version again (admins only); return the status."""
        body = write_json({"digest": digest}).encode()
        return self._send_change(
            "POST", f"{make_agent_path(agent_id)}/rollback", body, {"If-Match": if_match}
        )

    @Operation
    def delete_agent(self, agent_id: str, *, if_match: str | None = None) -> Flow[None]:
        """Delete an agent's card (admins only). Running runs finish; its versions stay."""
        yield from self._send_change(
            "DELETE", make_agent_path(agent_id), None, {"If-Match": if_match}
        )

    @Listing
    def mcp_servers(self, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List the cards of all MCP servers with their state."""
        return self._sender.read_pages("/api/mcp-servers", limit)

    @Operation
    def mcp_server(self, server_id: str) -> Flow[Json]:
        """Return an MCP server: its state, its uploaded card, and its `source_etag`."""
        return self._sender.get(make_server_path(server_id))

    @Operation
    def put_mcp_server(
        self,
        server_id: str,
        card: Mapping[str, Any] | bytes,
        *,
        if_match: str | None = None,
        only_new: bool = False,
        dry_run: bool = False,
    ) -> Flow[Json]:
        """Upload the card of an MCP server and publish it (admins only), as `put_agent` does."""
        body = card if isinstance(card, bytes) else encode_card(card)
        path = make_server_path(server_id) + ("?dry_run=true" if dry_run else "")
        conditions = {"If-Match": if_match, "If-None-Match": "*" if only_new else None}
        return self._send_change("PUT", path, body, conditions)

    @Operation
    def delete_mcp_server(self, server_id: str, *, if_match: str | None = None) -> Flow[None]:
        """Delete the card of an MCP server (admins only); its versions stay."""
        yield from self._send_change(
            "DELETE", make_server_path(server_id), None, {"If-Match": if_match}
        )

    @Listing
    def tools(self, *, limit: int = MAX_ITEMS) -> Flow[None]:
        """List all MCP servers as last seen: state, error and tools."""
        return self._sender.read_pages("/api/tools", limit)

    @Operation
    def wait_for_tools(self, server_id: str, *, timeout_seconds: float = 60.0) -> Flow[Json]:
        """Wait until an MCP server's tools are listed; return the server as `tools` has it.

        It is also returned once it has `failed`, and in its current state after `timeout_seconds`.
        """
        end = time.monotonic() + timeout_seconds
        while True:
            servers = yield from self._sender.collect("/api/tools")
            nothing: Json = {"server_id": server_id, "state": None, "tools": []}
            found = next((s for s in servers if s.get("server_id") == server_id), nothing)
            if found.get("state") in ("ready", "failed") or time.monotonic() >= end:
                return found
            yield Pause(POLL_SECONDS)

    def _send_change(
        self, method: str, path: str, body: bytes | None, conditions: Mapping[str, str | None]
    ) -> Flow[Json]:
        given = {name: value for name, value in conditions.items() if value is not None}
        headers = given if body is None else {"Content-Type": "application/json", **given}
        call = Call(method=method, path=path, body=body, headers=headers, repeatable=not given)
        return self._sender.ask(call)


def encode_card(card: Mapping[str, Any]) -> bytes:
    """Return the card as text. AOS itself refuses text that is not UTF-8."""
    text = write_json(card, indent=2, ensure_ascii=False)
    return text.encode(errors="surrogatepass") + b"\n"
