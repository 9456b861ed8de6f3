"""Reads where a Service Bus is, and makes tokens for it. Entry points: `BusAddress.of`,
`BusAddress.make_token`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlsplit

from devhost.functions.bus.errors import BusError
from devhost.functions.connections import Connection
from devhost.functions.errors import HostError

TOKEN_SECONDS = 3600
_PLAIN_PORT, _TLS_PORT = 5672, 5671
_SCOPE = "https://servicebus.azure.net/.default"


class Token(NamedTuple):
    """A token for `$cbs`: its kind, its text, and the epoch second at which it ends."""

    kind: str
    text: str
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BusAddress:
    """A namespace, and a key, a ready token or an identity for it."""

    host: str
    port: int
    tls: bool
    key_name: str = ""
    key: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    client_id: str | None = None
    managed: bool = False

    @classmethod
    def of(cls, connection: Connection) -> BusAddress:
        """Read a connection string or a namespace. Raises HostError naming the setting."""
        if connection.connection_string is None:
            host = str(connection.address).split("//")[-1].strip("/")
            return cls(
                host=host,
                port=_TLS_PORT,
                tls=True,
                client_id=connection.client_id,
                managed=connection.managed,
            )
        parts = _split_parts(connection.connection_string)
        url = urlsplit(parts.get("endpoint", ""))
        local = parts.get("usedevelopmentemulator", "").lower() == "true"
        key, signature = parts.get("sharedaccesskey", ""), parts.get("sharedaccesssignature", "")
        if not url.hostname or not (key or signature):
            raise HostError(
                f"{connection.setting} is not a Service Bus connection string. Write "
                "Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…"
            )
        return cls(
            host=url.hostname,
            port=(url.port or _PLAIN_PORT) if local else _TLS_PORT,
            tls=not local,
            key_name=parts.get("sharedaccesskeyname", ""),
            key=key,
            signature=signature,
        )

    @property
    def is_local(self) -> bool:
        """Whether the broker is on this machine, where attempts to connect may be frequent."""
        return self.host in ("localhost", "127.0.0.1", "::1")

    def audience(self, entity: str) -> str:
        """The address that a token for this entity names."""
        return f"sb://{self.host}/{entity}"

    async def make_token(self, entity: str) -> Token:
        """Make a token for an entity, valid for about an hour. Raises BusError."""
        if self.signature:
            return Token(
                "servicebus.windows.net:sastoken", self.signature, _read_expiry(self.signature)
            )
        if self.key:
            return self._sign_token(self.audience(entity))
        return await self._fetch_identity_token()

    def _sign_token(self, audience: str) -> Token:
        expires = int(time.time()) + TOKEN_SECONDS
        resource = quote_plus(audience)
        digest = hmac.new(self.key.encode(), f"{resource}\n{expires}".encode(), hashlib.sha256)
        signature = quote_plus(base64.b64encode(digest.digest()))
        text = (
            f"SharedAccessSignature sr={resource}&sig={signature}&se={expires}&skn={self.key_name}"
        )
        return Token("servicebus.windows.net:sastoken", text, expires)

    async def _fetch_identity_token(self) -> Token:
        # Only a connection by identity needs this slow import.
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

        credential: Any = (
            ManagedIdentityCredential(client_id=self.client_id)
            if self.managed
            else DefaultAzureCredential(managed_identity_client_id=self.client_id)
        )
        try:
            async with credential:
                token = await credential.get_token(_SCOPE)
        except Exception as error:  # the kinds of credential raise different errors
            reason = " ".join(str(error).split())
            raise BusError("amqp:unauthorized-access", f"no token by identity: {reason}") from error
        return Token("jwt", token.token, int(token.expires_on))


def _split_parts(text: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _read_expiry(signature: str) -> int:
    for part in signature.split("&"):
        name, _, value = part.partition("=")
        if name == "se" and value.isdigit():
            return int(value)
    return int(time.time()) + TOKEN_SECONDS
