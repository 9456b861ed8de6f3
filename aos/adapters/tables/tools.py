"""How are the MCP servers and their tools kept, table `aostools`?

Partition `tools`, a row for each server: what it was last seen to be, written over what was there.
Schemas too large for a row go to the payloads, as all large texts do.
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
"""The folder of their payloads: no conversation can have this id."""
TOOLS_A_TEXT = 50


class AzureToolCatalog:
    """The servers as last seen: a `ToolCatalog`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    async def servers(self) -> list[ServerTools]:
        """Every server, by id. One call, and one a large listing not read lately."""
        rows = await self._table.query("PartitionKey eq @partition", partition=PARTITION)
        read = await self._payloads.wholes(FOLDER, rows)
        return [_server(document) for document in read]

    async def find(self, server_id: str) -> ServerTools | None:
        """One server, or None. One call."""
        entity = await self._table.get(PARTITION, server_id)
        return None if entity is None else await self._read(entity)

    async def put(self, tools: ServerTools) -> None:
        """Write what was seen. One call, and one a large listing."""
        (packed,) = pack([_document(tools)])
        await self._payloads.keep(FOLDER, packed.payloads)
        await self._table.put(packed.entity(PARTITION, tools.server_id))

    async def drop(self, server_id: str) -> None:
        """Forget a server. One call."""
        await self._table.delete(PARTITION, server_id)

    async def _read(self, entity: Entity) -> ServerTools:
        return _server(await self._payloads.whole(FOLDER, entity))


def _document(tools: ServerTools) -> dict[str, Any]:
    """The stored form: tools in texts of fifty, of which large ones are kept as payloads."""
    document = encode(tools)
    schemas = document["tools"]
    texts = [
        write_json(schemas[start : start + TOOLS_A_TEXT], ensure_ascii=False)
        for start in range(0, len(schemas), TOOLS_A_TEXT)
    ]
    return {**document, "tools": texts}


def _server(document: Mapping[str, Any]) -> ServerTools:
    schemas = [schema for text in document["tools"] for schema in json.loads(text)]
    return decode(ServerTools, {**document, "tools": schemas})
