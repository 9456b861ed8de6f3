"""Why can a package not be made?"""

from __future__ import annotations


class PackageError(Exception):
    """What is wrong and what to do about it, in one sentence."""
