"""Says what a golden example is and where it is recorded. Entry points: `Kind`, `text_of`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures" / "golden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of bytes: example values by name, the product's writer, and its reader if any."""

    name: str
    examples: Mapping[str, Any]
    write: Callable[[Any], Awaitable[Any]]
    read: Callable[[Any], Awaitable[Any]] | None = None

    @property
    def path(self) -> Path:
        """The file that holds its recorded examples."""
        return FOLDER / f"{self.name}.json"


async def text_of(kind: Kind) -> str:
    """The kind's file as the code of today writes it."""
    written = {name: await kind.write(value) for name, value in kind.examples.items()}
    return json.dumps(written, indent=1, ensure_ascii=False) + "\n"


async def record(kind: Kind) -> None:
    """Write the kind's file."""
    text = await text_of(kind)
    kind.path.parent.mkdir(parents=True, exist_ok=True)
    kind.path.write_text(text, encoding="utf-8")


def recorded(kind: Kind) -> Mapping[str, Any]:
    """The examples as they were recorded."""
    examples: dict[str, Any] = json.loads(kind.path.read_text(encoding="utf-8"))
    return examples
