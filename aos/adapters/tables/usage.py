"""Reads the usage rows of the table `aosusage`. Entry point: `AzureUsage`.

A partition is an agent, or an owner's budget (`owner:<hash>`), which has no usage rows. The agents
are found in the table, so that those whose cards were deleted are found too.
"""

from __future__ import annotations

import asyncio

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.rows import check_schema
from aos.domain.runs.run import Usage
from aos.domain.usage import UsageRow
from aos.ports.usage import FoundUsage

AT_ONCE = 8
MOST_AGENTS = 10_000
OWNERS, AFTER_OWNERS = "owner:", "owner;"


class AzureUsage:
    """The usage. Implements `UsageReader`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def read(
        self, *, first: str, last: str, agent_id: str | None, owner: str | None, most: int
    ) -> FoundUsage:
        """Read the rows of these days. One call for each agent and one for each 1,000 rows; one
        more for each agent if `agent_id` is None."""
        agents = await self._list_agents() if agent_id is None else [agent_id]
        rows: list[UsageRow] = []
        for start in range(0, len(agents), AT_ONCE):
            left = most - len(rows) + 1
            found = await asyncio.gather(
                *(
                    self._read_agent(agent, first, last, owner, limit=left)
                    for agent in agents[start : start + AT_ONCE]
                )
            )
            rows += [row for part in found for row in part]
            if len(rows) > most:
                break
        return FoundUsage(rows=rows[:most], complete=len(rows) <= most)

    async def _list_agents(self) -> list[str]:
        """Find the partitions one after the other: each call skips the rest of the last one."""
        agents: list[str] = []
        after = ""
        for _ in range(MOST_AGENTS):
            found = await self._table.query(
                "PartitionKey gt @after", limit=1, select=["PartitionKey"], after=after
            )
            if not found:
                break
            after = str(found[0]["PartitionKey"])
            if after.startswith(OWNERS):
                after = AFTER_OWNERS
            else:
                agents.append(after)
        return agents

    async def _read_agent(
        self, agent_id: str, first: str, last: str, owner: str | None, *, limit: int
    ) -> list[UsageRow]:
        condition = "PartitionKey eq @agent and RowKey ge @start and RowKey lt @end"
        parameters = {"agent": agent_id, "start": f"day:{first}:", "end": f"day:{last};"}
        if owner is not None:
            condition += " and owner eq @owner"
            parameters["owner"] = owner
        found = await self._table.query(condition, limit=limit, **parameters)
        return [_read_row(entity) for entity in found]


def _read_row(entity: Entity) -> UsageRow:
    """Read a row. Those of earlier versions have neither owner nor model."""
    check_schema(entity)
    return UsageRow(
        agent_id=entity["PartitionKey"],
        day=entity["RowKey"].split(":")[1],
        owner=entity.get("owner"),
        model=entity.get("model"),
        runs=entity["runs"],
        usage=read_usage(entity),
    )


def read_usage(entity: Entity) -> Usage:
    """Read the tokens of a row; those that an older version did not count are 0."""
    return Usage(
        input_tokens=entity["input_tokens"],
        output_tokens=entity["output_tokens"],
        cached_tokens=entity.get("cached_tokens", 0),
        reasoning_tokens=entity.get("reasoning_tokens", 0),
    )
