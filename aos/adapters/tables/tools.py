"""Keeps the MCP servers and their tools in the table `aostools`. Entry point: `AzureToolCatalog`.

Partition `tools`, a row for each server with its last known state, which replaces the row before.
Schemas too large for a row are kept as payloads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import pack
from aos.domain.codec import decode, encode
from aos.domain.json_writer import write_json
from aos.domain.tools.tool import ServerTools

PARTITION = "tools"
FOLDER = "~tools"
"""The folder of the payloads. No conversation can have this id."""
TOOLS_A_TEXT = 50


class AzureToolCatalog:
    """The servers as last seen. Implements `ToolCatalog`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def list_servers(self) -> list[ServerTools]:
        """List all servers, ordered by id. One call, and one for each large listing that is not
        cached."""
        rows = await self._table.query("PartitionKey eq @partition", partition=PARTITION)
        read = await self._payloads.wholes(FOLDER, rows)
        return [_read_server(document) for document in read]

    async def find(self, server_id: str) -> ServerTools | None:
        """Return one server, or None. One call."""
        entity = await self._table.get(PARTITION, server_id)
        return None if entity is None else await self._read(entity)

    async def put(self, tools: ServerTools) -> None:
        """Write the server's state. One call, and one if its listing is large."""
        (packed,) = pack([_write_document(tools)])
        await self._payloads.keep(FOLDER, packed.payloads)
        await self._table.put(packed.entity(PARTITION, tools.server_id))

    async def drop(self, server_id: str) -> None:
        """Remove a server. One call."""
        await self._table.delete(PARTITION, server_id)

    async def _read(self, entity: Entity) -> ServerTools:
        return _read_server(await self._payloads.whole(FOLDER, entity))


def _write_document(tools: ServerTools) -> dict[str, Any]:
    """Return the stored form: the tools in texts of fifty each; large ones become payloads."""
    document = encode(tools)
    schemas = document["tools"]
    texts = [
        write_json(schemas[start : start + TOOLS_A_TEXT], ensure_ascii=False)
        for start in range(0, len(schemas), TOOLS_A_TEXT)
    ]
    return {**document, "tools": texts}


def _read_server(document: Mapping[str, Any]) -> ServerTools:
    schemas = [schema for text in document["tools"] for schema in json.loads(text)]
    return decode(ServerTools, {**document, "tools": schemas})
