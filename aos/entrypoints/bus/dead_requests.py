"""Answers requests that died on `aos-requests`. Entry point: `DeadRequests`."""

from __future__ import annotations

from aos.domain.dead_letters import Failure
from aos.entrypoints.bus.messages import Unreadable
from aos.entrypoints.bus.request_messages import find_answered_run, find_asked_run, parse_object
from aos.entrypoints.reply_addresses import ReplyEntities
from aos.errors import ErrorInfo
from aos.ports.bus import ReceivedMessage
from aos.services.replies import Replies

_EXPIRED = ("expired", "dependency_away")


class DeadRequests:
    """What dead letters of `aos-requests` are about. Implements `QueueRequests`."""

    def __init__(self, *, replies: Replies, reply_entities: ReplyEntities) -> None:
        self._replies = replies
        self._reply_entities = reply_entities

    def find_run_id(self, message: ReceivedMessage) -> str | None:
        """Return the run that a request for a run has, or would have; None for other messages."""
        return find_asked_run(message)

    async def refuse(self, message: ReceivedMessage, failure: Failure) -> None:
        """Answer with `run.refused`; a body that is not a JSON object gets no answer."""
        try:
            body = parse_object(message.body)
        except Unreadable:
            return
        await self._replies.refuse(
            message,
            _make_error(message, failure),
            run_id=find_answered_run(message, body),
            body=body,
            entity=self._reply_entities.choose(message.reply_to),
        )


def _make_error(message: ReceivedMessage, failure: Failure) -> ErrorInfo:
    if failure.reason in _EXPIRED:
        return ErrorInfo(
            code="request_expired",
            message="the request's time to live was over before AOS could handle it",
        )
    return ErrorInfo(
        code="internal_error",
        message="AOS failed on its own side; the operator finds the message among the dead letters",
        details={"sequence_number": message.sequence_number},
    )
