"""How does one ask a node of the broker something, and get its answer?

`$management` of an entity (locks) and `$cbs` (claims): a link each way, requests and answers
joined by message id.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, NamedTuple

from devhost.amqp.errors import DecodeError
from devhost.amqp.message import (
    APPLICATION_PROPERTIES,
    Properties,
    composite_section,
    map_section,
    read_body,
    read_map,
    read_properties,
    slice_message,
    value_section,
)
from devhost.amqp.performatives import Source
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.links import FIRST, Delivery, Receiver, Sender
from devhost.functions.bus.session import AmqpSession

REQUEST_TIMEOUT_SECONDS = 15.0
_CREDIT = 50


class Answer(NamedTuple):
    """What came back: `status` as in HTTP."""

    status: int
    description: str
    condition: str
    body: Any


class RequestLinks:
    """A pair of links to one node, opened by the first request."""

    def __init__(self, session: AmqpSession, node: str) -> None:
        self._session = session
        self._node = node
        self._waiting: dict[uuid.UUID, asyncio.Future[Answer]] = {}
        self._pair: tuple[Sender, Receiver] | None = None
        self._reply_to = node if node == "$cbs" else f"{node}-{uuid.uuid4().hex[:12]}"

    async def ask(self, properties: dict[str, Any], body: Any) -> Answer:
        """Send a request and wait for its answer.

        Raises BusError if the node is refused or the connection lost, TimeoutError after
        REQUEST_TIMEOUT_SECONDS.
        """
        message_id = uuid.uuid4()
        request = (
            composite_section(
                Properties(
                    message_id=message_id,
                    reply_to=None if self._node == "$cbs" else self._reply_to,
                )
            )
            + map_section(APPLICATION_PROPERTIES, properties)
            + value_section(body)
        )
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            sender = await self._sender()
            self._waiting[message_id] = answer
            try:
                await sender.send(request)
                return await answer
            finally:
                self._waiting.pop(message_id, None)

    async def _sender(self) -> Sender:
        pair = self._pair
        if pair is None or any(link.ended.is_set() for link in pair):
            sender = Sender(self._session, self._node, source=self._reply_to)
            receiver = Receiver(
                self._session,
                Source(self._node),
                self._on_answer,
                target=self._reply_to,
                settle_mode=FIRST,
            )
            for link in (sender, receiver):
                self._session.attach(link)
                link.when_ended(self._fail)
            self._pair = pair = (sender, receiver)
        for link in pair:
            await link.wait_attached()
        if pair[1].credit < _CREDIT // 2:
            pair[1].grant(_CREDIT)
        return pair[0]

    def _fail(self, error: BusError) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)

    def _on_answer(self, delivery: Delivery) -> None:
        delivery.link.accept(delivery)
        try:
            sections = slice_message(delivery.payload)
            request_id = read_properties(sections.properties).correlation_id
            told = read_map(sections.application_properties)
            values = read_body(sections.body).values
        except DecodeError:
            return  # the request times out
        waiting = self._waiting.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(
                Answer(
                    int(told.get("status-code", told.get("statusCode", 500))),
                    str(told.get("status-description", told.get("statusDescription", ""))),
                    str(told.get("errorCondition", "")),
                    values[0] if values else None,
                )
            )
