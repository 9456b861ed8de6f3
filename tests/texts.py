"""Makes texts for hypothesis at a price that no health check notices. Entry point: `texts`.

`st.text()` means "what UTF-8 can say", and hypothesis finds that out by encoding all of Unicode
when the first text is drawn: seconds on a busy machine, told as "input generation is slow". All
characters but surrogates are the same ones, and hypothesis knows them at once.
"""

from __future__ import annotations

from hypothesis import strategies as st

_CHARACTERS = st.characters(exclude_categories=["Cs"])


def texts(*, min_size: int = 0, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Any text that UTF-8 can say."""
    return st.text(_CHARACTERS, min_size=min_size, max_size=max_size)  # noqa: TID251
