"""Runs the local Service Bus from a shell: `python -m devhost.servicebus`. Entry point:
`main`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from pathlib import Path

from devhost.servicebus.config import NamespaceConfig, read_config
from devhost.servicebus.errors import ConfigError, StoreError
from devhost.servicebus.server import Ports, Server


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT: exit code 0. It is 1, with one line of text, on an error."""
    options = _parser().parse_args(arguments)
    try:
        config = read_config(options.config)
        asyncio.run(_serve(config, options))
    except (ConfigError, StoreError) as error:
        sys.stderr.write(f"servicebus: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"servicebus: cannot listen on {options.host}: {error.strerror}\n")
        return 1
    return 0


async def _serve(config: NamespaceConfig, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ports = Ports(host=options.host, amqp=options.port, http=options.http_port)
    server = Server(config, ports, data=options.data)
    try:
        amqp, http = await server.start()
        if server.mended:
            sys.stderr.write(f"servicebus: {server.mended}\n")
        gc.freeze()  # later collections skip what exists now
        where = f"{server.message_count} messages from {options.data}" if options.data else "memory"
        sys.stdout.write(
            f"Service Bus listens on {options.host}:{amqp}, health on port {http}; {where}\n"
        )
        sys.stdout.flush()
        await stop.wait()
    finally:
        await server.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devhost.servicebus",
        description="A local Azure Service Bus for the unmodified SDKs.",
    )
    parser.add_argument("--config", type=Path, required=True, help="a Config.json of entities")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5672, help="AMQP port (0: a free one)")
    parser.add_argument("--http-port", type=int, default=5300, help="port of GET /health")
    parser.add_argument("--data", type=Path, help="database file; without it, memory only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
