"""Serves one client: SASL, its grants, and the links that it opens. Entry point:
`ClientConnection`.

What is sent in one pass of the event loop leaves in one write, after the changes of that pass are
on disk.
"""

from __future__ import annotations

from devhost.amqp import performatives as p
from devhost.amqp.connection import Connection, Limits, encode_sasl
from devhost.amqp.errors import CONNECTION_FORCED
from devhost.amqp.frames import AMQP_HEADER, SASL_HEADER, ProtocolHeader
from devhost.amqp.link import Link, LinkRefused
from devhost.amqp.sasl import AUTHENTICATION_FAILED, OK, SaslInit, SaslMechanisms, SaslOutcome
from devhost.amqp.session import Session
from devhost.servicebus.broker import Broker
from devhost.servicebus.claims import log_refusal
from devhost.servicebus.errors import UNAUTHORIZED, BusError, TokenError
from devhost.servicebus.grants import Grants
from devhost.servicebus.links import open_link

LIMITS = Limits(max_frame_size=65_536, channel_max=4_999, idle_seconds=240, silence_seconds=240)
TOKEN_TIMEOUT_MS = 20_000
"""How long a connection may be open without a valid token, as in Azure."""
MECHANISMS = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")
_SASL, _AMQP = 3, 0


class ClientConnection(Connection):
    """One client. It is in the set `connected` as long as its socket is open."""

    def __init__(self, broker: Broker, *, connected: set[ClientConnection]) -> None:
        super().__init__(broker.container_id, LIMITS, plan_write=broker.commit.at_end)
        self._broker = broker
        self._connected = connected
        self._grants = Grants(broker)
        connected.add(self)

    def refuse(self, refusal: BusError) -> None:
        """Close the connection with a reason."""
        self.close(self._broker.error(refusal))

    def close_for_shutdown(self) -> None:
        """Close the connection because the Service Bus stops."""
        self.refuse(BusError(CONNECTION_FORCED, "The Service Bus is shutting down."))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol: the locks of its sessions end too."""
        self._connected.discard(self)
        super().connection_lost(exc)

    def on_header(self, header: ProtocolHeader) -> None:
        """Offer SASL, or answer with AMQP's header; hang up on any other protocol."""
        if header == ProtocolHeader(_SASL, (1, 0, 0)):
            self.send_encoded(SASL_HEADER)
            self.send_encoded(encode_sasl(SaslMechanisms(list(MECHANISMS))))
        else:
            self.send_encoded(AMQP_HEADER)
            if header != ProtocolHeader(_AMQP, (1, 0, 0)):
                self.hang_up()

    def on_sasl(self, performative: object) -> None:
        """Check the key that PLAIN brings; after other mechanisms a token is put to `$cbs`."""
        if not isinstance(performative, SaslInit):
            return
        known = performative.mechanism in MECHANISMS
        if performative.mechanism == "PLAIN":
            known = self._grant_plain(performative.initial_response or b"")
        self.send_encoded(encode_sasl(SaslOutcome(OK if known else AUTHENTICATION_FAILED)))
        if not known:
            self.hang_up()

    def on_opened(self) -> None:
        """Give the client some time to say who it is."""
        agenda = self._broker.agenda
        agenda.at(agenda.now_ms() + TOKEN_TIMEOUT_MS, self._expect_token)

    def open_link(self, session: Session, attach: p.Attach) -> Link:
        """See Connection."""
        try:
            return open_link(session, attach, self._broker, self._grants)
        except BusError as refusal:
            raise LinkRefused(self._broker.error(refusal)) from refusal

    def _grant_plain(self, response: bytes) -> bool:
        try:
            _, name, key = response.decode().split("\0")
            self._grants.put(self._broker.policies.check_key(name, key))
        except TokenError as error:
            log_refusal(401, str(error))
            return False
        except ValueError:
            log_refusal(401, "SASL PLAIN must bring the name of a policy and its key.")
            return False
        return True

    def _expect_token(self) -> None:
        if not self.is_closing and not self._grants:
            seconds = TOKEN_TIMEOUT_MS // 1_000
            reason = f"No valid token was put to $cbs within {seconds} s."
            self.refuse(BusError(UNAUTHORIZED, reason))
