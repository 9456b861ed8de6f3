"""Defines the answer whose body is sent piece by piece. Entry point: `StreamedResponse`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

import azure.functions as func


class StreamedResponse(func.HttpResponse):
    """A response whose body comes from a generator.

    Each piece is sent as soon as it is there. The generator is closed when the client goes away,
    so it must give back what it holds in a `finally`.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        mimetype: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code=200, headers=headers, mimetype=mimetype)
        self.pieces = pieces
