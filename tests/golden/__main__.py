"""Records the golden examples anew: `python -m tests.golden --record`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.golden.every import KINDS
from tests.golden.kinds import FOLDER, record


async def _record() -> None:
    for path in sorted(FOLDER.rglob("*.json")):
        path.unlink()
    for kind in KINDS:
        await record(kind)


def main() -> int:
    """Record, where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--record", action="store_true", required=True)
    parser.parse_args()
    asyncio.run(_record())
    sys.stdout.write(f"{len(KINDS)} files in {FOLDER}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
