"""Identifies the caller of an HTTP request. Entry point: `AuthPolicy.identify_caller`.

With keys, the host has checked the function key; the key identifies the caller. It is read where
the host reads it: the header `x-functions-key`, else `?code=`. With sign-in, the host lets every
request pass, and the principal in the platform's headers identifies the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

import azure.functions as func

from aos.domain.caller import Caller
from aos.entrypoints.http.principals import ADMIN_ROLE, read_principal
from aos.entrypoints.route import Route
from aos.errors import Refused

AuthMode: TypeAlias = Literal["off", "keys", "easyauth"]
LOCAL_OWNER = "local"


def host_auth_level(mode: AuthMode) -> func.AuthLevel:
    """What the host requires of callers before it passes a request on."""
    return func.AuthLevel.FUNCTION if mode == "keys" else func.AuthLevel.ANONYMOUS


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthPolicy:
    """How callers are identified: `AOS_AUTH`, and owners and admins by the SHA-256 of their keys.

    `behind_sign_in`: the platform sets the headers of principals itself.
    """

    mode: AuthMode
    key_owners: Mapping[str, str] = field(default_factory=dict)
    admin_keys: frozenset[str] = frozenset()
    behind_sign_in: bool = False

    def identify_caller(self, request: func.HttpRequest, route: Route) -> Caller | None:
        """Return the caller, or None for an unknown caller of a route that is open to anyone.

        Raises Refused `unauthorized`, and `forbidden` if the route needs an admin.
        """
        if route.access == "anyone":
            return self._identify_if_known(request)
        caller = self._identify(request, checks_keys=route.checks_keys)
        if caller is None:
            raise Refused("unauthorized", self._explain_access(checks_keys=route.checks_keys))
        if route.access == "admin" and not caller.is_admin:
            raise Refused(
                "forbidden",
                f"{route.title} is for admins; {self._explain_admin_access()}",
            )
        return caller

    def _identify_if_known(self, request: func.HttpRequest) -> Caller | None:
        """Return the caller, if known, for routes that are open to anyone."""
        try:
            return self._identify(request)
        except Refused:
            return None

    def _identify(self, request: func.HttpRequest, *, checks_keys: bool = False) -> Caller | None:
        match self.mode:
            case "off":
                return Caller(owner=LOCAL_OWNER, is_admin=True)
            case "keys" if checks_keys:
                return self._identify_by_listed_key(request)
            case "keys":
                key = request.headers.get("x-functions-key") or request.params.get("code")
                return self._identify_by_key(key) if key else None
            case "easyauth":
                return read_principal(request.headers) if self.behind_sign_in else None
            case _:
                assert_never(self.mode)

    def _identify_by_listed_key(self, request: func.HttpRequest) -> Caller | None:
        """Return whom the first listed key identifies, wherever clients send keys.

        The host lets every request to such a route pass, so only the listed hashes count.
        """
        for key in _list_keys(request):
            digest = _compute_digest(key)
            if digest in self.key_owners or digest in self.admin_keys:
                return self._identify_by_key(key)
        return None

    def _identify_by_key(self, key: str) -> Caller:
        digest = _compute_digest(key)
        owner = self.key_owners.get(digest, f"key:{digest}")
        return Caller(owner=owner, is_admin=digest in self.admin_keys)

    def _explain_access(self, *, checks_keys: bool = False) -> str:
        if self.mode != "easyauth" and checks_keys:
            return (
                "this route needs a listed key: send it as Authorization: Bearer …, api-key or"
                " x-functions-key; the operator lists its SHA-256 in AOS_KEY_OWNERS"
            )
        if self.mode != "easyauth":
            return "this route needs a key; send a key in the header x-functions-key"
        if self.behind_sign_in:
            return "this route needs a sign-in; send a token in the header Authorization: Bearer …"
        return (
            "sign-in works only in Azure, behind App Service Authentication, which is not turned on"
            " here; turn it on, or set AOS_AUTH to keys (on a laptop, keys or off)"
        )

    def _explain_admin_access(self) -> str:
        if self.mode == "easyauth":
            return f"sign in with the app role {ADMIN_ROLE}"
        return "call it with a key whose SHA-256 is in AOS_ADMIN_KEYS"


def _compute_digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _list_keys(request: func.HttpRequest) -> list[str]:
    """Return the keys of a request, where clients of other protocols send them too."""
    headers = request.headers
    scheme, _, token = (headers.get("authorization") or "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else None
    places = (headers.get("x-functions-key"), request.params.get("code"))
    return [key for key in (*places, headers.get("api-key"), bearer) if key]
