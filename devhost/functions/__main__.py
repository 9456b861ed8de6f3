"""Serves an app from the command line: `python -m devhost.functions APP_FOLDER`. Entry point:
`main`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from pathlib import Path

from aos.adapters.mcp.walls import hide
from devhost.functions.errors import HostError


def main(arguments: list[str] | None = None) -> int:
    """Serve the app until SIGTERM or SIGINT; return 0, or 1 after one line on stderr."""
    options = _make_parser().parse_args(arguments)
    hide()
    # Imports make no garbage, and a start consists mostly of imports; `Host.serve` turns collection
    # on again.
    gc.disable()
    try:
        # Imported here, because azure.functions and aiohttp take half a second, which --help does
        # not need.
        from devhost.functions.host import Host

        host = Host.load(
            options.folder, keys=options.keys, port=options.port, worker=options.worker
        )
        asyncio.run(host.serve(address=options.host, port=options.port))
    except HostError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201  the one line
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.functions",
        description="Serve an Azure Functions app (Python v2 model) on this machine.",
    )
    parser.add_argument("folder", type=Path, help="the folder with function_app.py and host.json")
    parser.add_argument(
        "--port", type=int, default=7071, help="HTTP port (default 7071; 0 chooses a free port)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="HTTP address (default 127.0.0.1)")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help='ask for function keys, from a JSON file {"default": …, "admin": …}; without it '
        "every caller is let in, as with Core Tools",
    )
    parser.add_argument(
        "--worker",
        type=Path,
        metavar="PYTHON",
        help="run the app under Microsoft's worker, which this Python holds (python -m"
        " devhost.worker makes one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
