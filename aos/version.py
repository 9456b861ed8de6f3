"""Defines the version of AOS: `__version__`."""

from __future__ import annotations

__version__ = "2.0.0"
