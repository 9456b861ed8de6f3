"""How does a backup or a restore end when it cannot go on?"""

from __future__ import annotations

DONE, FAILED, USAGE, WOULD_OVERWRITE = 0, 1, 2, 3


class BackupError(Exception):
    """What is wrong, what to do, and the exit code."""

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        """Take a sentence or two, and one of the codes above."""
        super().__init__(message)
        self.code = code
