#!/usr/bin/env python3
"""How is the state of an environment saved and brought back?

`python infra/backup.py create FOLDER --resource-group rg-aos-prod` and `restore`. Needs what
requirements.txt brings (the Azure SDKs) and, for secrets and `--resource-group`, the Azure CLI.
"""

import sys

from backups.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
