"""Carries messages to and from an MCP server that is a process. Entry point: `run_server`.

It is the transport of the SDK's `ClientSession` over a `ServerProcess`. The SDK's own transport
accepts lines of any length, passes on the app's environment, and logs what it cannot read. This one
limits lines, passes on only the given environment, and keeps unreadable lines in the tail. A line
that is too long, or an answer that is not JSON, becomes the error answer of its request, if its
beginning or end shows which request that is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeAlias

from aos.adapters.mcp.messages import find_answered_id, read_message
from aos.adapters.mcp.process import LaunchPlan, LongLine, ServerProcess

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

    Streams: TypeAlias = tuple[
        MemoryObjectReceiveStream[SessionMessage | Exception],
        MemoryObjectSendStream[SessionMessage],
    ]

TOO_LONG = -32_099
"""AOS's JSON-RPC error code for an answer that is too long."""


@contextlib.asynccontextmanager
async def run_server(plan: LaunchPlan, *, known: ServerHandle) -> AsyncIterator[Streams]:
    """Start the server and connect to it; end all of its processes at the end.

    `known` gets the process as soon as it exists. Raises OSError.
    """
    import anyio

    process = await ServerProcess.start(plan)
    known.process = process
    to_session, from_server = anyio.create_memory_object_stream["SessionMessage | Exception"](0)
    from_session, to_server = anyio.create_memory_object_stream["SessionMessage"](0)
    tasks = (
        asyncio.create_task(_read(process, to_session)),
        asyncio.create_task(_write(process, to_server)),
    )
    try:
        yield from_server, from_session
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for stream in (to_session, from_server, from_session, to_server):
            stream.close()
        await _stop(process)


class ServerHandle:
    """Gives access to the process while it runs and after."""

    def __init__(self) -> None:
        self.process: ServerProcess | None = None


async def _stop(process: ServerProcess) -> None:
    """Stop the process even while the task is being cancelled."""
    stopping = asyncio.ensure_future(process.stop())
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        await asyncio.wait([stopping])
        raise


async def _read(
    process: ServerProcess, to_session: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    """Pass on every message. The stream closes when the server's output closes."""
    import anyio

    async with to_session:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for line in process.read_lines():
                message = _parse_message(line, process)
                if message is not None:
                    await to_session.send(message)


async def _write(
    process: ServerProcess, to_server: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    """Write every message. The stream closes when the server's input closes."""
    async with to_server:
        with contextlib.suppress(ConnectionError):
            async for message in to_server:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.send(text.encode() + b"\n")


def _parse_message(line: bytes | LongLine, process: ServerProcess) -> SessionMessage | None:
    """Parse the message in a line; return None for other text."""
    from mcp.shared.message import SessionMessage

    if isinstance(line, LongLine):
        return _answer_too_long(line, process)
    if not line.strip():
        return None
    message = read_message(line)
    if message is None:
        process.note(f"(on stdout) {line[:200].decode('utf-8', 'replace')}")
        return None
    return SessionMessage(message)


def _answer_too_long(line: LongLine, process: ServerProcess) -> SessionMessage | None:
    import mcp_types as types
    from mcp.shared.message import SessionMessage

    said = f"an answer of {line.size:,} bytes, over the limit of 16 MiB"
    process.note(f"(on stdout) {said}")
    number = find_answered_id(line.head, line.tail)
    if number is None:
        return None
    error = types.ErrorData(code=TOO_LONG, message=said)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=number, error=error))
