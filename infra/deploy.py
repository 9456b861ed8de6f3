#!/usr/bin/env python3
"""How is an environment of AOS deployed, with gates before and health after?

`python3 deploy.py --help` lists the flags and exit codes; infra/README.md tells what each phase
does. Needs Python 3.10, the Azure CLI with Bicep, and nothing else.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an older Python is what this line is for
    sys.exit("deploy.py needs Python 3.10 or newer, this is " + sys.version.split()[0])

from orchestrator.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
