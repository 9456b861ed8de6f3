"""Lets the local host call functions in Microsoft's worker. Entry point: `load_in_worker`.

The worker indexes the app and decodes, calls and encodes, as in Azure. The local host still does
routes, triggers and settlement.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.functions.meta import Datum

from devhost.functions.errors import HostError
from devhost.functions.indexing import LoadedFunction, check_trigger, is_disabled
from devhost.functions.invocation import Invoker
from devhost.functions.settings import HostOptions
from devhost.worker.client import Worker, WorkerFailure
from devhost.worker.messages import messages


class WorkerInvoker(Invoker):
    """Calls functions in a worker process."""

    def __init__(self, worker: Worker, *, timeout_seconds: float | None) -> None:
        super().__init__(timeout_seconds=timeout_seconds)
        self._worker = worker
        self._ids = {str(one.name): str(one.function_id) for one in worker.functions}

    async def start(self) -> str | None:
        """Return the address of the web server that the worker started for the app, or None."""
        return self._worker.http_address

    async def invoke(
        self,
        function: LoadedFunction,
        data: Datum,
        metadata: Mapping[str, Datum],
        *,
        forwarded: str | None = None,
    ) -> Datum | None:
        """Return the encoded result or None. Raises WorkerFailure with the worker's words."""
        sent = as_typed(data) if forwarded is None else _route_params_only(data)
        trigger = messages.ParameterBinding(name=str(function.trigger["name"]), data=sent)
        response = await self._worker.invoke(
            messages.InvocationRequest(
                invocation_id=forwarded or str(uuid.uuid4()),
                function_id=self._ids[function.name],
                input_data=[trigger],
                trigger_metadata={name: as_typed(value) for name, value in metadata.items()},
            )
        )
        if forwarded is not None or not function.has_return:
            return None
        return _as_datum(response.return_value)

    async def close(self) -> None:
        """End the worker process."""
        self._worker.stop()


def load_in_worker(
    folder: Path, options: HostOptions, python: Path
) -> tuple[tuple[LoadedFunction, ...], Invoker]:
    """Return the app's functions as the worker indexes them, and their invoker. Raises
    HostError."""
    try:
        worker = Worker.start(python, folder, os.environ)
    except (WorkerFailure, OSError) as error:
        raise HostError(f"{folder}: Microsoft's worker does not load it: {error}") from error
    functions = tuple(_make_function(one, folder, options) for one in worker.functions)
    invoker = WorkerInvoker(worker, timeout_seconds=options.function_timeout_seconds)
    return tuple(sorted(functions, key=lambda item: item.name)), invoker


def as_typed(datum: Datum) -> Any:
    """Convert a value as the host sends it."""
    if datum.type != "http":
        return messages.TypedData(**{str(datum.type): datum.value})
    http: Mapping[str, Any] = datum.value
    body: Datum = http["body"]
    return messages.TypedData(
        http=messages.RpcHttp(
            method=http["method"].value,
            url=http["url"].value,
            headers=_convert_texts(http["headers"]),
            query=_convert_texts(http["query"]),
            params=_convert_texts(http["params"]),
            body=as_typed(body) if body.value else None,  # the host sends no empty body
        )
    )


def _route_params_only(datum: Datum) -> Any:
    """What an invocation carries of a request that is forwarded."""
    return messages.TypedData(http=messages.RpcHttp(params=_convert_texts(datum.value["params"])))


def _convert_texts(values: Mapping[str, Datum]) -> dict[str, str]:
    return {name: str(value.value) for name, value in values.items()}


def _make_function(metadata: Any, folder: Path, options: HostOptions) -> LoadedFunction:
    name = str(metadata.name)
    bindings = [json.loads(text) for text in metadata.raw_bindings]
    return LoadedFunction(
        name=name,
        call=_refuse_call,
        is_async=True,
        trigger=check_trigger(name, bindings, options),
        converter="worker",
        wants_context=False,
        has_return=any(str(binding["direction"]).upper() == "OUT" for binding in bindings),
        directory=str(folder),
        disabled=is_disabled(name),
    )


def _refuse_call() -> None:
    raise HostError("this function runs in the worker")


def _as_datum(value: Any) -> Datum:
    """Convert a result to the form that the HTTP server takes."""
    kind = value.WhichOneof("data")
    if kind != "http":
        return Datum(str(getattr(value, kind)) if kind else "", "string")
    http = value.http
    body = http.body.WhichOneof("data")
    return Datum(
        {
            "status_code": Datum(http.status_code, "string"),
            "headers": {name: Datum(text, "string") for name, text in http.headers.items()},
            "body": Datum(getattr(http.body, body) if body else b"", body or "bytes"),
            "cookies": None,
        },
        "http",
    )
