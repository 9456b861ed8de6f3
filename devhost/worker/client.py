"""Starts a worker process and asks it for functions and results. Entry point: `Worker.start`."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from devhost.worker.messages import LENGTH, frame, messages

START_SECONDS = 60.0
STOP_SECONDS = 10.0
HOST_VERSION = "4.1037.0"
_REPOSITORY = Path(__file__).resolve().parents[2]
# The worker may import this package and nothing else of the repository; `aos` comes from the app.
_BOOT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from devhost.worker.process import main
sys.path.remove(sys.argv[1])
main(Path(sys.argv[2]), int(sys.argv[3]))
"""


class WorkerFailure(Exception):
    """The worker reported a failure, in its own words, or it has ended."""


@dataclass(slots=True)
class Worker:
    """One worker process. It ends when this end of its socket closes."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    functions: tuple[Any, ...] = ()
    """The metadata of the app's functions (RpcFunctionMetadata), as the worker indexed it."""
    http_address: str | None = None
    """Where the worker serves the app's HTTP requests, if the app streams its answers."""
    marks: dict[str, float] = field(default_factory=dict)
    """The times (`time.time`) of the start, after the indexing, and after the loading."""
    _writer: asyncio.StreamWriter | None = None
    _reading: asyncio.Task[None] | None = None
    _waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        python: Path,
        folder: Path,
        environment: Mapping[str, str],
        *,
        log: IO[bytes] | IO[str] | None = None,
    ) -> Worker:
        """Start the worker on the app in `folder` and load every function. Raises WorkerFailure.

        Its output goes to `log`, or to stderr.
        """
        ours, theirs = socket.socketpair()
        removed = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        started = time.time()
        with theirs:
            process = subprocess.Popen(
                [
                    *(str(python), "-c", _BOOT, str(_REPOSITORY)),
                    *(str(folder), str(theirs.fileno())),
                ],
                cwd=folder,
                env={name: value for name, value in environment.items() if name not in removed},
                stdin=subprocess.DEVNULL,
                stdout=log or sys.stderr,
                stderr=log,
                pass_fds=(theirs.fileno(),),
            )
        worker = cls(process=process, connection=ours, marks={"started": started})
        try:
            worker._load(folder)
        except BaseException:
            worker.stop()
            raise
        return worker

    def stop(self) -> None:
        """Close the connection and wait until the process has ended."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
        self.connection.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    async def invoke(self, request: Any) -> Any:
        """Return the InvocationResponse to an InvocationRequest. Raises WorkerFailure if it
        failed."""
        if self._writer is None:
            reader, self._writer = await asyncio.open_connection(sock=self.connection)
            self._reading = asyncio.create_task(self._read(reader))
        if self._reading is None or self._reading.done():
            raise WorkerFailure("the worker has ended")
        message = messages.StreamingMessage(
            request_id=str(uuid.uuid4()), invocation_request=request
        )
        answer = asyncio.get_running_loop().create_future()
        self._waiting[message.request_id] = answer
        try:
            self._writer.write(frame(message))
            response = (await answer).invocation_response
        finally:
            self._waiting.pop(message.request_id, None)
        _check(response.result)
        return response

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
                message = messages.StreamingMessage.FromString(await reader.readexactly(size))
                if answer := self._waiting.get(message.request_id):
                    answer.set_result(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            for answer in self._waiting.values():
                answer.set_exception(WorkerFailure("the worker has ended"))

    def _load(self, folder: Path) -> None:
        """Do what the host does first. It blocks, because nothing is served before."""
        self.connection.settimeout(START_SECONDS)
        init = messages.WorkerInitRequest(
            host_version=HOST_VERSION, function_app_directory=str(folder)
        )
        started = self._ask(worker_init_request=init).worker_init_response
        _check(started.result)
        self.http_address = started.capabilities.get("HttpUri") or None
        self.marks["indexed"] = time.time()
        asked = messages.FunctionsMetadataRequest(function_app_directory=str(folder))
        found = self._ask(functions_metadata_request=asked).function_metadata_response
        _check(found.result)
        self.functions = tuple(found.function_metadata_results)
        for function in self.functions:
            load = messages.FunctionLoadRequest(function_id=function.function_id, metadata=function)
            _check(self._ask(function_load_request=load).function_load_response.result)
        self.marks["loaded"] = time.time()
        self.connection.setblocking(False)

    def _ask(self, **content: Any) -> Any:
        self.connection.sendall(frame(messages.StreamingMessage(request_id="start", **content)))
        size = LENGTH.unpack(self._receive(LENGTH.size))[0]
        return messages.StreamingMessage.FromString(self._receive(size))

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                some = self.connection.recv(size - len(data))
            except TimeoutError as error:
                raise WorkerFailure(f"the worker did not answer in {START_SECONDS} s") from error
            if not some:
                raise WorkerFailure("the worker ended before it was ready; its log says why")
            data += some
        return data


def _check(result: Any) -> None:
    if result.status != messages.StatusResult.Success:
        raise WorkerFailure(
            result.exception.message or result.result or "it failed without a message"
        )
