"""Pauses and resumes AOS over HTTP. Entry point: `OperationRoutes`."""

from __future__ import annotations

from dataclasses import dataclass

import azure.functions as func

from aos.domain.codec import encode
from aos.domain.pause import Pause
from aos.entrypoints.http.responder import Answer, Call, HttpResponder
from aos.entrypoints.http.runs import read_media_type
from aos.services.catalog.pause_switch import PauseSwitch

MAX_PAUSE_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseAnswer:
    """Whether AOS is paused, and by whom, when and why."""

    paused: bool
    pause: Pause | None = None


class OperationRoutes:
    """The routes of the pause switch. Both repeat safely: the first pause stays."""

    def __init__(self, responder: HttpResponder, *, switch: PauseSwitch) -> None:
        self._responder = responder
        self._switch = switch

    async def pause(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/ops/pause"""
        return await self._responder.answer("pause", req, self._pause)

    async def resume(self, req: func.HttpRequest) -> func.HttpResponse:
        """POST /api/ops/resume"""
        return await self._responder.answer("resume", req, self._resume)

    async def _pause(self, call: Call) -> Answer:
        pause = await self._switch.pause(by=call.known_caller.owner, reason=await _read(call))
        return Answer(body=encode(PauseAnswer(paused=True, pause=pause)))

    async def _resume(self, call: Call) -> Answer:
        await self._switch.resume()
        return Answer(body=encode(PauseAnswer(paused=False)))


async def _read(call: Call) -> str:
    """Return the reason in the body. In an emergency none is needed, and no body either."""
    from aos.entrypoints.requests import PauseBody, take_object, validate

    raw = call.request.get_body()
    if not raw:
        return ""
    read_media_type(call, text_too=False)
    return validate(PauseBody, await take_object(raw, max_bytes=MAX_PAUSE_BYTES)).reason or ""
