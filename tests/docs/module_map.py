"""Which question does each module answer? `python -m tests.docs.module_map` writes the answer down.

The map is docs/MODULES.md: every module of `aos` and `devhost` with the first line of its
docstring. A test compares; this writes.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from tests.docs.pages import ROOT

MAP = ROOT / "docs" / "MODULES.md"
PACKAGES = ("aos", "devhost")
HEAD = """\
# Modules

Every module, and the one question it answers: the first line of its docstring. Made by
`.venv/bin/python -m tests.docs.module_map`; a test compares it with the code.
"""


def module_map() -> str:
    """The page as it should be."""
    sections = [HEAD]
    for package in PACKAGES:
        rows = [
            f"| `{path.relative_to(ROOT)}` | {question} |"
            for path in sorted((ROOT / package).rglob("*.py"))
            if (question := _question(path))
        ]
        sections.append("\n".join([f"## {package}", "| module | question |", "|---|---|", *rows]))
    return "\n".join(sections) + "\n"


def _question(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


def main() -> int:
    """Write the page; say whether it changed."""
    new = module_map()
    old = MAP.read_text("utf-8") if MAP.exists() else ""
    MAP.write_text(new, "utf-8")
    sys.stdout.write("docs/MODULES.md is as it was\n" if new == old else "docs/MODULES.md: new\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
