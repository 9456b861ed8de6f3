"""Installs Microsoft's worker if it is missing: `python -m devhost.worker`. Entry point: `main`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from devhost.errors import LaptopError
from devhost.laptop import REPOSITORY
from devhost.worker.pythons import NoWorkerPython
from devhost.worker.setup import prepare_worker

NO_PYTHON = 3
"""The exit code if no Python for the worker was found, so that nothing was checked."""


def main(arguments: list[str] | None = None) -> int:
    """Print the worker's Python. Return 3 if no Python for it was found, 1 if it cannot be
    installed."""
    parser = argparse.ArgumentParser(prog="python -m devhost.worker", description=__doc__)
    parser.parse_args(arguments)
    try:
        python = prepare_worker(REPOSITORY, os.environ, lambda line: _say(sys.stderr, line))
    except NoWorkerPython as error:
        _say(sys.stderr, f"NOT CHECKED: {error}")
        return NO_PYTHON
    except (LaptopError, OSError) as error:
        _say(sys.stderr, f"Microsoft's worker cannot be set up: {error}")
        return 1
    _say(sys.stdout, str(python))
    return 0


def _say(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


if __name__ == "__main__":
    raise SystemExit(main())
