"""Answers the KQL queries of this repository from rows that were captured. Entry points: `run`,
`make_tables`."""

from tests.kql.query import KqlError, run
from tests.kql.tables import make_tables

__all__ = ["KqlError", "make_tables", "run"]
