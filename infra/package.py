#!/usr/bin/env python3
"""Builds the packages of the three apps: `python infra/package.py` writes build/main|mcp|realm.

Each folder can be published: `cd build/mcp && func azure functionapp publish aos-dev-mcp-func
--python`. Equal sources give equal bytes. A package knows its app and refuses to start on the site
of another one (setting AOS_APP). It is compiled for the Python of the sites if this machine has
that version; otherwise each cold start takes longer.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `infra` is found from here

    from infra.packages.cli import main

    sys.exit(main(sys.argv[1:]))
