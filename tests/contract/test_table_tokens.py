"""Are tables called with a valid token of the app's identity, whatever the service says of it?

Tokens go over HTTPS only. The test's transport takes the seal off on the last step; everything
before it is the SDK's and ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AioHttpTransport

from aos.adapters.tables import TableAccount
from aos.adapters.tables.account import Table, TableClients, Write
from aos.errors import AosError, OutcomeUnknown, TransientError
from tests.contract.table_stand_ins import Reply, replying

SEALED = "https://some.table.core.windows.net"
CHALLENGE = (
    "Bearer authorization_uri=https://login.microsoftonline.com/tenant-1/oauth2/authorize"
    " resource_id=https://storage.azure.com"
)
ROW = {"PartitionKey": "p", "RowKey": "r"}


class _Identity:
    """Gives token 1, 2, … valid for `seconds`; writes down what it was asked for."""

    def __init__(self, **options: Any) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.seconds = 3600.0
        self.is_away = False
        self.closed = False

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        if self.is_away:
            raise ClientAuthenticationError("no identity answers")
        self.asked.append((scopes[0], options.get("tenant_id")))
        return AccessToken(str(len(self.asked)), int(time.time() + self.seconds))

    async def close(self) -> None:
        self.closed = True


class _Service:
    """Tables that take the tokens in `good`; which tokens they were shown."""

    def __init__(self) -> None:
        self.good = {"Bearer 1"}
        self.challenge: str | None = CHALLENGE
        self.shown: list[str] = []

    async def answer(self, request: web.Request, number: int) -> web.Response:
        self.shown.append(request.headers["Authorization"])
        if self.shown[-1] in self.good:
            return web.Response(status=204, headers={"ETag": '"1"'})
        headers = {} if self.challenge is None else {"WWW-Authenticate": self.challenge}
        body = {"odata.error": {"code": "AuthenticationFailed", "message": {"value": "expired"}}}
        return web.json_response(body, status=401, headers=headers)


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> _Identity:
    made = _Identity()
    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", lambda **_: made)
    return made


@pytest.fixture
def service() -> _Service:
    return _Service()


@pytest.fixture
async def table(
    service: _Service, identity: _Identity, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Table]:
    reply: Reply = service.answer
    async with replying(reply) as stub:
        bare = stub.url.rpartition("/")[0]

        class Unsealing(AioHttpTransport):
            async def send(self, request: Any, **options: Any) -> Any:
                sealed, request.url = request.url, request.url.replace(SEALED, bare)
                try:
                    return await super().send(request, **options)
                finally:
                    request.url = sealed

        monkeypatch.setattr("azure.core.pipeline.transport.AioHttpTransport", Unsealing)
        clients = TableClients(TableAccount(account_name="some"))
        try:
            yield Table(clients, "some")
        finally:
            await clients.close()
    assert identity.closed


async def test_one_token_serves_many_calls(
    table: Table, service: _Service, identity: _Identity
) -> None:
    await table.put(ROW)
    await table.put(ROW)
    assert service.shown == ["Bearer 1", "Bearer 1"]
    assert identity.asked == [("https://storage.azure.com/.default", None)]


async def test_a_token_that_ends_soon_is_renewed_before_it_is_shown(
    table: Table, service: _Service, identity: _Identity
) -> None:
    service.good = {"Bearer 1", "Bearer 2"}
    identity.seconds = 60.0
    await table.put(ROW)
    await table.put(ROW)
    assert service.shown == ["Bearer 1", "Bearer 2"]


async def test_a_challenge_is_answered_with_a_token_of_its_tenant_and_the_write_is_made(
    table: Table, service: _Service, identity: _Identity
) -> None:
    service.good = {"Bearer 2"}
    assert await table.insert(ROW) == '"1"'
    await table.delete("p", "r")
    assert service.shown == ["Bearer 1", "Bearer 2", "Bearer 2"]
    assert identity.asked[1] == ("https://storage.azure.com/.default", "tenant-1")


async def test_a_token_refused_without_a_challenge_is_not_shown_again(
    table: Table, service: _Service
) -> None:
    service.challenge, service.good = None, {"Bearer 2"}
    with pytest.raises(TransientError, match=r"refused \(401 AuthenticationFailed\)"):
        await table.put(ROW)
    await table.put(ROW)
    assert service.shown == ["Bearer 1", "Bearer 2"]


async def test_an_identity_that_is_never_accepted_is_refused_access(
    table: Table, service: _Service
) -> None:
    service.good = set()
    with pytest.raises(TransientError, match="Storage Table Data Contributor") as raised:
        await table.transact([Write(entity=ROW), Write(entity={**ROW, "RowKey": "2"})])
    assert not isinstance(raised.value, OutcomeUnknown)
    assert service.shown == ["Bearer 1", "Bearer 2"]


async def test_no_token_is_refused_access_and_the_next_call_asks_again(
    table: Table, service: _Service, identity: _Identity
) -> None:
    identity.is_away = True
    with pytest.raises(AosError, match="Storage Table Data Contributor") as raised:
        await table.put(ROW)
    assert isinstance(raised.value, TransientError)
    assert not isinstance(raised.value, OutcomeUnknown)
    identity.is_away = False
    await table.put(ROW)
    assert service.shown == ["Bearer 1"]
