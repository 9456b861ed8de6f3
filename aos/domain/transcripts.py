"""Names and writes transcripts, the blobs of runs in the container `aos-logs`. Entry points:
`make_transcript_name`, `write_transcript`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from aos.domain.codec import encode
from aos.domain.json_writer import write_json
from aos.domain.runs.conversation import Message
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.wire_time import to_wire_time

FOLDER = "transcripts/"


def make_transcript_folder(conversation_id: str) -> str:
    """Return the folder of a conversation's transcripts, one blob for each run.

    A part of the path must not end in a dot, because `..` would lead to another folder.
    """
    folder = conversation_id.rstrip(".")
    dots = len(conversation_id) - len(folder)
    return f"{FOLDER}{folder}{'%2E' * dots}/"


def make_transcript_name(conversation_id: str, run_id: str) -> str:
    """Return the name of a run's transcript."""
    return f"{make_transcript_folder(conversation_id)}{run_id}.jsonl"


def write_transcript(
    request: AdmittedRequest | None, run: Run, messages: Iterable[Message]
) -> bytes:
    """Return the transcript of a run as JSON Lines: its request, its messages, the run object.

    Each line has a `type`. The `body` of the request asks it again when it is sent as the body of
    `POST /api/agents/{agent_id}/run`, without the images and files in `parts`. A request whose row
    is gone has no line.
    """
    lines: list[dict[str, Any]] = []
    if request is not None:
        lines.append(_describe_request(request))
    lines += [{"type": "message", **encode(replace(message, fields=None))} for message in messages]
    lines.append({"type": "run", **encode(run)})
    return "".join(f"{write_json(line)}\n" for line in lines).encode("utf-8")


def _describe_request(request: AdmittedRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message": request.message,
        "conversation_id": request.conversation_id,
        "metadata": request.metadata,
    }
    return {
        "type": "request",
        "run_id": request.run_id,
        "agent_id": request.agent_id,
        "owner": request.owner,
        "door": request.door,
        **({"sent_by": request.sent_by} if request.sent_by else {}),
        "admitted_at": to_wire_time(request.admitted_at),
        "body": body,
        **({"parts": request.parts} if request.parts else {}),
    }
