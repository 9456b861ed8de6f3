"""What does `make run` do, from the first line to "Ctrl-C stops everything"?"""

from __future__ import annotations

from devhost.laptop import Laptop

__all__ = ["Laptop"]
