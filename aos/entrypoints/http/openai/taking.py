"""Asks with the items that wait at a conversation. Entry point: `ItemTaker.start`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from aos.domain.caller import Caller
from aos.domain.runs.added_items import AddedItem
from aos.domain.runs.run_options import MAX_HISTORY, RunOptions, SaidBefore
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.openai.errors import refuse
from aos.entrypoints.http.openai.parameters import missing
from aos.errors import Refused
from aos.ports.system import Ids
from aos.services.added_items import ConversationItems
from aos.services.admission import Admission, RunRequest

Begin: TypeAlias = Callable[[RunRequest, str | None], Awaitable[Admission]]
"""Starts the run of a request under an idempotency key."""


class ItemTaker:
    """Completes requests with the items that wait at their conversations."""

    def __init__(self, callers: CallerRuns, *, items: ConversationItems, ids: Ids) -> None:
        self._callers = callers
        self._items = items
        self._ids = ids

    async def start(
        self, request: RunRequest, begin: Begin, *, caller: Caller, key: str | None, door: str
    ) -> Admission:
        """Start the run of a request that is not a repeat, after the items that wait.

        A request without a message asks what the last item asks.
        """
        assert request.conversation_id is not None
        named = key or self._ids.new_id()
        added = await self._items.take(
            request.conversation_id,
            owner=caller.visible_owner,
            run_id=self._callers.name_run(named, caller=caller, door=door),
        )
        if not added.items:
            if not request.message:
                raise missing("input")
            return await begin(request, key)
        try:
            admission = await begin(_complete(request, added.items), named)
        except Refused:
            await self._items.give_back(added)
            raise
        await self._items.keep_rest(added)
        return admission


def _complete(request: RunRequest, items: Sequence[AddedItem]) -> RunRequest:
    """The request with what waited before what it says. Raises Refused."""
    options = request.options or RunOptions()
    said = [
        SaidBefore(role=item.role, content=item.content, parts=item.parts)
        for item in items
        if item.role != "system"
    ]
    said += options.history
    if request.message:
        said.append(SaidBefore(role="user", content=request.message, parts=request.parts))
    said = _merge(said)
    if not said or said[-1].role != "user":
        raise refuse(
            "input",
            "is missing, and the items that wait at the conversation do not end with a message of"
            " the user",
            code="missing_required_parameter",
        )
    *before, last = said
    told = [item.content for item in items if item.role == "system"]
    return replace(
        request,
        message=last.content,
        parts=last.parts,
        options=replace(
            options,
            history=tuple(before[-MAX_HISTORY:]),
            instructions="\n\n".join(filter(None, (*told, options.instructions))),
        ),
        as_sent=request,
    )


def _merge(said: Sequence[SaidBefore]) -> list[SaidBefore]:
    """Make one message of what the agent said in several: a conversation goes to and fro."""
    merged: list[SaidBefore] = []
    for message in said:
        if merged and message.role == merged[-1].role == "assistant":
            text = f"{merged[-1].content}\n\n{message.content}"
            merged[-1] = replace(merged[-1], content=text)
        else:
            merged.append(message)
    return merged
