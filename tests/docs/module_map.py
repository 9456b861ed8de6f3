"""Writes docs/MODULES.md from the docstrings of the modules. Entry point: `module_map`.

`python -m tests.docs.module_map` writes the page. A test compares the page with the code.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from tests.docs.pages import ROOT

MAP = ROOT / "docs" / "MODULES.md"
PACKAGES = ("aos", "devhost", "infra")
HEAD = """\
# Modules

What each module does, and the class or function to begin with: the first paragraph of its
docstring. `.venv/bin/python -m tests.docs.module_map` writes this page; a test compares it with
the code.
"""


def module_map() -> str:
    """Build the text of the page."""
    sections = [HEAD]
    for package in PACKAGES:
        rows = [
            f"| `{path.relative_to(ROOT)}` | {summary} |"
            for path in sorted((ROOT / package).rglob("*.py"))
            if (summary := read_summary(path))
        ]
        sections.append(
            "\n".join([f"## {package}", "| module | what it does |", "|---|---|", *rows])
        )
    return "\n".join(sections) + "\n"


def read_summary(path: Path) -> str:
    """Read the first paragraph of a module's docstring as one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")


def main() -> int:
    """Write the page and report whether it changed."""
    new = module_map()
    old = MAP.read_text("utf-8") if MAP.exists() else ""
    MAP.write_text(new, "utf-8")
    sys.stdout.write(
        "docs/MODULES.md is unchanged\n" if new == old else "docs/MODULES.md was written\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
