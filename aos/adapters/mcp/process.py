"""Starts an MCP server's process, talks to it and ends it. Entry point: `ServerProcess.start`.

A small guard process (`guard.py`) runs between the app and the server, so that no process is left
over however the app ends. The server gets only the environment in its plan. The length of its
output lines is limited, and the tail of its error output is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aos.domain.json_writer import write_json
from aos.domain.tools.server_limits import Isolation, ServerLimits

_LOG = logging.getLogger(__name__)
GUARD = Path(__file__).with_name("guard.py")
LONGEST_LINE_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
EDGE_BYTES = 512
TAIL_LINES = 20
TAIL_LINE_BYTES = 400
GRACE_SECONDS = 2.0
"""How long a server may take to end by itself after its input closed."""
END_SECONDS = 6.0
"""How long the guard may take to end the remaining processes."""
REAP_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """What to start: the command, the whole environment including secrets, and the folder.

    `hidden` are files that the server must not read, if a namespace can cover them. `home` and
    `temporary` belong to the server alone; the guard makes them and removes `temporary` at the end.
    `uid` is the user that root may run the server as.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: str | None = None
    home: str | None = None
    temporary: str | None = None
    hidden: Sequence[str] = ()
    isolation: Isolation = "auto"
    uid: int | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)

    def to_guard(self) -> bytes:
        """Write the line that the guard reads."""
        spec = {
            "command": list(self.command),
            "environment": dict(self.environment),
            "folder": self.folder,
            "home": self.home,
            "temporary": self.temporary,
            "hidden": list(self.hidden),
            "uid": self.uid,
            "limits": self.limits.convert_to_bytes(),
        }
        return write_json(spec).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LongLine:
    """A line longer than LONGEST_LINE_BYTES: its size, its beginning and its end."""

    size: int
    head: bytes
    tail: bytes


class ServerProcess:
    """One running server. `start` makes it and `stop` ends it."""

    def __init__(
        self,
        guard: asyncio.subprocess.Process,
        *,
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
        pipes: Sequence[asyncio.BaseTransport],
        isolation: Isolation,
    ) -> None:
        self._warns = isolation != "off" and sys.platform == "linux"
        self._guard = guard
        self._stdin = stdin
        self._stdout = stdout
        self._pipes = pipes
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._reading_stderr = asyncio.create_task(self._keep_tail(stderr))
        self._ended: asyncio.Task[int] = asyncio.create_task(guard.wait())
        self._walls = asyncio.create_task(self._read_walls())

    @classmethod
    async def start(cls, plan: LaunchPlan) -> ServerProcess:
        """Start the guard, which starts the server. Raises OSError if that fails."""
        inputs, outputs, errors = os.pipe(), os.pipe(), os.pipe()
        theirs, ours = (inputs[0], outputs[1], errors[1]), (inputs[1], outputs[0], errors[0])
        try:
            guard = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(GUARD),
                *(str(number) for number in theirs),
                plan.isolation,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PATH": plan.environment.get("PATH", os.defpath)},
                pass_fds=theirs,
            )
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)
        stdin, writing = await _open_writer(ours[0])
        stdout, reading = await _open_reader(ours[1])
        stderr, reading_errors = await _open_reader(ours[2])
        process = cls(
            guard,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pipes=(writing, reading, reading_errors),
            isolation=plan.isolation,
        )
        assert guard.stdin is not None
        guard.stdin.write(plan.to_guard())
        return process

    @property
    def pid(self) -> int:
        """The process id of the guard, which is also the server's process group."""
        return self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """The server's exit code, or None while it runs."""
        return self._ended.result() if self._ended.done() else None

    @property
    def tail(self) -> str:
        """The last lines of the server's error output."""
        return "\n".join(self._tail)

    async def read_active_walls(self) -> frozenset[str]:
        """Return the walls that keep the server from other processes: `namespace`, `user`,
        `landlock`."""
        return await asyncio.shield(self._walls)

    def note(self, line: str) -> None:
        """Add a line to the tail that the server wrote elsewhere."""
        self._tail.append(line[:TAIL_LINE_BYTES])

    async def send(self, line: bytes) -> None:
        """Write one line to the server's input. Raises ConnectionError if the server has ended."""
        self._stdin.write(line)
        await self._stdin.drain()

    async def read_lines(self) -> AsyncIterator[bytes | LongLine]:
        """Yield the lines of the server's output, without line ends, until it closes."""
        held: list[bytes] = []
        size = 0
        while chunk := await self._stdout.read(CHUNK_BYTES):
            *whole, rest = chunk.split(b"\n")
            for part in whole:
                yield _make_line(held, size, part)
                held, size = [], 0
            size += len(rest)
            held.append(rest)
            if size > LONGEST_LINE_BYTES:
                joined = b"".join(held)
                held = [joined[:EDGE_BYTES], joined[-EDGE_BYTES:]]

    async def wait(self) -> int:
        """Wait until the server has ended; return its exit code."""
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """End the server and all its processes. Returns when they have ended."""
        try:
            self._stdin.close()
            if not await self._has_ended_within(GRACE_SECONDS):
                assert self._guard.stdin is not None
                self._guard.stdin.close()
                await self._has_ended_within(END_SECONDS)
        finally:
            self._kill_group()
            await self._has_ended_within(REAP_SECONDS)
            self._reading_stderr.cancel()
            self._walls.cancel()
            for pipe in self._pipes:
                pipe.close()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
            # asyncio closes it some turns later; the end of a loop would not wait for that
            transport: asyncio.SubprocessTransport = self._guard._transport  # type: ignore[attr-defined]
            transport.close()

    async def _has_ended_within(self, seconds: float) -> bool:
        await asyncio.wait([self._ended], timeout=seconds)
        return self._ended.done()

    def _kill_group(self) -> None:
        """Kill what the guard left behind if the guard itself was killed."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._guard.pid, signal.SIGKILL)

    async def _read_walls(self) -> frozenset[str]:
        assert self._guard.stdout is not None
        standing = frozenset((await self._guard.stdout.readline()).decode().split())
        if not standing and self._guard.returncode is None and self._warns:
            _LOG.warning("an MCP server runs without walls; see docs/SECURITY.md")
        return standing

    async def _keep_tail(self, stderr: asyncio.StreamReader) -> None:
        held = b""
        while chunk := await stderr.read(4096):
            *whole, held = (held + chunk).split(b"\n")
            held = held[-TAIL_LINE_BYTES:]
            for line in whole[-TAIL_LINES:]:
                self.note(line.decode("utf-8", "replace").rstrip())
        if held:
            self.note(held.decode("utf-8", "replace"))


def _make_line(held: list[bytes], size: int, last: bytes) -> bytes | LongLine:
    size += len(last)
    if size <= LONGEST_LINE_BYTES:
        return b"".join((*held, last))
    joined = b"".join((*held, last))
    return LongLine(size=size, head=joined[:EDGE_BYTES], tail=joined[-EDGE_BYTES:])


async def _open_writer(descriptor: int) -> tuple[asyncio.StreamWriter, asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(descriptor, "wb", 0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop), transport


async def _open_reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader, transport


def _close(descriptors: Sequence[int]) -> None:
    for number in descriptors:
        os.close(number)
