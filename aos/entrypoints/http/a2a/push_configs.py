"""Keeps the push notification configs of A2A tasks. Entry point: `A2aPushConfigs`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from aos.domain.pushes import PushConfig
from aos.domain.runs.run import AdmittedRequest, RunStatus
from aos.entrypoints.http.a2a.errors import A2aRefused
from aos.errors import Refused
from aos.ports.system import Clock, Ids
from aos.services.pushes import PushNotifications

if TYPE_CHECKING:  # pydantic loads slowly
    from aos.entrypoints.http.a2a.requests import PushNotification


class A2aPushConfigs:
    """The configs of tasks. `signs`: AOS has a secret to sign with, else it pushes nothing."""

    def __init__(self, *, pushes: PushNotifications, signs: bool, clock: Clock, ids: Ids) -> None:
        self._pushes = pushes
        self._signs = signs
        self._clock = clock
        self._ids = ids

    def require_support(self) -> None:
        """Raise A2aRefused if AOS does not push."""
        if not self._signs:
            raise A2aRefused(
                "PUSH_NOTIFICATION_NOT_SUPPORTED",
                "AOS has no secret to sign push notifications with; the operator sets"
                " AOS_WEBHOOK_SECRET",
            )

    def check(self, given: PushNotification) -> None:
        """Refuse a config of a message before the message begins anything."""
        self.require_support()
        self._pushes.check_url(given.url)

    def require_task(self, request: AdmittedRequest) -> None:
        """Raise A2aRefused for a run that pushes nothing."""
        if not (request.notify is not None and request.notify.pushes):
            raise A2aRefused(
                "UNSUPPORTED_OPERATION",
                f"task {request.run_id} was not begun by A2A, so it pushes nothing; its own request"
                " may have a receiver in notify",
            )

    async def put(
        self,
        request: AdmittedRequest,
        given: PushNotification,
        *,
        known: RunStatus,
        usual_id: str | None = None,
    ) -> dict[str, Any]:
        """Write a config and return it. `usual_id` is its id where the client names none."""
        self.require_task(request)
        authentication = given.authentication
        config = PushConfig(
            run_id=request.run_id,
            config_id=given.id or usual_id or self._ids.new_id(),
            url=given.url,
            created_at=self._clock.now(),
            token=given.token,
            scheme=None if authentication is None else authentication.scheme,
            credentials=None if authentication is None else authentication.credentials,
        )
        return write_config(await self._pushes.put(request, config, known=known))

    async def get(self, run_id: str, config_id: str) -> dict[str, Any]:
        """Return a config."""
        self.require_support()
        found = await self._pushes.find(run_id, config_id)
        if found is None:
            raise Refused(
                "run_not_found",
                f"task {run_id} has no push notification config {config_id[:80]!r}",
            )
        return write_config(found)

    async def list(self, run_id: str) -> dict[str, Any]:
        """Return the configs of a task, all on one page."""
        self.require_support()
        found = await self._pushes.list_all(run_id)
        return {"configs": [write_config(item) for item in found], "nextPageToken": ""}

    async def delete(self, run_id: str, config_id: str) -> None:
        """Remove a config if it exists."""
        self.require_support()
        await self._pushes.drop(run_id, config_id)


def name_config(message_id: str) -> str:
    """Return the id of the config of a message: the same where the message is sent again."""
    return hashlib.sha256(message_id.encode("utf-8", "replace")).hexdigest()[:32]


def write_config(config: PushConfig) -> dict[str, Any]:
    """Return a config as A2A shows it, without its credentials."""
    shown: dict[str, Any] = {"id": config.config_id, "taskId": config.run_id, "url": config.url}
    if config.token is not None:
        shown["token"] = config.token
    if config.scheme is not None:
        shown["authentication"] = {"scheme": config.scheme}
    return shown
