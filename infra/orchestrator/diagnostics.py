"""Which lines of what az printed are diagnostics of Bicep?

Bicep ends with 0 when it has warnings, and az adds notices of its own to the same stream. So
neither the exit code nor "stderr is not empty" tells: only the parsed lines do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(
    r"^(?:WARNING: |ERROR: )?(?P<file>\S.*?)\((?P<line>\d+),(?P<column>\d+)\) : "
    r"(?P<level>Error|Warning|Info) (?P<rule>[\w-]+): (?P<text>.*?)(?: \[(?P<url>https?://\S+)\])?$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One thing that Bicep says of one place."""

    file: str
    line: int
    level: str
    rule: str
    text: str

    def __str__(self) -> str:
        """As a line for people: file, line, rule, text."""
        return f"{self.level} {self.file}:{self.line} {self.rule}: {self.text}"


def found_in(text: str) -> list[Diagnostic]:
    """Every diagnostic of a text, each once, in its order."""
    found = [
        Diagnostic(
            file=it["file"],
            line=int(it["line"]),
            level=it["level"],
            rule=it["rule"],
            text=it["text"],
        )
        for it in _LINE.finditer(text.replace("\r", ""))
    ]
    return list(dict.fromkeys(found))
