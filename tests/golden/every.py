"""Lists every kind of golden example. Entry point: `KINDS`."""

from __future__ import annotations

from tests.golden.a2a import A2A
from tests.golden.answers import ANSWERS
from tests.golden.catalog import CATALOG
from tests.golden.messages import MESSAGES
from tests.golden.rows import ROWS

KINDS = (*MESSAGES, *ROWS, *CATALOG, *ANSWERS, *A2A)
