"""Defines one page of a list, for ports and services alike. Entry point: `Page`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list. `next` gets the next page; None means that this is the last."""

    items: list[T]
    next: str | None = None
