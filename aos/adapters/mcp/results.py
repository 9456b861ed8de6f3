"""Turns an MCP tool result into an outcome: the text for the model, and the parts kept beside it.
Entry point: `read_outcome`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aos.adapters.mcp.masking import Masker
from aos.domain.json_writer import known_json, write_json
from aos.domain.tools.tool import ToolOutcome, cut_for_model

if TYPE_CHECKING:
    import mcp_types as types

MOST_PARTS_BYTES = 4 * 1024 * 1024
"""The most bytes of all parts of one result, as JSON."""


def read_outcome(result: types.CallToolResult, masker: Masker) -> ToolOutcome:
    """Build the outcome of a call that the server answered."""
    texts: list[str] = []
    parts: list[dict[str, Any]] = []
    room = MOST_PARTS_BYTES
    for block in result.content:
        text = _describe_block(block)
        texts.append(text)
        if block.type == "text":
            continue
        part = known_json(block.model_dump(mode="json", by_alias=True, exclude_none=True))
        room -= len(write_json(part))
        if room < 0:
            texts[-1] = f"{text} (not kept: the parts of one result may have at most 4 MiB)"
        else:
            parts.append(masker.value(part))
    if not texts and result.structured_content is not None:
        texts.append(write_json(result.structured_content, ensure_ascii=False))
    return ToolOutcome(
        outcome="error" if result.is_error else "ok",
        content=cut_for_model(masker.text("\n".join(texts))),
        parts=tuple(parts),
    )


def _describe_block(block: types.ContentBlock) -> str:
    """Return the text for the model that describes one content block."""
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            size = len(block.data) * 3 // 4
            return f"[{block.type}: {block.mime_type}, about {size:,} bytes]"
        case "resource_link":
            return f"[resource: {block.name}, {block.uri}]"
        case "resource":
            return _describe_resource(block)


def _describe_resource(block: types.EmbeddedResource) -> str:
    held = block.resource
    text = getattr(held, "text", None)
    if isinstance(text, str):
        return f"[resource: {held.uri}]\n{text}"
    size = len(getattr(held, "blob", "")) * 3 // 4
    return f"[resource: {held.uri}, {held.mime_type or 'no type'}, about {size:,} bytes]"
