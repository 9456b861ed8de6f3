"""Who is calling over HTTP?

With keys, the host has checked that a function key is valid; which key it was says who the caller
is. Read from the same places as the host does: the header `x-functions-key`, else `?code=`. With
sign-in, the host lets everybody through, and the principal that the platform vouches for says it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

import azure.functions as func

from aos.domain.caller import Caller
from aos.entrypoints.http.principals import ADMIN_ROLE, signed_in
from aos.entrypoints.routes import Route
from aos.errors import Refused

AuthMode: TypeAlias = Literal["off", "keys", "easyauth"]
LOCAL_OWNER = "local"


def host_auth_level(mode: AuthMode) -> func.AuthLevel:
    """What the host asks of callers before it lets a request in."""
    return func.AuthLevel.FUNCTION if mode == "keys" else func.AuthLevel.ANONYMOUS


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthPolicy:
    """How callers are told apart: `AOS_AUTH`, and owners and admins by the SHA-256 of keys.

    `behind_sign_in`: the platform says that it sets the headers of principals itself.
    """

    mode: AuthMode
    key_owners: Mapping[str, str] = field(default_factory=dict)
    admin_keys: frozenset[str] = frozenset()
    behind_sign_in: bool = False

    def caller(self, request: func.HttpRequest, route: Route) -> Caller | None:
        """Who is calling; None: nobody we know, on a route that is open to anyone.

        Raises Refused `unauthorized`, and `forbidden` where an admin is asked for.
        """
        if route.access == "anyone":
            return self._caller_if_known(request)
        caller = self._caller(request)
        if caller is None:
            raise Refused("unauthorized", self._how_to_enter())
        if route.access == "admin" and not caller.is_admin:
            raise Refused(
                "forbidden",
                f"{route.title} is for admins; {self._how_to_be_admin()}",
            )
        return caller

    def _caller_if_known(self, request: func.HttpRequest) -> Caller | None:
        """For routes that nobody is kept from."""
        try:
            return self._caller(request)
        except Refused:
            return None

    def _caller(self, request: func.HttpRequest) -> Caller | None:
        match self.mode:
            case "off":
                return Caller(owner=LOCAL_OWNER, is_admin=True)
            case "keys":
                key = request.headers.get("x-functions-key") or request.params.get("code")
                return self._of_key(key) if key else None
            case "easyauth":
                return signed_in(request.headers) if self.behind_sign_in else None
            case _:
                assert_never(self.mode)

    def _of_key(self, key: str) -> Caller:
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        owner = self.key_owners.get(digest, f"key:{digest}")
        return Caller(owner=owner, is_admin=digest in self.admin_keys)

    def _how_to_enter(self) -> str:
        if self.mode != "easyauth":
            return "this route needs a key; send it in the header x-functions-key"
        if self.behind_sign_in:
            return "this route needs a sign-in; send a token in the header Authorization: Bearer …"
        return (
            "sign-in works only in Azure, behind App Service Authentication, which is not on here;"
            " the operator turns it on, or sets AOS_AUTH to keys (on a laptop, keys or off)"
        )

    def _how_to_be_admin(self) -> str:
        if self.mode == "easyauth":
            return f"sign in with the app role {ADMIN_ROLE}"
        return "call it with a key whose SHA-256 is in AOS_ADMIN_KEYS"
