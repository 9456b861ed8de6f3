"""Defines the exit codes of backup.py. Entry point: `BackupError`."""

from __future__ import annotations

DONE, FAILED, USAGE, WOULD_OVERWRITE = 0, 1, 2, 3


class BackupError(Exception):
    """A backup or a restore failed. The message says what to do."""

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        """`code` is one of the codes above."""
        super().__init__(message)
        self.code = code
