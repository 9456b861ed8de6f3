"""Runs Microsoft's worker for one app and answers the host's messages. Entry point: `main`.

It does what the proxy in front of the worker does in Azure: it puts the app's folder and its
packages first on the search path, sends log lines to the host, and lets the runtime answer every
request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime

from devhost.worker.messages import LENGTH, frame, messages

BROUGHT_ALONG = Path(".python_packages", "lib", "site-packages")
LINE = "%(created).6f %(name)s: %(message)s"
UP = "the runtime is imported"
_ANSWERS = {
    "worker_init_request": ("worker_init_response", runtime.worker_init_request),
    "functions_metadata_request": (
        "function_metadata_response",
        runtime.functions_metadata_request,
    ),
    "function_load_request": ("function_load_response", runtime.function_load_request),
    "invocation_request": ("invocation_response", runtime.invocation_request),
}


def main(folder: Path, descriptor: int) -> None:
    """Serve the host at the other end of the socket until it closes the connection."""
    for place in (folder / BROUGHT_ALONG, folder):
        if place.is_dir():
            sys.path.insert(0, str(place))
    os.chdir(folder)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=LINE)
    logging.getLogger(__name__).info(UP)
    runtime.start_threadpool_executor()
    asyncio.run(_serve(socket.socket(fileno=descriptor)))
    sys.stdout.flush()
    os._exit(0)  # otherwise the process would wait for threads of the app


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    answers: set[asyncio.Task[None]] = set()
    while True:
        try:
            size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
            data = await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        answer = asyncio.create_task(_answer(messages.StreamingMessage.FromString(data), writer))
        answers.add(answer)
        answer.add_done_callback(lambda ended: _end_answer(ended, answers))


def _end_answer(ended: asyncio.Task[None], answers: set[asyncio.Task[None]]) -> None:
    """End the worker if an answer cannot be made, because the host would wait for it forever."""
    answers.discard(ended)
    if error := ended.exception():
        logging.getLogger(__name__).critical("no answer", exc_info=error)
        os._exit(1)


async def _answer(message: Any, writer: asyncio.StreamWriter) -> None:
    name, answer = _ANSWERS[message.WhichOneof("content")]
    properties = {"host": "127.0.0.1", "protos": messages}
    content = await answer(SimpleNamespace(request=message, properties=properties))
    reply = messages.StreamingMessage(request_id=message.request_id, **{name: content})
    writer.write(frame(reply))
