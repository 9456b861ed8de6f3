#!/usr/bin/env python3
"""Saves the state of an environment and restores it.

`python infra/backup.py create FOLDER --resource-group rg-aos-prod` saves, `restore` restores. It
needs the packages of requirements.txt (the Azure SDKs) and, for secrets and `--resource-group`, the
Azure CLI.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `infra` is found from here

    from infra.backups.cli import main

    sys.exit(main(sys.argv[1:]))
