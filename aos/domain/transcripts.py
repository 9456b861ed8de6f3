"""Names the blobs of transcripts in the container `aos-logs`. Entry points:
`make_transcript_folder`, `make_transcript_name`."""

from __future__ import annotations

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
