"""Counts the functions of aos that a warm `GET /api/runs/{run_id}` passes. Entry point: `main`.

benchmarks/structure.py starts this file with another checkout on PYTHONPATH, so it imports nothing
of its own checkout. The apps are those in memory that the checkout offers.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import azure.functions as func

WORLDS = (
    ("tests.unit.entrypoints.laptop_in_memory", "InMemory"),
    ("aos.testing", "MemoryWorld"),
)
"""Where a checkout has main and realm in memory: the first that has the attribute `main`."""
CARD = {"agent_id": "ceo", "purpose": "Answer."}


async def count(root: Path) -> dict[str, Any]:
    """Count the functions that a request passes, and their files. A function that only defines
    others does not count."""
    world = _make_world()
    put = getattr(world, "put", None) or world.put_agent
    await put(CARD)
    body = json.dumps({"message": "hello", "wait_seconds": 0}).encode()
    start = _request("POST", {"agent_id": "ceo"}, body)
    started = await _trigger(root, "run_agent", world.main)(start)
    await world.settle()
    run_id = json.loads(started.get_body())["run_id"]
    get_run = _trigger(root, "get_run", world.main)
    await get_run(_request("GET", {"run_id": run_id}))
    request = _request("GET", {"run_id": run_id})
    passed: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            passed[frame.f_code] = None

    sys.setprofile(note)
    try:
        answer = await get_run(request)
    finally:
        sys.setprofile(None)
    if answer.status_code != 200 or json.loads(answer.get_body())["status"] != "completed":
        raise RuntimeError(f"GET of the run answered {answer.status_code}: {answer.get_body()!r}")
    return _report(root / "aos", list(passed))


def _report(package: Path, passed: list[CodeType]) -> dict[str, Any]:
    ours = [it for it in passed if Path(it.co_filename).is_relative_to(package)]
    names = [f"{Path(it.co_filename).relative_to(package)}: {it.co_qualname}" for it in ours]
    core = [it for it in names if not it.startswith("adapters/")]
    return {
        "functions": len(names),
        "files": len({it.partition(":")[0] for it in names}),
        "functions_without_adapters": len(core),
        "files_without_adapters": len({it.partition(":")[0] for it in core}),
        "names": names,
    }


def _make_world() -> Any:
    for module, name in WORLDS:
        try:
            made = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError):
            continue
        if hasattr(made, "main"):
            return made
    raise RuntimeError(f"this checkout has none of {WORLDS} with an attribute `main`")


def _trigger(root: Path, name: str, main: Any) -> Callable[[func.HttpRequest], Awaitable[Any]]:
    """Return what the trigger of function_app.py awaits, run on this main."""
    tree = ast.parse((root / "function_app.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            awaited = next(it.value for it in ast.walk(node) if isinstance(it, ast.Await))
            call = compile(ast.Expression(awaited), "function_app.py", "eval")
            parameter = node.args.args[0].arg
            return lambda request: eval(call, {"main": main, parameter: request})
    raise RuntimeError(f"function_app.py has no trigger {name!r}")


def _request(method: str, parts: dict[str, str], body: bytes = b"") -> func.HttpRequest:
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return func.HttpRequest(
        method=method,
        url="http://127.0.0.1:7071/api/x",
        headers=headers if body else {},
        params={},
        route_params=parts,
        body=body,
    )


def main() -> None:
    """Print the figures of the checkout that is the first argument, as JSON."""
    root = Path(sys.argv[1]).resolve()
    print(json.dumps(asyncio.run(count(root))))


if __name__ == "__main__":
    main()
