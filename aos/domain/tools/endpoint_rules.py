"""Changes a listed tool so that model endpoints accept it. Entry point: `fit_tool`.

Endpoints refuse a whole request because of one tool: its schema is not one that they take, or its
description is too long. The rules here mend the tool and note each change; a tool that cannot be
mended is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aos.domain.codec import OMITTED
from aos.domain.json_writer import known_json
from aos.domain.tools.schema_mender import CannotMend, SchemaBudget, SchemaMender

RULES_VERSION = 4
"""Raise it when a rule changes: then the tools of every server are listed again."""
DESCRIPTION_CHARACTERS = 1024
"""OpenAI's limit for a function's description."""

MAX_NOTE = 1_000
"""Characters of one note about a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTool:
    """A tool as it is offered. `notes` list the changes, `left_out` says why it is not offered.

    `renamed` has the server's name of each property that is offered under another.
    """

    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: str | None = field(default=None, metadata=OMITTED)
    renamed: Mapping[str, str] = field(default_factory=dict, metadata=OMITTED)


def fit_tool(
    description: str,
    schema: object,
    *,
    max_description: int = DESCRIPTION_CHARACTERS,
    budget: SchemaBudget | None = None,
) -> FittedTool:
    """The tool as endpoints accept it, with a note for each change. `budget`: what is left for it
    where tools share one."""
    short = cut_description(description, max_description)
    notes = []
    if short != description:
        notes.append(
            f"the description was cut from {len(description):,} to {len(short):,} characters"
        )
    mender = SchemaMender(known_json(schema), budget)
    try:
        parameters = mender.mend_top()
    except CannotMend as error:
        return FittedTool(description=short, notes=tuple(notes), left_out=str(error))
    if mender.changes:
        notes.append("the input schema was simplified: " + ", ".join(sorted(mender.changes)))
    if mender.renamed:
        names = ", ".join(
            f"{own!r} as {as_offered!r}" for as_offered, own in mender.renamed.items()
        )
        notes.append(f"properties are offered under other names: {names}"[:MAX_NOTE])
    return FittedTool(
        description=short, parameters=parameters, notes=tuple(notes), renamed=mender.renamed
    )


def cut_description(text: str, limit: int) -> str:
    """At most `limit` characters, cut after a sentence if one ends in the second half."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    for ends in (("\n", ". ", "! ", "? ", "。", ".\n"), (" ",)):
        found = max((head.rfind(end) + len(end.rstrip()) for end in ends if end in head), default=0)
        if found >= limit // 2:
            return head[:found].rstrip()
    return head.rstrip()
