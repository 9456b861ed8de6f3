#!/usr/bin/env python3
"""Is a deployed environment healthy: resources, Service Bus, storage, apps, roles?

`python3 health_check.py --environment dev` needs Python 3.10 and the Azure CLI, nothing else.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an older Python is what this line is for
    sys.exit("health_check.py needs Python 3.10 or newer, this is " + sys.version.split()[0])

from orchestrator.health_cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
