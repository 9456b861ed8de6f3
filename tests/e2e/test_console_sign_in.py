"""The console behind App Service Authentication: nobody is asked for a key.

The local Functions host refuses the headers by which the platform says who signed in, as Azure's
front does with those of clients. So the boundary here is that front: a stand-in for it, in this
process, answers `/.auth/login/aad`, refuses with 401 who has no session, and otherwise sets the
headers and calls main's functions, which are those of function_app.py on a world in memory. A real
Azure front, and the pages of Microsoft's sign-in, are not here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import runpy
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import azure.functions as func
import pytest
from aiohttp import web

import aos.bootstrap
from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld, ScriptedModel
from devhost.laptop import REPOSITORY
from tests.e2e.browsing import Browser, chromium

__all__ = ["chromium"]

SETTINGS = {
    "AZURE_FUNCTIONS_ENVIRONMENT": "Production",
    "AZURE_STORAGE_CONNECTION_STRING__accountName": "account",
    "AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace": "n.servicebus.windows.net",
    "AOS_AUTH": "easyauth",
    "WEBSITE_AUTH_ENABLED": "true",
}
SESSION = "AppServiceAuthSession"
EXCLUDED = ("/api/health", "/api/status", "/api/console")
CARD = {"agent_id": "ceo", "purpose": "Lead."}


class Platform:
    """App Service Authentication before main, on a port of this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.logins: list[str] = []
        self.claims: list[dict[str, str]] | None = None
        """Who is signed in; None: the sign-in lets nobody in."""
        self.port = 0
        self._world = MemoryWorld(model=ScriptedModel("Cash."), settings=SETTINGS)
        monkeypatch.setattr(aos.bootstrap, "main_app", lambda: self._world.main)
        app = runpy.run_path(str(REPOSITORY / "function_app.py"))["app"]
        self._routes = web.Application()
        self._routes.router.add_get("/.auth/login/aad", self._sign_in)
        for function in app.get_functions():
            trigger = function.get_trigger()
            if isinstance(trigger, func.decorators.http.HttpTrigger):
                for method in trigger.methods or ("GET",):
                    name = getattr(method, "value", method)
                    handler = self._guard(function.get_user_function())
                    path = f"/api/{trigger.route}".replace("{*path}", "{path:.*}")
                    self._routes.router.add_route(name, path, handler)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._start())

    def close(self) -> None:
        self._call(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        await self._world.put_agent(CARD)
        self._runner = web.AppRunner(self._routes)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _sign_in(self, request: web.Request) -> web.Response:
        self.logins.append(request.query["post_login_redirect_uri"])
        answer = web.Response(status=302, headers={"Location": self.logins[-1]})
        answer.set_cookie(SESSION, "session")
        return answer

    def _guard(self, function: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            signed_in = self.claims is not None and SESSION in request.cookies
            if not signed_in and not request.path.startswith(EXCLUDED):
                return web.Response(status=401)
            said = json.dumps({"claims": self.claims}).encode()
            more = {"x-ms-client-principal": base64.b64encode(said).decode()} if signed_in else {}
            answer = await function(await _convert(request, more))
            assert not isinstance(answer, StreamedResponse)
            return web.Response(
                status=answer.status_code, body=answer.get_body(), headers=_headers(answer)
            )

        return handle


async def _convert(request: web.Request, more: Mapping[str, str]) -> func.HttpRequest:
    headers = {name.lower(): value for name, value in request.headers.items()} | dict(more)
    return func.HttpRequest(
        request.method,
        str(request.url),
        headers=headers,
        params=dict(request.query),
        route_params=dict(request.match_info),
        body=await request.read(),
    )


def _headers(answer: func.HttpResponse) -> dict[str, str]:
    headers = {name: value for name, value in answer.headers.items()}
    return {"Content-Type": answer.mimetype, **headers}


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    running = Platform(monkeypatch)
    yield running
    running.close()


def sign_in_as(*roles: str) -> list[dict[str, str]]:
    return [{"typ": "oid", "val": "somebody"}, *({"typ": "roles", "val": role} for role in roles)]


def test_a_visitor_is_signed_in_on_the_way_and_asked_for_nothing(
    chromium: Browser, platform: Platform
) -> None:
    platform.claims = sign_in_as("AOS.Admin")
    chromium.open(f"http://127.0.0.1:{platform.port}/api/console#/agents/ceo")
    chromium.see("unchanged")
    assert platform.logins == ["/api/console#/agents/ceo"]
    assert chromium.do("text", css="body").count("asks for a key") == 0
    assert chromium.do("axe") == []
    chromium.do("reload")
    chromium.see("unchanged")
    assert len(platform.logins) == 1


def test_who_is_not_let_in_reads_why_and_is_not_sent_round_in_circles(
    chromium: Browser, platform: Platform
) -> None:
    chromium.open(f"http://127.0.0.1:{platform.port}/api/console#/agents")
    chromium.see("You are not signed in", "Sign in")
    assert chromium.do("axe") == []
    assert len(platform.logins) == 1
    platform.claims = sign_in_as()
    chromium.click("Sign in", role="link")
    chromium.see("ceo")
