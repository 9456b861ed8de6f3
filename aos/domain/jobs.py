"""Holds the messages of the storage queue `aos-jobs`. Entry points: `ArchiveRun`, `read_job`.

An order names what is to be done and holds no words of a person or a model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from aos.domain.codec import decode, encode
from aos.domain.json_writer import write_json

VERSION = 1


class JobError(ValueError):
    """A message of `aos-jobs` that cannot be read. After five deliveries it is a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRun:
    """Write the transcript of an ended run."""

    run_id: str
    conversation_id: str
    type: Literal["ArchiveRun"] = "ArchiveRun"
    version: int = VERSION


def write_job(job: ArchiveRun) -> bytes:
    """Return the body of the order's message."""
    return write_json(encode(job)).encode("utf-8")


def read_job(body: bytes) -> ArchiveRun:
    """Read an order from the body of its message. Raises JobError."""
    try:
        raw: Any = json.loads(body)
        job = decode(ArchiveRun, raw)
    except (ValueError, RecursionError) as error:
        raise JobError(f"not a job: {error}") from error
    if job.version != VERSION:
        raise JobError(f"the job has version {job.version}; this AOS reads version {VERSION}")
    return job
