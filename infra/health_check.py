#!/usr/bin/env python3
"""Checks the health of a deployed environment: resources, Service Bus, storage, apps, roles.

`python3 health_check.py --environment dev` needs Python 3.10, the Azure CLI, and nothing else.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - this line is for an older Python
    sys.exit("health_check.py needs Python 3.10 or newer; this is " + sys.version.split()[0])

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `infra` is found from here

    from infra.orchestrator.health_cli import main

    sys.exit(main(sys.argv[1:]))
