"""Defines an HTTP route and who may call it. Entry point: `Route`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Access: TypeAlias = Literal["anyone", "caller", "admin"]
"""`anyone` needs no key; `caller` needs a key; `admin` needs an admin's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One HTTP function.

    `name` is the function's name. `answers` maps its success statuses to the name of the shape of
    each, None for an answer without a body. `errors` are its other statuses beyond those of every
    route.
    """

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE", "ANY"]
    path: str
    summary: str
    tag: str
    answers: Mapping[int, str | None]
    access: Access = "caller"
    errors: tuple[int, ...] = ()
    query: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """The parts of `query` without which the request is refused."""
    headers: tuple[str, ...] = ()
    body: str | None = None
    body_optional: bool = False
    answer_headers: tuple[str, ...] = ()
    documented: bool = True
    traced: bool = True
    """False for routes that probes call all day, because their spans would be most of the
    telemetry."""
    checks_keys: bool = False
    """The function itself checks keys, because clients send them where the host does not look:
    `Authorization: Bearer` and `api-key`. Only listed keys are taken."""
    any_method: bool = False
    """The function gets requests of every method, so that it answers HEAD and refuses the rest."""
    title: str = field(init=False)
    """The name in traces and logs: `GET /api/runs/{run_id}`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", f"{self.method} /api/{self.path}")

    @property
    def needs_body(self) -> bool:
        """Whether a request without a body is refused."""
        return self.body is not None and not self.body_optional

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods that are served."""
        return (self.method, "HEAD") if self.any_method else (self.method,)

    def has_path(self, path: str) -> bool:
        """Whether the path (without the prefix `api/`) matches the route's."""
        pieces = re.split(r"\{\w+\}", self.path)
        pattern = "[^/]+?".join(map(re.escape, pieces))
        return re.fullmatch(pattern, path.removesuffix("/"), re.IGNORECASE) is not None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in braces in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


PAGE = ("limit", "after")
"""The query of every list."""
