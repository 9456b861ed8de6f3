"""Names the catalog's blobs and calls storage concurrently. Entry points: `card_body`, `for_each`.

`aos-config` holds uploaded cards and status files; `aos-data` holds the published catalog.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from aos.domain.cards.identity import CardKind

T = TypeVar("T")

HEAD = "catalog/head.json"
MARKER = "catalog/statuses.json"


def card_body(digest: str) -> str:
    """A published card, byte for byte as uploaded (`aos-data`)."""
    return f"catalog/cards/{digest}.json"


def index(digest: str) -> str:
    """A published index (`aos-data`)."""
    return f"catalog/index/{digest}.json"


def status(kind: CardKind, card_id: str) -> str:
    """A card's status file (`aos-config`); the id as in the blob's name."""
    return f"status/{kind.value}/{card_id}.json"


async def for_each(items: Iterable[T], do: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Call `do` for every item, at most `at_once` at a time; the first error stops the rest."""
    remaining = iter(items)

    async def work() -> None:
        for item in remaining:
            await do(item)

    workers = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
