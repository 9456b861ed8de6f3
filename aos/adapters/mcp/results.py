"""Turns an MCP tool result into an outcome: the text for the model, and the parts kept beside it.
Entry point: `read_outcome`.

A result that does not meet MCP's schema or the tool's `outputSchema` is read as far as it can be:
the call has been made, and a model that is told nothing of it would make it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aos.adapters.mcp.masking import Masker
from aos.domain.json_writer import known_json, write_json
from aos.domain.tools.tool import ToolOutcome, cut_for_model

MOST_PARTS_BYTES = 4 * 1024 * 1024
"""The most bytes of all parts of one result, as JSON."""
MOST_UNKNOWN = 4_000
"""The most characters of content of an unknown kind that the model reads."""
_KNOWN = frozenset({"content", "structuredContent", "isError", "resultType", "_meta"})


class NotReadable(Exception):
    """The answer cannot be read as the result of a call, which may have been made."""


class AsksFirst(Exception):
    """The answer asks for something before the call goes on: it has not ended."""


def read_outcome(raw: Mapping[str, Any], masker: Masker) -> ToolOutcome:
    """Build the outcome of a call that the server answered. Raises NotReadable."""
    result = known_json(raw)
    _refuse_tasks(result)
    content = result.get("content")
    if content is not None and not isinstance(content, list):
        raise NotReadable(f"gave an answer that is not valid MCP: content is {show(content)}")
    structured = result.get("structuredContent")
    texts, parts = _read_blocks(content or [], masker)
    others = {name: value for name, value in result.items() if name not in _KNOWN}
    if content is None and structured is None and others:
        texts.append(show(others))
    if structured is not None and not _is_told(structured, texts):
        texts.append(write_json(structured, ensure_ascii=False))
    return ToolOutcome(
        outcome="error" if result.get("isError") in (True, "true") else "ok",
        content=cut_for_model(masker.text("\n".join(texts))),
        parts=tuple(parts),
    )


def _refuse_tasks(result: Mapping[str, Any]) -> None:
    """Refuse a task of the older revision, which AOS has not asked for."""
    if result.get("resultType") == "task" or ("task" in result and "content" not in result):
        raise NotReadable("began a task that AOS cannot follow")


def describe_links(data: Any) -> str:
    """Name the addresses that a person must visit first, where an error has them."""
    listed = data.get("elicitations") if isinstance(data, dict) else None
    links = [
        item["url"]
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, dict) and isinstance(item.get("url"), str)
    ]
    return f" (a person must visit {', '.join(links)} first)" if links else ""


def _read_blocks(blocks: Sequence[Any], masker: Masker) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the text of each content block, and those that are kept as parts."""
    texts: list[str] = []
    parts: list[dict[str, Any]] = []
    room = MOST_PARTS_BYTES
    for block in blocks:
        text = _describe_block(block)
        texts.append(text)
        if not isinstance(block, dict) or block.get("type") == "text":
            continue
        part = {name: value for name, value in block.items() if value is not None}
        room -= len(write_json(part))
        if room < 0:
            texts[-1] = f"{text} (not kept: the parts of one result may have at most 4 MiB)"
        else:
            parts.append(masker.value(part))
    return texts, parts


def _describe_block(block: Any) -> str:
    """Return the text for the model that describes one content block."""
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return show(block)
    match block.get("type"):
        case "text" if isinstance(block.get("text"), str):
            return str(block["text"])
        case "image" | "audio" as kind if isinstance(block.get("data"), str):
            size = len(block["data"]) * 3 // 4
            return f"[{kind}: {block.get('mimeType') or 'no type'}, about {size:,} bytes]"
        case "resource_link":
            return f"[resource: {block.get('name')}, {block.get('uri')}]"
        case "resource" if isinstance(block.get("resource"), dict):
            return _describe_resource(block["resource"])
        case _:
            return show(block)


def _describe_resource(held: Mapping[str, Any]) -> str:
    text, blob = held.get("text"), held.get("blob")
    if isinstance(text, str):
        return f"[resource: {held.get('uri')}]\n{text}"
    size = len(blob if isinstance(blob, str) else "") * 3 // 4
    return (
        f"[resource: {held.get('uri')}, {held.get('mimeType') or 'no type'}, about {size:,} bytes]"
    )


def _is_told(structured: Any, texts: Sequence[str]) -> bool:
    """Whether the texts say all of the structured data.

    Servers repeat it as JSON, or, where it has one field, the field's value: as a text, as JSON, or
    as one block for each item of a list.
    """
    values = [structured]
    if isinstance(structured, dict) and len(structured) == 1:
        values += structured.values()
    whole = "\n".join(texts)
    return any(
        value == whole
        or value == _read_json(whole)
        or any(text == value or _read_json(text) == value for text in texts)
        or (isinstance(value, list) and bool(value) and _are_items(value, texts))
        for value in values
    )


def _are_items(value: Sequence[Any], texts: Sequence[str]) -> bool:
    return len(value) == len(texts) and all(
        item == text or item == _read_json(text) for item, text in zip(value, texts, strict=True)
    )


_NOT_JSON = object()


def _read_json(text: str) -> Any:
    try:
        return known_json(json.loads(text))
    except (ValueError, RecursionError):
        return _NOT_JSON


def show(value: Any) -> str:
    """Show content of an unknown kind as JSON."""
    text = write_json(value, ensure_ascii=False)
    return text if len(text) <= MOST_UNKNOWN else f"{text[:MOST_UNKNOWN]}…"
