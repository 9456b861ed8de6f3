"""Asks a node of the broker and waits for its answer. Entry point: `RequestLinks.ask`.

`$management` of an entity (locks) and `$cbs` (claims): one link in each direction; requests and
answers are joined by message id.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, NamedTuple

from devhost.amqp.errors import DecodeError
from devhost.amqp.message import (
    APPLICATION_PROPERTIES,
    Properties,
    encode_composite_section,
    encode_map_section,
    encode_value_section,
    read_body,
    read_map,
    read_properties,
    slice_message,
)
from devhost.amqp.performatives import Source
from devhost.amqp.session import Session
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.links import FIRST, BrokerReceiver, BrokerSender, Delivery

REQUEST_TIMEOUT_SECONDS = 15.0
_CREDIT = 50


class Answer(NamedTuple):
    """The node's answer; `status` as in HTTP."""

    status: int
    description: str
    condition: str
    body: Any


class RequestLinks:
    """A pair of links to one node, opened by the first request."""

    def __init__(self, session: Session, node: str) -> None:
        self._session = session
        self._node = node
        self._waiting: dict[uuid.UUID, asyncio.Future[Answer]] = {}
        self._pair: tuple[BrokerSender, BrokerReceiver] | None = None
        self._reply_to = node if node == "$cbs" else f"{node}-{uuid.uuid4().hex[:12]}"

    async def ask(self, properties: dict[str, Any], body: Any) -> Answer:
        """Send a request and wait for its answer.

        Raises BusError if the node is refused or the connection lost, TimeoutError after
        REQUEST_TIMEOUT_SECONDS.
        """
        message_id = uuid.uuid4()
        request = (
            encode_composite_section(
                Properties(
                    message_id=message_id,
                    reply_to=None if self._node == "$cbs" else self._reply_to,
                )
            )
            + encode_map_section(APPLICATION_PROPERTIES, properties)
            + encode_value_section(body)
        )
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            sender = await self._open_links()
            self._waiting[message_id] = answer
            try:
                sender.send(request)
                return await answer
            finally:
                self._waiting.pop(message_id, None)

    async def _open_links(self) -> BrokerSender:
        pair = self._pair
        if pair is None or any(link.ended.done() for link in pair):
            sender = BrokerSender(self._session, self._node, source=self._reply_to)
            receiver = BrokerReceiver(
                self._session,
                Source(self._node),
                self._on_answer,
                target=self._reply_to,
                settle_mode=FIRST,
                refill=_CREDIT,
            )
            self._pair = pair = (sender, receiver)
            for link in pair:
                link.open()
                link.ended.add_done_callback(self._fail)
        for link in pair:
            await link.wait_attached()
        return pair[0]

    def _fail(self, ended: asyncio.Future[BusError]) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ended.result())

    def _on_answer(self, delivery: Delivery) -> None:
        delivery.link.accept(delivery)
        try:
            sections = slice_message(delivery.payload)
            request_id = read_properties(sections.properties).correlation_id
            fields = read_map(sections.application_properties)
            values = read_body(sections.body).values
        except DecodeError:
            return  # the request times out
        waiting = self._waiting.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(
                Answer(
                    int(fields.get("status-code", fields.get("statusCode", 500))),
                    str(fields.get("status-description", fields.get("statusDescription", ""))),
                    str(fields.get("errorCondition", "")),
                    values[0] if values else None,
                )
            )
