"""Defines the error of this package. Entry point: `PackageError`."""

from __future__ import annotations


class PackageError(Exception):
    """A package cannot be built. The message says what to do."""
