"""Connects to a Service Bus: TCP or TLS, SASL, Open. Entry point: `BrokerConnection.open`."""

from __future__ import annotations

import asyncio
import uuid

from devhost.amqp import performatives as p
from devhost.amqp.connection import Connection, Limits, encode_sasl
from devhost.amqp.errors import CONNECTION_FORCED, DecodeError
from devhost.amqp.frames import AMQP_HEADER, SASL_HEADER, ProtocolHeader
from devhost.amqp.sasl import OK, SaslInit, SaslMechanisms, SaslOutcome
from devhost.functions.bus.address import BusAddress
from devhost.functions.bus.errors import ConnectionLost

OPEN_TIMEOUT_SECONDS = 10.0
LIMITS = Limits(max_frame_size=1_048_576, channel_max=255, idle_seconds=60, silence_seconds=120)
_SASL_PROTOCOL = 3


class BrokerConnection(Connection):
    """A connection of the host to a Service Bus; `lost` is set when it has ended."""

    def __init__(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        name = f"devhost-functions-{uuid.uuid4().hex[:8]}"
        super().__init__(name, LIMITS, plan_write=loop.call_soon, hostname=host)
        self._opened: asyncio.Future[None] = loop.create_future()

    @classmethod
    async def open(cls, address: BusAddress) -> BrokerConnection:
        """Connect. Raises BusError, OSError, or TimeoutError after OPEN_TIMEOUT_SECONDS."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            _, connection = await loop.create_connection(
                lambda: cls(address.host), address.host, address.port, ssl=address.tls or None
            )
            try:
                await connection._opened
            except BaseException:
                connection.abort()
                raise
        return connection

    @property
    def reason(self) -> ConnectionLost:
        """Why the connection has ended."""
        return ConnectionLost.because(self.error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with SASL, as Service Bus requires."""
        super().connection_made(transport)
        self.send_encoded(SASL_HEADER)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        if not self._opened.done():
            self._opened.set_exception(self.reason)

    def on_header(self, header: ProtocolHeader) -> None:
        """Check that the broker speaks AMQP 1.0."""
        if header.version != (1, 0, 0) or header.protocol not in (0, _SASL_PROTOCOL):
            raise DecodeError(f"the broker speaks another protocol: {header}")

    def on_sasl(self, performative: object) -> None:
        """Choose ANONYMOUS: the right to an entity comes from a token put to `$cbs`."""
        if isinstance(performative, SaslMechanisms):
            self.send_encoded(encode_sasl(SaslInit("ANONYMOUS", None, self.hostname)))
        elif isinstance(performative, SaslOutcome):
            if performative.code != OK:
                text = "the broker refuses SASL ANONYMOUS"
                self.close(p.Error("amqp:unauthorized-access", text))
                return
            self.send_encoded(AMQP_HEADER)
            self.send_open()

    def on_opened(self) -> None:
        """See Connection."""
        if not self._opened.done():
            self._opened.set_result(None)

    def on_session_ended(self, error: p.Error | None) -> None:
        """Close the connection: without one of its sessions a pump would wait forever."""
        self.close(error or p.Error(CONNECTION_FORCED, "the broker ended the session"))
