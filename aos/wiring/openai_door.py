"""Wires the door for clients of OpenAI's API. Entry point: `make_openai_door`."""

from __future__ import annotations

from functools import partial

from aos.entrypoints.http.caller_runs import CallerRuns
from aos.entrypoints.http.openai.chat import Chat
from aos.entrypoints.http.openai.conversations import Conversations
from aos.entrypoints.http.openai.door import OpenAIDoor
from aos.entrypoints.http.openai.models import Models
from aos.entrypoints.http.openai.reading import ResponseReader
from aos.entrypoints.http.openai.responses import Responses
from aos.entrypoints.http.openai.starting import RunStarter
from aos.entrypoints.http.openai.taking import ItemTaker
from aos.entrypoints.http.responder import HttpResponder
from aos.entrypoints.routes import MAIN_ROUTES
from aos.wiring.main_services import MainServices
from aos.wiring.world import World


def make_openai_door(
    responder: HttpResponder,
    *,
    callers: CallerRuns,
    services: MainServices,
    world: World,
    streams: bool,
    max_body_bytes: int,
) -> OpenAIDoor:
    """Make the door. The module is imported at the first request, as the door is."""
    clock, items = world.clock, services.items
    explain = partial(responder.explain, MAIN_ROUTES["openai_door"])
    starter = RunStarter(callers, taker=ItemTaker(callers, items=items, ids=world.ids))
    return OpenAIDoor(
        responder,
        models=Models(services.catalog),
        responses=Responses(
            callers,
            reader=ResponseReader(callers, clock=clock),
            starter=starter,
            explain=explain,
            streams=streams,
        ),
        conversations=Conversations(callers, items=items, clock=clock, ids=world.ids),
        chat=Chat(callers, starter=starter, explain=explain, streams=streams),
        max_body_bytes=max_body_bytes,
    )
