"""Starts the whole system on this machine: `python -m devhost up`, which `make run` calls. Entry
point: `main`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from aos.adapters.mcp.walls import hide
from devhost.up import up


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devhost", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything; Ctrl-C stops everything")
    start.add_argument(
        "--demo",
        action="store_true",
        help="show the demonstration of the first start, and its second act",
    )
    options = parser.parse_args(arguments)
    hide()
    return up(demo=options.demo)


if __name__ == "__main__":
    raise SystemExit(main())
