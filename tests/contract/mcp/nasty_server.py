"""An MCP server that does what real ones do on their bad days. Standard library only: quick.

python nasty_server.py [--tools N] [--page N] [--marks FILE] [--at-start crash|leak|noise|silence]
    [--stay] [--child]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

OUT = threading.Lock()
Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", type=int, default=0)
    parser.add_argument("--page", type=int, default=100)
    parser.add_argument("--marks", default="")
    parser.add_argument("--at-start", default="", dest="start")
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--child", action="store_true")
    server = Server(parser.parse_args())
    server.begin()
    for line in sys.stdin:
        threading.Thread(target=server.take, args=(json.loads(line),), daemon=True).start()
    if server.options.stay:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.more = 0
        self.tools: dict[str, Callable[[Json], Any]] = {
            "echo": lambda a: a.get("text", ""),
            "env": lambda a: json.dumps(dict(os.environ)),
            "environ_error": self.environ_error,
            "mark": self.mark,
            "mark_then_die": self.mark_then_die,
            "sleep": self.sleep,
            "crash": lambda a: os._exit(3),
            "huge": lambda a: "x" * int(a["bytes"]),
            "noise": self.noise,
            "flood": self.flood,
            "hang": self.hang,
            "grow": self.grow,
            "picture": self.picture,
            "structured": lambda a: {"content": [], "structuredContent": {"sum": 3}},
            "infinite": lambda a: {"content": [], "structuredContent": {"sum": float("inf")}},
            "fails": lambda a: {"content": [text("no luck")], "isError": True},
            "rubbish": lambda a: {"content": "not a list"},
            "pid": lambda a: str(os.getpid()),
            "read": lambda a: read(a["path"]),
            "spy": lambda a: json.dumps(spy()),
            "signal": lambda a: signalled(int(a["pid"])),
            "eat": self.eat,
            "fork": self.fork,
            "write": self.write,
            "limits": lambda a: json.dumps(limits()),
        }

    def begin(self) -> None:
        if self.options.child:
            subprocess.Popen(["sleep", "601"], start_new_session=True)
        match self.options.start:
            case "crash":
                sys.stderr.write(f"cannot go on: {os.environ.get('TOKEN', 'no token')}\n")
                sys.exit(3)
            case "leak":
                sys.stderr.write("starting\n" + "\n".join(forms(os.environ["TOKEN"])) + "\n")
                sys.exit(3)
            case "noise":
                write("Welcome to the nasty server!\n{not json}\n\n[]\n")
            case "silence":
                time.sleep(600)

    def take(self, message: Json) -> None:
        method, params = message.get("method"), message.get("params") or {}
        if "id" not in message:
            return
        match method:
            case "initialize":
                result: Any = {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "nasty", "version": "1"},
                }
            case "tools/list":
                result = self.list(params.get("cursor"))
            case "tools/call":
                result = self.call(params["name"], params.get("arguments") or {})
            case _:
                result = {}
        say({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def list(self, cursor: str | None) -> Json:
        names = [*self.tools, *(f"more_{n}" for n in range(self.options.tools + self.more))]
        start = int(cursor or 0)
        page = names[start : start + self.options.page]
        listed: list[Json] = [
            {"name": name, "description": f"does {name}", "inputSchema": {"type": "object"}}
            for name in page
        ]
        for tool in listed:
            if tool["name"] == "echo":
                tool["annotations"] = {"readOnlyHint": True}
        after = start + self.options.page
        return {"tools": listed, **({"nextCursor": str(after)} if after < len(names) else {})}

    def call(self, name: str, arguments: Json) -> Any:
        if name not in self.tools:
            return {"content": [text(f"there is no {name}")], "isError": True}
        found = self.tools[name](arguments)
        return found if isinstance(found, dict) else {"content": [text(str(found))]}

    def mark(self, arguments: Json) -> str:
        with open(self.options.marks, "a") as file:
            file.write(f"{arguments.get('text', '')}\n")
        time.sleep(float(arguments.get("seconds", 0)))
        return "marked"

    def mark_then_die(self, arguments: Json) -> str:
        self.mark(arguments)
        os._exit(4)

    def sleep(self, arguments: Json) -> str:
        time.sleep(float(arguments["seconds"]))
        return str(arguments.get("text", "slept"))

    def noise(self, arguments: Json) -> str:
        write("log: a line that is no JSON\n" * int(arguments["lines"]))
        return "still here"

    def flood(self, arguments: Json) -> str:
        for number in range(int(arguments["lines"])):
            sys.stderr.write(f"line {number} {'e' * 1000}\n")
        sys.stderr.flush()
        return "flooded"

    def hang(self, arguments: Json) -> str:
        with OUT:  # nobody else can answer, either
            time.sleep(600)
        return ""

    def grow(self, arguments: Json) -> str:
        self.more += 1
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return "grown"

    def picture(self, arguments: Json) -> Json:
        data = "QUJD" * int(arguments.get("size", 1))
        return {
            "content": [text("look:"), {"type": "image", "data": data, "mimeType": "image/png"}]
        }

    def eat(self, arguments: Json) -> str:
        self.eaten = [b"x" * 1024 * 1024 for _ in range(int(arguments["mib"]))]
        time.sleep(float(arguments.get("pause", 0)))
        return "eaten"

    def fork(self, arguments: Json) -> str:
        for _ in range(int(arguments["times"])):
            subprocess.Popen(["sleep", "602"])
        time.sleep(float(arguments.get("pause", 0)))
        return "forked"

    def write(self, arguments: Json) -> str:
        with open(os.path.join(os.environ["TMPDIR"], "big"), "wb") as file:
            for _ in range(int(arguments["mib"])):
                file.write(b"x" * 1024 * 1024)
        return "written"

    def environ_error(self, arguments: Json) -> Json:
        secret = os.environ.get("TOKEN", "")
        sys.stderr.write(f"the token is {secret}\n")
        sys.stderr.flush()
        return {"content": [text(f"bad token {secret}")], "isError": True}


def forms(secret: str) -> list[str]:
    """How programs print a secret that they fail on."""
    encoded = secret.encode()
    return [
        f"the token is {secret}",
        json.dumps({"env": {"TOKEN": secret}}),
        json.dumps(json.dumps({"TOKEN": secret})),
        repr(secret),
        f"https://host/?token={urllib.parse.quote(secret, safe='')}",
        f"Basic {base64.b64encode(b'me:' + encoded).decode()}",
        encoded.hex(),
        f"PIN={os.environ.get('PIN', '')}.",
        f"{'x' * 390} {secret}",  # the tail keeps a part of so long a line
    ]


def spy() -> list[str]:
    """What of other processes can be read: their environment, memory, open files, folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        for name in ("environ", "mem", "maps", "auxv"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                if name == "mem" or file.read():
                    found.append(f"{pid} {name}")
        for name in ("cwd", "root", "exe"):
            with contextlib.suppress(OSError):
                found.append(f"{pid} {name} {os.readlink(f'/proc/{pid}/{name}')}")
    return found


def read(path: str) -> str:
    """A file's text, or what lies in a folder."""
    if os.path.isdir(path):
        return " ".join(sorted(os.listdir(path)))
    with open(path) as file:
        return file.read()


def signalled(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return str(error.strerror)
    return "sent"


def limits() -> Json:
    kinds = ("CORE", "DATA", "FSIZE", "NOFILE", "NPROC")
    return {kind: resource.getrlimit(getattr(resource, f"RLIMIT_{kind}"))[0] for kind in kinds}


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def say(message: Json) -> None:
    write(json.dumps(message) + "\n")


def write(line: str) -> None:
    with OUT:
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
