"""Calls AOS over HTTP from a Python program. Entry point: `AosClient`.

    client = AosClient(url="http://127.0.0.1:7071")
    run = client.ask("ceo", "What should we do first?", conversation_id="board")
    print(run["output"])

Answers are the JSON objects of docs/contracts/http.md, as dicts. Every call has a time limit. A
call that fails with a transient error is repeated. A repeated run has the same idempotency key, so
it never runs twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from aos.client.address import find_address
from aos.client.card_operations import CardOperations
from aos.client.flows import make_methods
from aos.client.operator_operations import OperatorOperations
from aos.client.people_operations import PeopleOperations
from aos.client.run_operations import ENDED, FOR_PEOPLE, RunOperations
from aos.client.transport import UrllibTransport
from aos.client.wire import RETRY_SECONDS, Sender

__all__ = ["ENDED", "FOR_PEOPLE", "AosClient", "Operations"]


class Operations(RunOperations, PeopleOperations, CardOperations, OperatorOperations):
    """What AosClient and AsyncAosClient do."""


@make_methods
class AosClient(UrllibTransport, Operations):
    """The main app's HTTP API.

    `url` and `key` default to `AOS_URL` and `AOS_KEY`, then to the laptop without a key. Calls are
    repeated for `retry_seconds`. Several threads may use one client. Raises AosClientError with the
    error object of the answer, and AosUnreachable.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        retry_seconds: float = RETRY_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = find_address(url=url, key=key)
        super().__init__(address, sleep=sleep)
        self.url = address.url
        self._sender = Sender(address, retry_seconds=retry_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Keep nothing: no connection outlives its call. A `with` reads like AsyncAosClient's."""
