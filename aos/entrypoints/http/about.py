"""What does an app say about itself over HTTP: health, status, its contract?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import azure.functions as func

from aos.entrypoints.http.callers import AuthMode
from aos.entrypoints.http.calls import Answer, Call, Door
from aos.errors import Refused
from aos.version import __version__

if TYPE_CHECKING:  # GET /api/status comes before anything else is imported
    from aos.services.health import Health


class AboutRoutes:
    """Health and status, in all three apps.

    `for_admins` gives what status says to admins: what this process knows without asking anybody.
    """

    def __init__(
        self,
        door: Door,
        *,
        health: Callable[[], Health],
        environment: str,
        for_admins: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._door = door
        self._health = health
        self._environment = environment
        self._for_admins = for_admins

    async def health(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/health"""
        return await self._door.answer("health", req, self._get_health)

    async def status(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/status"""
        return await self._door.answer("status", req, self._get_status, at_once=True)

    async def _get_health(self, call: Call) -> Answer:
        report = await self._health().report()
        return Answer(status=200 if report.status == "healthy" else 503, body=report.make_answer())

    async def _get_status(self, call: Call) -> Answer:
        """Asks no dependency."""
        body: dict[str, Any] = {"version": __version__, "environment": self._environment}
        if call.caller is not None and call.caller.is_admin:
            body |= self._for_admins()
        return Answer(body=body)


class ContractRoutes:
    """The contract as documents, and the answer for what is not in it."""

    def __init__(self, door: Door, *, auth: AuthMode, reply_to: tuple[str, ...]) -> None:
        self._door = door
        self._auth = auth
        self._reply_to = reply_to

    async def openapi(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/openapi.json"""
        return await self._door.answer("openapi", req, self._openapi, at_once=True)

    async def schema(self, req: func.HttpRequest) -> func.HttpResponse:
        """GET /api/schemas/{name}.json"""
        return await self._door.answer("get_schema", req, self._schema, at_once=True)

    async def not_found(self, req: func.HttpRequest) -> func.HttpResponse:
        """Whatever no other route takes."""
        return await self._door.answer("z_not_found", req, self._not_found, at_once=True)

    async def _openapi(self, call: Call) -> Answer:
        from aos.entrypoints.http.openapi import openapi_document

        return Answer(body=openapi_document(auth=self._auth, reply_to=self._reply_to))

    async def _schema(self, call: Call) -> Answer:
        from aos.entrypoints.http.openapi import published_schemas

        name, schemas = call.part("name"), published_schemas()
        if name not in schemas:
            raise Refused(
                "schema_not_found",
                f"there is no schema {name[:80]!r}; there are {', '.join(sorted(schemas))}",
            )
        return Answer(body=schemas[name])

    async def _not_found(self, call: Call) -> Answer:
        raise Refused(
            "not_found",
            f"nothing is at {call.request.method} /api/{call.part('path')[:200]}; see"
            " GET /api/openapi.json",
        )
