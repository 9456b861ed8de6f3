"""Serves health, status and the contract of an app. Entry points: `AboutRoutes`,
`ContractRoutes`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import azure.functions as func

from aos.entrypoints.http.callers import AuthMode
from aos.entrypoints.http.responder import Answer, Call, HttpResponder, refuse_method
from aos.entrypoints.routes import MAIN_ROUTES
from aos.errors import Refused
from aos.version import __version__

if TYPE_CHECKING:  # GET /api/status must answer before anything else is imported
    from aos.services.health import Health


class AboutRoutes:
    """Health and status, in all three apps.

    `for_admins` returns what status adds for admins: what this process knows, and the depths of
    queues, which are bounded in time and never fail.
    """

    def __init__(
        self,
        responder: HttpResponder,
        *,
        health: Callable[[], Health],
        environment: str,
        for_admins: Callable[[], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._responder = responder
        self._health = health
        self._environment = environment
        self._for_admins = for_admins

    async def health(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/health"""
        return await self._responder.answer("health", req, self._get_health)

    async def status(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/status"""
        return await self._responder.answer("status", req, self._get_status, at_once=True)

    async def _get_health(self, call: Call) -> Answer:
        report = await self._health().report()
        is_admin = call.caller is not None and call.caller.is_admin
        return Answer(
            status=200 if report.status == "healthy" else 503,
            body=report.make_answer(for_admin=is_admin),
        )

    async def _get_status(self, call: Call) -> Answer:
        """Return the status. Only for admins a dependency is called."""
        body: dict[str, Any] = {"version": __version__, "environment": self._environment}
        if call.caller is not None and call.caller.is_admin:
            body |= await self._for_admins()
        return Answer(body=body)


class ContractRoutes:
    """The contract as documents, and the answer for unknown paths."""

    def __init__(
        self, responder: HttpResponder, *, auth: AuthMode, reply_to: tuple[str, ...]
    ) -> None:
        self._responder = responder
        self._auth = auth
        self._reply_to = reply_to

    async def openapi(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/openapi.json"""
        return await self._responder.answer("openapi", req, self._get_openapi, at_once=True)

    async def schema(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/schemas/{name}.json"""
        return await self._responder.answer("get_schema", req, self._get_schema, at_once=True)

    async def not_found(self, req: func.HttpRequest) -> func.HttpResponse:
        """Answer every request that no other route serves."""
        return await self._responder.answer("z_not_found", req, self._refuse_path, at_once=True)

    async def _get_openapi(self, call: Call) -> Answer:
        from aos.entrypoints.http.openapi import build_openapi

        return Answer(body=build_openapi(auth=self._auth, reply_to=self._reply_to))

    async def _get_schema(self, call: Call) -> Answer:
        from aos.entrypoints.http.openapi import build_schemas

        name, schemas = call.part("name"), build_schemas()
        if name not in schemas:
            raise Refused(
                "schema_not_found",
                f"there is no schema {name[:80]!r}; the schemas are {', '.join(sorted(schemas))}",
            )
        return Answer(body=schemas[name])

    async def _refuse_path(self, call: Call) -> Answer:
        path = call.part("path")
        allowed = {r.method for r in MAIN_ROUTES.values() if r.documented and r.has_path(path)}
        if allowed and call.request.method.upper() not in allowed:
            raise refuse_method(call.request, allowed)
        raise Refused(
            "not_found",
            f"no route serves {call.request.method} /api/{path[:200]}; see GET /api/openapi.json",
        )
