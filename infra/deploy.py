#!/usr/bin/env python3
"""Deploys an environment of AOS, with checks before and after. The code is in `infra/orchestrator`.

`python3 deploy.py --help` lists the options and exit codes; infra/README.md explains the phases. It
needs Python 3.10, the Azure CLI with Bicep, and nothing else.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - this line is for an older Python
    sys.exit("deploy.py needs Python 3.10 or newer; this is " + sys.version.split()[0])

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `infra` is found from here

    from infra.orchestrator.deploy_cli import main

    sys.exit(main(sys.argv[1:]))
