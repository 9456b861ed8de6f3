"""Images and files of a message at both doors: what is taken, stored and shown, what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from aos.domain.runs.attachments import Attachment
from aos.testing import ScriptedModel
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call

CARD = {"agent_id": "ceo", "purpose": "Lead.", "model": "eyes"}
ASK = {"type": "text", "text": "What is this?"}


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


PNG = encode(b"\x89PNG\r\n\x1a\n" + b"pixels")
PDF = encode(b"%PDF-1.7 pages")
IMAGE = {"type": "image", "media_type": "image/png", "data": PNG}
LINK = {"type": "image", "url": "https://example.com/cat.png"}
NOTES = {
    "type": "file",
    "name": "notes.md",
    "media_type": "text/markdown",
    "data": encode("# Grüße".encode()),
}
REPORT = {"type": "file", "name": "a b.pdf", "media_type": "application/pdf", "data": PDF}
ELSEWHERE = {
    "type": "file",
    "name": "big.csv",
    "media_type": "text/csv",
    "url": "https://example.com/big.csv",
}


async def seeing(**settings: str) -> InMemory:
    """Two apps whose model `eyes` can see."""
    apps = InMemory({"AOS_VISION_MODELS": "eyes, other", **settings})
    await apps.put(CARD)
    return apps


async def asked(apps: InMemory, body: object, **more: Any) -> Reply:
    async with apps.pumping():
        return await apps.ask(body, **more)


def shown(model: ScriptedModel, *, place: int = -1) -> tuple[str, tuple[Attachment, ...]]:
    """The last message of a call."""
    message = model.calls[place].messages[-1]
    return message.content, message.attachments


async def list_messages(apps: InMemory, conversation_id: str) -> list[dict[str, Any]]:
    reply = await call(apps.main.conversations.messages, parts={"conversation_id": conversation_id})
    items: list[dict[str, Any]] = reply.body["items"]
    return items


async def test_images_and_files_reach_the_model_and_the_history() -> None:
    apps = await seeing()
    parts = [IMAGE, ASK, NOTES, LINK, REPORT, ELSEWHERE]
    reply = await asked(apps, {"message": parts, "conversation_id": "c"})
    assert (reply.status, reply.body["status"]) == (200, "completed")
    text, attachments = shown(apps.model)
    assert text == (
        "What is this?\n\nFile 'notes.md' (text/markdown):\n# Grüße\n\n"
        "[file 'big.csv': text/csv, at https://example.com/big.csv]"
    )
    assert attachments == (
        Attachment(media_type="image/png", data=PNG),
        Attachment(media_type="image/*", url="https://example.com/cat.png"),
        Attachment(media_type="application/pdf", name="a b.pdf", data=PDF),
    )
    question, answer = await list_messages(apps, "c")
    assert (question["content"], "parts" in answer) == ("What is this?", False)
    assert question["parts"] == [
        {"type": "image", "mimeType": "image/png", "data": PNG},
        {
            "type": "resource",
            "resource": {
                "uri": "file:///notes.md",
                "mimeType": "text/markdown",
                "text": "# Grüße",
            },
        },
        {
            "type": "resource_link",
            "uri": "https://example.com/cat.png",
            "name": "image",
            "mimeType": "image/*",
        },
        {
            "type": "resource",
            "resource": {"uri": "file:///a%20b.pdf", "mimeType": "application/pdf", "blob": PDF},
        },
        {
            "type": "resource_link",
            "uri": "https://example.com/big.csv",
            "name": "big.csv",
            "mimeType": "text/csv",
        },
    ]


async def test_the_queue_takes_them_too() -> None:
    apps = await seeing()
    apps.send({"agent_id": "ceo", "message": [ASK, IMAGE]})
    await apps.settle()
    [reply] = apps.replies()
    assert json.loads(reply.body)["status"] == "completed"
    assert shown(apps.model) == ("What is this?", (Attachment(media_type="image/png", data=PNG),))


async def test_an_image_that_no_row_and_no_message_holds_is_carried_by_payloads() -> None:
    apps = await seeing(AOS_MAX_HTTP_BODY_BYTES="4000000")
    data = encode(b"\xff\xd8\xff" + bytes(range(256)) * 8_000)
    image = {"type": "image", "media_type": "image/jpeg", "data": data}
    for turn in range(2):
        body = {"message": [ASK, image], "conversation_id": "c"}
        assert (await asked(apps, body)).status == 200, turn
    assert shown(apps.model)[1] == (Attachment(media_type="image/jpeg", data=data),)
    earlier = apps.model.calls[1].messages[1]
    shown_again = Attachment(media_type="image/jpeg", data=data, is_earlier=True)
    assert earlier.attachments == (shown_again,)


async def test_the_idempotency_key_covers_the_parts() -> None:
    apps = await seeing()
    key = {"idempotency-key": "k"}
    first = await asked(apps, {"message": [ASK, IMAGE]}, headers=key)
    again = await asked(apps, {"message": [ASK, IMAGE]}, headers=key)
    assert again.body["run_id"] == first.body["run_id"]
    for other in ([ASK], [ASK, LINK], [ASK, IMAGE, IMAGE]):
        reply = await asked(apps, {"message": other}, headers=key)
        assert (reply.status, reply.code) == (422, "idempotency_conflict")


async def test_earlier_images_are_shown_in_the_last_four_messages_only() -> None:
    apps = await seeing()
    for _ in range(6):
        await asked(apps, {"message": [ASK, IMAGE, NOTES], "conversation_id": "c"})
    await asked(apps, {"message": "And now?", "conversation_id": "c"})
    users = [message for message in apps.model.calls[-1].messages if message.role == "user"]
    assert [len(message.attachments) for message in users] == [0, 0, 1, 1, 1, 1, 0]
    assert users[0].content.endswith("\n\n[image: image/png, about 15 bytes, not shown again]")
    assert "# Grüße" in users[0].content
    await asked(apps, {"message": [ASK, IMAGE], "conversation_id": "c"})
    users = [message for message in apps.model.calls[-1].messages if message.role == "user"]
    assert [len(message.attachments) for message in users] == [0, 0, 1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("settings", "card", "taken"),
    [
        ({}, {}, False),
        ({"AOS_VISION_MODELS": "*"}, {}, True),
        ({"AOS_VISION_MODELS": "eyes"}, {}, False),
        ({"AOS_VISION_MODELS": "*"}, {"model": None}, True),
        ({"AOS_VISION_MODELS": "eyes", "AOS_MODEL": "eyes"}, {}, True),
        ({"AOS_VISION_MODELS": "eyes", "AOS_MODEL": "blind"}, {}, False),
        ({"AOS_VISION_MODELS": "eyes"}, {"model": "eyes"}, True),
        ({"AOS_VISION_MODELS": "eyes"}, {"model": "blind"}, False),
        ({"AOS_VISION_MODELS": "eyes"}, {"model": ["blind", "eyes"]}, False),
        ({"AOS_VISION_MODELS": "eyes"}, {"model": "blind", "adapter_name": "eyes"}, True),
        ({"AOS_VISION_MODELS": "eyes"}, {"model": "Eyes"}, False),
    ],
)
async def test_images_and_pdf_files_are_taken_only_for_a_model_that_can_see(
    settings: dict[str, str], card: dict[str, Any], taken: bool
) -> None:
    apps = InMemory(settings)
    given = {name: value for name, value in card.items() if value is not None}
    await apps.put({"agent_id": "ceo", "purpose": "Lead.", **given})
    for part in (IMAGE, LINK, REPORT):
        reply = await asked(apps, {"message": [ASK, part]})
        if taken:
            assert reply.status == 200
            continue
        assert (reply.status, reply.code) == (400, "invalid_request")
        assert "AOS_VISION_MODELS" in reply.message
    assert (await asked(apps, {"message": [ASK, NOTES, ELSEWHERE]})).status == 200
    assert "# Grüße" in shown(apps.model)[0]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("neither data nor url", {"data": None}, "message[1] must have either data or url"),
    ("both", {"url": "https://example.com/"}, "message[1] must have either data or url"),
    ("no media type", {"media_type": None}, "message[1].media_type is missing"),
    ("an SVG image", {"media_type": "image/svg+xml"}, "message[1].media_type is"),
    ("text as an image", {"media_type": "text/plain"}, "write one of image/png"),
    ("a list for data", {"data": [1]}, "message[1].data is a list; write the content in base64"),
    ("no data", {"data": ""}, "message[1].data is not base64"),
    ("not base64", {"data": "%%%%"}, "message[1].data is not base64"),
    ("base64 without its padding", {"data": PNG[:-1]}, "message[1].data is not base64"),
    ("base64 of URLs", {"data": encode(b"\x89PNG\xff\xff")[:-2] + "__"}, "is not base64"),
    ("line breaks", {"data": PNG[:8] + "\n" + PNG[8:]}, "without data: and line breaks"),
    ("a data URL", {"data": f"data:image/png;base64,{PNG}"}, "without data:"),
    ("a JPEG image as PNG", {"data": encode(b"\xff\xd8\xff\xe0")}, "is not a PNG image"),
    ("a PNG image as JPEG", {"media_type": "image/jpeg"}, "is not a JPEG image"),
    ("a PNG image as GIF", {"media_type": "image/gif"}, "is not a GIF image"),
    ("a sound as WebP", {"media_type": "image/webp", "data": encode(b"RIFF0000WAVE")}, "a WebP"),
    ("a page as PDF", {**REPORT, "data": encode(b"<html>")}, "message[1].data is not a PDF file"),
    ("Latin-1", {**NOTES, "data": encode(b"Gr\xfc\xdfe")}, "is not a text in UTF-8"),
    ("bytes as text", {**NOTES, "data": encode(b"a\0b")}, "is not a text in UTF-8"),
    ("a sheet", {**NOTES, "media_type": "application/vnd.ms-excel"}, "message[1].media_type is"),
    ("a file without a name", {**NOTES, "name": None}, "message[1].name is null; write the name"),
    ("a path for a name", {**NOTES, "name": "../a.md"}, "message[1].name is not the name of a"),
    ("a name of two lines", {**NOTES, "name": "a\nb"}, "message[1].name is not the name of a"),
    ("http", {**LINK, "url": "http://example.com/a.png"}, "does not begin with https://"),
    ("a file URL", {**LINK, "url": "file:///etc/passwd"}, "does not begin with https://"),
    ("a data URL for a URL", {**LINK, "url": "data:image/png;base64,AA"}, "begin with https://"),
    ("localhost", {**LINK, "url": "https://localhost/a.png"}, "has a host that is not public"),
    ("a private address", {**LINK, "url": "https://10.0.0.1/a"}, "has a host that is not public"),
    ("metadata", {**LINK, "url": "https://169.254.169.254/x"}, "has a host that is not public"),
    ("an IPv6 address", {**LINK, "url": "https://[::1]/a.png"}, "has a host that is not public"),
    ("an address as a number", {**LINK, "url": "https://2130706433/"}, "that is not public"),
    ("no host", {**LINK, "url": "https:///a.png"}, "has a host that is not public"),
    ("a password", {**LINK, "url": "https://me:pw@example.com/a"}, "user name or password"),
    ("a broken URL", {**LINK, "url": "https://[::1/a.png"}, "message[1].url is not a URL"),
    ("a broken port", {**LINK, "url": "https://example.com:99999/"}, "is not a URL"),
    ("a URL of two lines", {**LINK, "url": "https://example.com/a\nb"}, "is not a URL"),
    ("a long URL", {**LINK, "url": "https://example.com/" + "a" * 2048}, "at most 2048"),
    ("a sound", {"type": "audio"}, 'message[1].type is "audio"; write "text", "image" or "file"'),
    ("no type", {"type": None}, "message[1].type"),
]


@pytest.mark.parametrize(("change", "says"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
async def test_a_part_that_is_not_valid_is_refused_at_both_doors(
    change: dict[str, Any], says: str
) -> None:
    apps = await seeing()
    base = {} if change.get("type") == "file" or ("url" in change and "type" in change) else IMAGE
    body = {"message": [ASK, base | change]}
    reply = await apps.ask(body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert says in reply.message
    apps.send({"agent_id": "ceo", **body})
    await apps.settle()
    [refusal] = apps.replies()
    read = json.loads(refusal.body)
    assert (read["type"], read["error"]["message"]) == ("run.refused", reply.message)
    assert apps.model.calls == []


@pytest.mark.parametrize(
    ("parts", "status", "says"),
    [
        ([IMAGE], 200, ""),
        ([ASK, *[LINK] * 17], 400, "has 17 images and files; send at most 16"),
        ([ASK, *[LINK] * 16], 200, ""),
        ([ASK, *[NOTES] * 12], 413, "the images and files have 108 bytes, the limit is 100"),
        ([ASK, *[NOTES] * 11], 200, ""),
        ([ASK] * 257, 400, "message"),
    ],
)
async def test_count_and_size_of_the_parts_are_limited(
    parts: list[Any], status: int, says: str
) -> None:
    apps = await seeing(AOS_MAX_PART_BYTES="100")
    reply = await asked(apps, {"message": parts})
    assert reply.status == status
    if says:
        assert says in reply.message
