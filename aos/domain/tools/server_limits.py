"""Defines what processes of an MCP server may use, and how they are walled in. Entry point:
`ServerLimits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Isolation: TypeAlias = Literal["auto", "required", "user", "off"]
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The limits of a server.

    Memory, processes and the size of the home hold for all its processes together; open files and
    the size of a written file hold for each process.
    """

    memory_mb: int = 1024
    processes: int = 512
    files: int = 4096
    file_mb: int = 1024
    home_mb: int = 2048

    def convert_to_bytes(self) -> dict[str, int]:
        """Return the limits as the guard reads them.

        The data segment of one process may be twice the memory limit, because runtimes reserve more
        than they use.
        """
        memory = self.memory_mb * MIB
        return {
            "memory": memory,
            "data": 2 * memory,
            "processes": self.processes,
            "files": self.files,
            "file": self.file_mb * MIB,
            "home": self.home_mb * MIB,
        }
