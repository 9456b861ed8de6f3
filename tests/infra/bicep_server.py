"""Asks one process of the Bicep CLI for many snapshots. Entry point: `BicepServer`.

`bicep jsonrpc` loads the compiler and the types of Azure once, where each `bicep snapshot` does so
again. What both make is the same: the committed snapshots are made by `bicep snapshot`.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.infra.bicep_cli import OPTIONS, make_environment

TIME_LIMIT_SECONDS = 300


class BicepServer:
    """A running `bicep jsonrpc`. What it does not answer in time, it is stopped for."""

    def __init__(self, cli: Path) -> None:
        self._process = subprocess.Popen(
            [str(cli), "jsonrpc", "--stdio"],
            env=make_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._limit = threading.Timer(TIME_LIMIT_SECONDS, self._process.kill)
        self._limit.start()
        self._calls = 0

    def __enter__(self) -> BicepServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._limit.cancel()

    def snapshot(self, parameters: Path) -> dict[str, Any]:
        """What deploying a parameter file would make, as `bicep_cli.snapshot` says it."""
        path = str(parameters)
        read = self._call("bicep/compileParams", path=path, parameterOverrides={})
        if not read["success"] or read["diagnostics"]:
            raise AssertionError(f"{parameters.name}: {read['diagnostics']}")
        metadata = {
            "tenantId": OPTIONS["tenant_id"],
            "subscriptionId": OPTIONS["subscription_id"],
            "resourceGroup": OPTIONS["resource_group"],
            "location": OPTIONS["location"],
        }
        said = self._call("bicep/getSnapshot", path=path, metadata=metadata, externalInputs=None)
        made: dict[str, Any] = json.loads(said["snapshot"])
        made["outputs"] = dict(sorted(made["outputs"].items()))
        return made

    def _call(self, method: str, **given: Any) -> dict[str, Any]:
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": given}
        body = json.dumps(request).encode()
        pipes = self._process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        pipes.stdin.flush()
        size = 0
        while header := pipes.stdout.readline().strip():
            name, _, value = header.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        answer = json.loads(pipes.stdout.read(size) or b"{}")
        if "result" not in answer:
            raise AssertionError(f"{method} of {given['path']}: {answer or 'no answer'}")
        found: dict[str, Any] = answer["result"]
        return found
