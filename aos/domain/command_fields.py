"""Adds the fields that all commands have on the bus. Entry points: `CommandFields`, a base class of
commands, and `RequestFields` of those that carry an admitted request."""

from __future__ import annotations

from typing import Any, Protocol

from aos.domain.codec import ShapeError
from aos.domain.runs.run import AdmittedRequest

VERSION = 1
BESIDE_REQUEST = ("owner", "admitted_at", "catalog_version")
"""The fields of a request that the contract puts beside it in the envelope."""


class _Command(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def command_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...


class CommandFields:
    """Writes the common fields first, then the command's own."""

    __slots__ = ()

    def after_encode(self: _Command, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the object as an envelope."""
        return {
            "version": VERSION,
            "type": self.type,
            "command_id": self.command_id,
            "run_id": self.run_id,
            "conversation_id": self.conversation_id,
            "attempt": self.attempt,
            **raw,
        }

    @classmethod
    def before_decode(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an envelope. Raises ValueError if this version cannot read it."""
        if raw.get("version", VERSION) != VERSION:
            raise ShapeError(f": envelope version {raw['version']!r} is not {VERSION}")
        return raw


class RequestFields(CommandFields):
    """Writes `request` without the fields that the envelope holds beside it."""

    __slots__ = ()
    request: AdmittedRequest

    @property
    def run_id(self) -> str:
        """The run that the command is about."""
        return self.request.run_id

    @property
    def conversation_id(self) -> str:
        """The session of the command."""
        return self.request.conversation_id

    def after_encode(self: Any, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the object as an envelope."""
        request = raw.pop("request")
        beside = {name: request.pop(name) for name in BESIDE_REQUEST}
        return CommandFields.after_encode(self, {"request": request, **beside, **raw})

    @classmethod
    def before_decode(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an envelope with the whole request."""
        raw = super().before_decode(raw)
        request = raw.get("request")
        if not isinstance(request, dict):
            return raw
        if missing := [name for name in BESIDE_REQUEST if name not in raw]:
            raise ShapeError(f" lacks {', '.join(missing)}")
        return {**raw, "request": request | {name: raw[name] for name in BESIDE_REQUEST}}
