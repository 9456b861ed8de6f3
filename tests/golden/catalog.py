"""Records the catalog's files: index, head, marker and status."""

from __future__ import annotations

from typing import Any

from aos.domain.cards.assessment import CardProblem, CardReference
from aos.domain.cards.catalog import CardVersion, CatalogEntry, CatalogIndex, make_status
from aos.domain.cards.catalog_json import (
    CatalogHead,
    head_from_json,
    head_to_json,
    index_from_json,
    index_to_json,
    marker_from_json,
    marker_to_json,
    status_to_json,
)
from aos.domain.cards.identity import CardKind
from aos.domain.pause import Pause
from tests.golden.kinds import Kind
from tests.golden.values import AT, DIGEST

_PROBLEM = CardProblem(path="/purpose", message="fehlt „ganz“", hint="add it")
_FULL_ENTRY = CatalogEntry(
    state="rejected",
    digest=DIGEST,
    source_etag='"0x1"',
    serving_digest=DIGEST[::-1],
    enabled=True,
    catalog_version=6,
    revision=8,
    errors=(_PROBLEM,),
    own_warnings=(_PROBLEM,),
    references=(CardReference(path="/mcp_tools/0", kind=CardKind.MCP_SERVER, card_id="github"),),
    warnings=(_PROBLEM,),
    history=(CardVersion(digest=DIGEST[::-1], catalog_version=5, activated_at=AT),),
)
_WAKING_ENTRY = CatalogEntry(
    state="active",
    digest=DIGEST,
    source_etag='"0x2"',
    serving_digest=DIGEST,
    enabled=True,
    catalog_version=7,
    revision=9,
    history=(CardVersion(digest=DIGEST, catalog_version=7, activated_at=AT),),
    has_schedules=True,
    event_types=("com.example.order",),
)
_MINIMAL_ENTRY = CatalogEntry(state="removed", digest=None, source_etag=None)


async def _write_index(index: CatalogIndex) -> Any:
    digest, body = index_to_json(index)
    return {"name": digest, "body": body.decode()}


async def _read_index(recorded: Any) -> CatalogIndex:
    return index_from_json(recorded["body"].encode())


async def _write_head(head: CatalogHead) -> Any:
    return head_to_json(head).decode()


async def _read_head(recorded: Any) -> CatalogHead:
    return head_from_json(recorded.encode())


async def _write_marker(revision: int) -> Any:
    return marker_to_json(version=7, revision=revision).decode()


async def _read_marker(recorded: Any) -> int:
    return marker_from_json(recorded.encode())


async def _write_status(entry: CatalogEntry) -> Any:
    return status_to_json(make_status(entry)).decode()


CATALOG: tuple[Kind, ...] = (
    Kind(
        name="catalog/index",
        examples={
            "full": CatalogIndex(
                version=7,
                revision=9,
                previous=DIGEST,
                policy=DIGEST,
                published_at=AT,
                entries={
                    (CardKind.AGENT, "ceo"): _FULL_ENTRY,
                    (CardKind.MCP_SERVER, "github"): _MINIMAL_ENTRY,
                },
            ),
            "waking": CatalogIndex(
                version=7, revision=9, entries={(CardKind.AGENT, "ceo"): _WAKING_ENTRY}
            ),
            "minimal": CatalogIndex(),
        },
        write=_write_index,
        read=_read_index,
    ),
    Kind(
        name="catalog/head",
        examples={
            "full": CatalogHead(version=7, revision=9, index=DIGEST, published_at=AT),
            "paused": CatalogHead(
                version=7,
                revision=9,
                index=DIGEST,
                pause=Pause(by="ops", paused_at=AT, reason="a bad card"),
            ),
            "minimal": CatalogHead(version=0, revision=0, index=DIGEST),
        },
        write=_write_head,
        read=_read_head,
    ),
    Kind(
        name="catalog/marker",
        examples={"full": 9, "minimal": 0},
        write=_write_marker,
        read=_read_marker,
    ),
    Kind(
        name="catalog/status",
        examples={"full": _FULL_ENTRY, "minimal": _MINIMAL_ENTRY},
        write=_write_status,
    ),
)
