"""Who is calling over HTTP?

The host has checked that a function key is valid; which key it was says who the caller is. Read
from the same places as the host does: the header `x-functions-key`, else `?code=`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, assert_never

import azure.functions as func

from aos.domain.caller import Caller
from aos.entrypoints.routes import Route
from aos.errors import Refused

LOCAL_OWNER = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthPolicy:
    """How callers are told apart: `AOS_AUTH`, and owners and admins by the SHA-256 of keys."""

    mode: Literal["off", "keys", "easyauth"]
    key_owners: Mapping[str, str] = field(default_factory=dict)
    admin_keys: frozenset[str] = frozenset()

    def caller(self, request: func.HttpRequest, route: Route) -> Caller | None:
        """Who is calling; None: nobody we know, on a route that is open to anyone.

        Raises Refused `unauthorized`, and `forbidden` where an admin is asked for.
        """
        caller = self._caller(request)
        if route.access == "anyone":
            return caller
        if caller is None:
            raise Refused("unauthorized", self._how_to_enter())
        if route.access == "admin" and not caller.is_admin:
            raise Refused(
                "forbidden",
                f"{route.title} is for admins; call it with a key whose SHA-256 is in"
                " AOS_ADMIN_KEYS",
            )
        return caller

    def _caller(self, request: func.HttpRequest) -> Caller | None:
        match self.mode:
            case "off":
                return Caller(owner=LOCAL_OWNER, is_admin=True)
            case "keys":
                key = request.headers.get("x-functions-key") or request.params.get("code")
                return self._of_key(key) if key else None
            case "easyauth":
                return None
            case _:
                assert_never(self.mode)

    def _of_key(self, key: str) -> Caller:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        owner = self.key_owners.get(digest, f"key:{digest}")
        return Caller(owner=owner, is_admin=digest in self.admin_keys)

    def _how_to_enter(self) -> str:
        if self.mode == "easyauth":
            return "sign-in does not work on this machine; set AOS_AUTH to off or keys"
        return "this route needs a key; send it in the header x-functions-key"
