"""Do the packages run under Microsoft's own Python worker? `make worker`, and part of `make test`.

Where this machine has no Python for the worker, the tests are skipped and the end of the run says
so; `make worker` fails then.
"""
