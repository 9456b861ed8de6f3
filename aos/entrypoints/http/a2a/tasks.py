"""Shows a run as a task of A2A. Entry points: `write_task`, `write_status`.

The task is the run, its context the conversation, its one artifact the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

from aos.domain.codec import encode
from aos.domain.runs.asks import AskRequest
from aos.domain.runs.attachments import WITHOUT_TEXT
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.runs.run_events import RunEvent
from aos.entrypoints.http.a2a.asks import Ask

OUTPUT = "output"
"""The id of a task's only artifact."""
MESSAGE_ID = "a2a.messageId"
"""The field of a run's metadata that holds the messageId of the client's message."""
AOS = "aos"
"""The field of a task's metadata that holds what A2A has no field for."""
JSON = "application/json"
TEXT = "text/plain"
ENDED_STATES = frozenset(
    {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"}
)
INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
WORKING = "TASK_STATE_WORKING"


def name_state(status: RunStatus) -> str:
    """Return the state of a task whose run has this status."""
    match status:
        case RunStatus.QUEUED:
            return "TASK_STATE_SUBMITTED"
        case RunStatus.IN_PROGRESS:
            return WORKING
        case RunStatus.WAITING_APPROVAL | RunStatus.WAITING_INPUT:
            return INPUT_REQUIRED
        case RunStatus.COMPLETED:
            return "TASK_STATE_COMPLETED"
        case RunStatus.FAILED | RunStatus.TIMED_OUT:
            return "TASK_STATE_FAILED"
        case RunStatus.CANCELLED:
            return "TASK_STATE_CANCELED"
        case _:
            assert_never(status)


def list_statuses(state: str) -> frozenset[RunStatus]:
    """Return the statuses of runs whose tasks have this state."""
    return frozenset(status for status in RunStatus if name_state(status) == state)


def write_time(moment: datetime) -> str:
    """Return a time as A2A writes it: UTC, with milliseconds."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def write_task(
    run: Run,
    *,
    asks: Sequence[Ask] | None = None,
    history: Sequence[dict[str, Any]] | None = None,
    artifacts: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the task of a run. None leaves a list out. `asks` None: what it asks is not known."""
    task: dict[str, Any] = {
        "id": run.run_id,
        "contextId": run.conversation_id,
        "status": write_status(run, asks),
        "metadata": _write_metadata(run),
    }
    if artifacts is not None:
        task["artifacts"] = list(artifacts)
    if history is not None:
        task["history"] = list(history)
    return task


def describe_push(run: Run, asks: Sequence[AskRequest]) -> dict[str, Any]:
    """Return what a push notification tells of a run, as `StreamResponse`: the task with its
    output when the run has ended, before that the status that waits for a person."""
    if run.status.has_ended:
        return {"task": write_task(run, artifacts=list_artifacts(run))}
    status = write_status(run, [Ask.of_request(asked) for asked in asks])
    update = {"taskId": run.run_id, "contextId": run.conversation_id, "status": status}
    return {"statusUpdate": update}


def write_status(run: Run, asks: Sequence[Ask] | None = None) -> dict[str, Any]:
    """Return the status of a run's task: why it failed, or what it asks, stands in its message.

    A run that waits and asks nothing was answered just now.
    """
    state = name_state(run.status)
    if state == INPUT_REQUIRED and asks is not None and not asks:
        state = WORKING
    status: dict[str, Any] = {"state": state, "timestamp": write_time(find_status_time(run))}
    if run.error is not None:
        status["message"] = write_error(run.run_id, run.conversation_id, encode(run.error))
    elif state == INPUT_REQUIRED and asks:
        status["message"] = write_asks(run.run_id, run.conversation_id, asks)
    return status


def find_status_time(run: Run) -> datetime:
    """Return the time since which a run has its status."""
    waiting = None if run.waiting is None else run.waiting.since
    return run.ended_at or waiting or run.started_at or run.created_at


def write_message(
    message_id: str,
    *,
    run_id: str,
    conversation_id: str,
    parts: Sequence[dict[str, Any]],
    role: str = "ROLE_AGENT",
) -> dict[str, Any]:
    """Return a message of a task."""
    return {
        "messageId": message_id,
        "contextId": conversation_id,
        "taskId": run_id,
        "role": role,
        "parts": list(parts),
    }


def write_error(run_id: str, conversation_id: str, error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message of a failed task's status: the error in words and as data."""
    parts = [{"text": str(error["message"])}, write_data({"type": "error", "error": dict(error)})]
    return write_message(
        f"{run_id}:error", run_id=run_id, conversation_id=conversation_id, parts=parts
    )


def write_asks(run_id: str, conversation_id: str, asks: Sequence[Ask]) -> dict[str, Any]:
    """Return the message of a status that waits for people: what is asked, in words and as data."""
    parts: list[dict[str, Any]] = []
    for ask in asks:
        parts += [{"text": ask.text}, write_data(dict(ask.data))]
    return write_message(
        f"{run_id}:{asks[0].id}", run_id=run_id, conversation_id=conversation_id, parts=parts
    )


def write_data(data: Any) -> dict[str, Any]:
    """Return a data part."""
    return {"data": data, "mediaType": JSON}


def write_artifact(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the artifact of a task."""
    return {"artifactId": OUTPUT, "name": OUTPUT, "parts": list(parts)}


def list_artifacts(run: Run, *, as_text: bool = False) -> list[dict[str, Any]]:
    """Return the artifacts of a run: its output, as data where the agent has a schema.

    `as_text`: the client takes texts only.
    """
    parts = write_output(run, as_text=as_text)
    return [write_artifact(parts)] if parts else []


def write_output(run: Run, *, as_text: bool = False) -> list[dict[str, Any]]:
    """Return the parts of a run's output; none while there is no output."""
    data = [part["data"] for part in run.output_parts or () if part.get("type") == "data"]
    if data and not as_text:
        return [write_data(value) for value in data]
    return [{"text": run.output}] if run.output else []


def write_question(request: AdmittedRequest) -> dict[str, Any]:
    """Return the client's message that began a task."""
    given = request.metadata.get(MESSAGE_ID)
    return write_message(
        given if isinstance(given, str) else f"{request.run_id}:message",
        run_id=request.run_id,
        conversation_id=request.conversation_id,
        parts=[*_write_said(request), *map(_write_file, request.parts)],
        role="ROLE_USER",
    )


def write_history(
    request: AdmittedRequest, events: Sequence[RunEvent] = (), *, length: int | None = None
) -> list[dict[str, Any]]:
    """Return the last messages of a task: the client's, and what the agent said before its output.

    What it said to its tools is not part of it.
    """
    told = [write_question(request)]
    for event in events:
        says = event.data.get("content")
        if event.type == "message.completed" and event.data.get("tool_calls") and says:
            told.append(
                write_message(
                    f"{request.run_id}:event-{event.id}",
                    run_id=request.run_id,
                    conversation_id=request.conversation_id,
                    parts=[{"text": says}],
                )
            )
    return told if length is None else told[len(told) - min(length, len(told)) :]


def _write_said(request: AdmittedRequest) -> list[dict[str, Any]]:
    """Return the text of a message; none where it was images and files only."""
    is_files_only = bool(request.parts) and request.message == WITHOUT_TEXT
    return [] if is_files_only else [{"text": request.message}]


def _write_metadata(run: Run) -> dict[str, Any]:
    """Return the client's metadata, and what A2A has no field for."""
    own: dict[str, Any] = {"agentId": run.agent_id}
    if run.model is not None:
        own |= {"model": run.model, "usage": encode(run.usage)}
    given = {name: value for name, value in run.metadata.items() if name != MESSAGE_ID}
    return {**given, AOS: own}


def _write_file(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image or a file of a message as a part of A2A."""
    match part:
        case {"type": "image", "mimeType": media_type, "data": data}:
            return {"raw": data, "mediaType": media_type}
        case {"type": "resource_link", "uri": uri, "name": name, "mimeType": media_type}:
            return {"url": uri, "filename": name, "mediaType": media_type}
        case {"type": "resource", "resource": {"uri": uri, "mimeType": media_type, **content}}:
            name = str(uri).rpartition("/")[2]
            if "text" in content:
                return {"text": content["text"], "filename": name, "mediaType": media_type}
            return {"raw": content["blob"], "filename": name, "mediaType": media_type}
        case _:
            return {"text": "[a part of another kind]"}
