"""Lists every kind of golden example. Entry point: `KINDS`."""

from __future__ import annotations

from tests.golden.answers import ANSWERS
from tests.golden.catalog import CATALOG
from tests.golden.messages import MESSAGES
from tests.golden.rows import ROWS

KINDS = (*MESSAGES, *ROWS, *CATALOG, *ANSWERS)
