"""Posts webhooks with aiohttp. Entry point: `HttpWebhooks.post`.

The host name is resolved when the connection is made, and the connection goes to an address that
was checked. It follows no redirect, uses no proxy and does not read the answer's body. aiohttp
takes 0.2 s to import, so it loads with the first webhook.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aos.adapters.retry_after import read_retry_after
from aos.domain.cards.hosts import AddressRefused, is_listed_host, require_public
from aos.ports.webhooks import WebhookAnswer

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

LARGEST_HEADER = 8190


class HttpWebhooks:
    """Posts to receivers. `listed_hosts` may have any address."""

    def __init__(self, *, listed_hosts: frozenset[str]) -> None:
        self._listed_hosts = listed_hosts

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> WebhookAnswer:
        """Post once and return the answer, within `seconds`."""
        import aiohttp

        try:
            async with (
                asyncio.timeout(seconds),
                self._open_session(url) as session,
                session.post(
                    url, data=body, headers=dict(headers), allow_redirects=False
                ) as response,
            ):
                return WebhookAnswer(
                    status=response.status,
                    retry_after_seconds=read_retry_after(response.headers, now=datetime.now(UTC)),
                )
        except TimeoutError:
            return WebhookAnswer(fault=f"no answer within {seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return WebhookAnswer(fault=_explain(error))

    def _open_session(self, url: str) -> aiohttp.ClientSession:
        import aiohttp

        is_listed = is_listed_host(urlsplit(url), self._listed_hosts)
        resolver = aiohttp.ThreadedResolver()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver if is_listed else _make_public_resolver(resolver),
                use_dns_cache=False,
                force_close=True,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "AOS"},
            max_field_size=LARGEST_HEADER,
            max_line_size=LARGEST_HEADER,
            trust_env=False,
        )


def _make_public_resolver(inner: AbstractResolver) -> AbstractResolver:
    """Make a resolver that refuses a host unless all its addresses are public.

    aiohttp asks no resolver about a host that is an address; `find_url_problem` has checked those.
    """
    from aiohttp.abc import AbstractResolver

    class Public(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await inner.resolve(host, port, family)
            require_public(host, (entry["host"] for entry in found))
            return found

        async def close(self) -> None:
            await inner.close()

    return Public()


def _explain(error: Exception) -> str:
    """Say why there was no answer, without the URL, which may hold a secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return str(cause)
        cause = cause.__cause__ or getattr(cause, "os_error", None)
    return f"no connection ({type(error).__name__})"
