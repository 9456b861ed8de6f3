"""Reads and changes cards for admins. Entry point: `CardEditor`.

A change writes the blob in `aos-config` and publishes the catalog at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aos.domain.cards.assessment import Assessment
from aos.domain.cards.catalog import CardVersion, CatalogEntry, CatalogIndex, make_status
from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import MAX_CARD_BYTES, CardKind, digest_of
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.publication import predict_status
from aos.domain.codec import encode
from aos.domain.json_reader import JsonTextError, parse_json
from aos.domain.json_writer import write_json
from aos.errors import OutcomeUnknown, Refused, StaleWrite
from aos.ports.blobs import Blob, BlobMissing, BlobStore
from aos.ports.system import Clock
from aos.services.catalog import storage
from aos.services.catalog.published_catalog import PublishedCatalog
from aos.services.catalog.publisher import CatalogPublisher, PublishOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class CardView:
    """A card as uploaded, its status, and the card that serves.

    `card` None: the upload is not a JSON object. `status` None: the publisher has not listed it
    yet. `serving` is set when another card than the upload serves.
    """

    kind: CardKind
    card_id: str
    etag: str
    digest: str | None
    card: Mapping[str, Any] | None
    status: Mapping[str, Any] | None
    serving: Mapping[str, Any] | None = None

    def make_answer(self) -> dict[str, Any]:
        """The answer of GET: the status's fields, the card, and the card that serves instead."""
        return {
            self.kind.id_field: self.card_id,
            **(self.status or {"state": None, "errors": [], "warnings": []}),
            "digest": self.digest,
            "source_etag": self.etag,
            "card": self.card,
            "serving": self.serving,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSummary:
    """One row of a list of cards."""

    kind: CardKind
    card_id: str
    entry: CatalogEntry

    def make_answer(self) -> dict[str, Any]:
        """Id, whether it is enabled, and the fields of its status."""
        return {
            self.kind.id_field: self.card_id,
            "enabled": self.entry.enabled,
            **make_status(self.entry),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult:
    """What a PUT or a rollback did. `etag` and `outcome` None: a dry run."""

    kind: CardKind
    card_id: str
    digest: str
    status: Mapping[str, Any]
    etag: str | None = None
    created: bool = False
    outcome: PublishOutcome | None = None

    def make_answer(self) -> dict[str, Any]:
        """The answer of PUT: id and the fields of the status."""
        return {self.kind.id_field: self.card_id, **self.status}


class CardEditor:
    """Reads and writes cards in `aos-config`, for admins."""

    def __init__(
        self,
        *,
        config: BlobStore,
        data: BlobStore,
        publisher: CatalogPublisher,
        clock: Clock,
        policy: CardPolicy,
    ) -> None:
        self._config = config
        self._data = data
        self._publisher = publisher
        self._clock = clock
        self._policy = policy
        self._catalog = PublishedCatalog(data)

    async def list(self, kind: CardKind) -> list[CardSummary]:
        """Every card by id, without removed ones."""
        index = await self._read_index()
        return [
            CardSummary(kind=kind, card_id=card_id, entry=entry)
            for card_id, entry in index.list_kind(kind)
            if entry.state != "removed"
        ]

    async def get(self, kind: CardKind, card_id: str) -> CardView:
        """One card. Refused: `agent_not_found`, `agent_removed`, `server_not_found`."""
        blob = await self._read_blob(kind, card_id)
        entry = (await self._read_index()).entry(kind, card_id)
        if blob is None:
            raise _not_found_error(kind, card_id, entry)
        readable = len(blob.body) <= MAX_CARD_BYTES
        digest = digest_of(blob.body) if readable else None
        serving = entry.serving_digest if entry else None
        return CardView(
            kind=kind,
            card_id=card_id,
            etag=blob.etag,
            digest=digest,
            card=_parse_object(blob.body),
            status=make_status(entry) if entry else None,
            serving=await self._read_body(serving) if serving and serving != digest else None,
        )

    async def put(
        self,
        kind: CardKind,
        card_id: str,
        body: bytes,
        *,
        if_match: str | None = None,
        create_only: bool = False,
        dry_run: bool = False,
    ) -> PutResult:
        """Check the card, write it and publish. `if_match` `*`: only if it is there.

        Refused `invalid_card` (its details hold the errors, as in a status file); StaleWrite when
        `if_match` or `create_only` does not hold, in a dry run too.
        """
        assessment, _ = assess_card(body, kind=kind, card_id=card_id, policy=self._policy)
        if assessment.errors or assessment.digest is None:
            raise _invalid_error(kind, card_id, assessment)
        there = await self._read_blob(kind, card_id)
        condition = _choose_etag(kind, card_id, there, if_match, create_only=create_only)
        if dry_run:
            index, now = await self._read_index(), self._clock.now()
            servers = await self._publisher.read_servers()
            key = (kind, card_id)
            status = predict_status(index, key, assessment, now=now, servers=servers)
            return PutResult(kind=kind, card_id=card_id, digest=assessment.digest, status=status)
        etag = await self._write(kind, card_id, body, condition, create_only=create_only)
        outcome = await self._publisher.publish()
        entry = outcome.index.entry(kind, card_id)
        return PutResult(
            kind=kind,
            card_id=card_id,
            digest=assessment.digest,
            status=make_status(entry) if entry else {},
            etag=etag,
            created=there is None,
            outcome=outcome,
        )

    async def delete(
        self, kind: CardKind, card_id: str, *, if_match: str | None = None
    ) -> PublishOutcome:
        """Delete the card's blob and publish; its versions stay, for a rollback.

        Runs that go on finish. Refused as by `get` if there is no card; StaleWrite when `if_match`
        does not hold.
        """
        there = await self._read_blob(kind, card_id)
        if there is None:
            raise _not_found_error(kind, card_id, (await self._read_index()).entry(kind, card_id))
        condition = _choose_etag(kind, card_id, there, if_match, create_only=False)
        name = kind.blob_name(card_id)
        try:
            await self._config.delete(name, if_match=condition)
        except StaleWrite as error:
            raise _stale_error(name) from error
        return await self._publisher.publish()

    async def list_versions(self, kind: CardKind, card_id: str) -> tuple[CardVersion, ...]:
        """The cards that served under this id, newest first, at most 20."""
        entry = (await self._read_index()).entry(kind, card_id)
        if entry is None:
            raise _not_found_error(kind, card_id, entry)
        return entry.history

    async def get_version(
        self, kind: CardKind, card_id: str, digest: str
    ) -> tuple[CardVersion, Mapping[str, Any]]:
        """One version with its card. Refused: `card_version_not_found`."""
        history = await self.list_versions(kind, card_id)
        version = next((one for one in history if one.digest == digest), None)
        card = None if version is None else await self._read_body(digest)
        if version is None or card is None:
            raise _no_version_error(kind, card_id, digest)
        return version, card

    async def rollback(
        self, kind: CardKind, card_id: str, digest: str, *, if_match: str | None = None
    ) -> PutResult:
        """Upload an earlier version again. Refused: `card_version_not_found`, `invalid_card`."""
        history = await self.list_versions(kind, card_id)
        if all(version.digest != digest for version in history):
            raise _no_version_error(kind, card_id, digest)
        try:
            blob = await self._data.read(storage.card_body(digest))
        except BlobMissing as error:
            raise _no_version_error(kind, card_id, digest) from error
        return await self.put(kind, card_id, blob.body, if_match=if_match)

    async def _read_index(self) -> CatalogIndex:
        return (await self._catalog.refresh()).index

    async def _read_blob(self, kind: CardKind, card_id: str) -> Blob | None:
        """The blob, cut one byte after the allowed size; None when it is missing."""
        name = kind.blob_name(card_id)
        try:
            return await self._config.read(name, max_bytes=MAX_CARD_BYTES + 1)
        except BlobMissing:
            return None

    async def _read_body(self, digest: str) -> Mapping[str, Any] | None:
        try:
            blob = await self._data.read(storage.card_body(digest))
        except BlobMissing:
            return None
        return _parse_object(blob.body)

    async def _write(
        self, kind: CardKind, card_id: str, body: bytes, etag: str | None, *, create_only: bool
    ) -> str:
        name = kind.blob_name(card_id)
        try:
            return await self._config.write(name, body, if_match=etag, create_only=create_only)
        except StaleWrite as error:
            raise _stale_error(name) from error
        except OutcomeUnknown:
            now = await self._read_blob(kind, card_id)
            if now is None or now.body != body:
                raise
            return now.etag


def _choose_etag(
    kind: CardKind, card_id: str, there: Blob | None, if_match: str | None, *, create_only: bool
) -> str | None:
    """The ETag for the write; raises StaleWrite when the caller's condition does not hold."""
    name = kind.blob_name(card_id)
    if create_only and there is not None:
        raise _stale_error(name)
    if if_match is None:
        return None
    if there is None or if_match not in ("*", there.etag):
        raise _stale_error(name)
    return there.etag


def _parse_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = parse_json(body, max_bytes=MAX_CARD_BYTES)
    except JsonTextError:
        return None
    return value if isinstance(value, dict) else None


def _stale_error(name: str) -> StaleWrite:
    return StaleWrite(
        f"{name!r} no longer has the ETag you gave; read it again and repeat your change"
    )


def _invalid_error(kind: CardKind, card_id: str, assessment: Assessment) -> Refused:
    errors = [encode(problem) for problem in assessment.errors]
    first = errors[0]
    message = f"{kind.blob_name(card_id)!r}: {first['path']}: {first['message']}; {first['hint']}"
    if len(errors) > 1:
        message += f" (and {len(errors) - 1} more)"
    return Refused("invalid_card", message, errors=errors)


def _not_found_error(kind: CardKind, card_id: str, entry: CatalogEntry | None) -> Refused:
    shown = write_json(card_id[:100], ensure_ascii=False)
    if kind is CardKind.MCP_SERVER:
        return Refused("server_not_found", f"there is no MCP server {shown}")
    if entry is not None:
        return Refused("agent_removed", f"the agent {shown} was removed; upload its card again")
    return Refused("agent_not_found", f"there is no agent {shown}; upload its card")


def _no_version_error(kind: CardKind, card_id: str, digest: str) -> Refused:
    return Refused(
        "card_version_not_found",
        f"{kind.blob_name(card_id)!r} has no version {digest[:64]!r}; see its versions",
    )
