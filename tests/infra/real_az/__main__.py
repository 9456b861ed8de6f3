"""Checks deploy.py with the real az: `python -m tests.infra.real_az --az PATH`.

Needs az (`pip install azure-cli` in a venv of its own), openssl, and bicep on PATH. It logs in to
a stand-in for Azure Resource Manager on this machine, and nowhere else; takes a few minutes.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.infra.real_az.arm import GROUP, SUBSCRIPTION, TENANT, Arm

INFRA = Path(__file__).parents[3] / "infra"
_SECONDS = 300
_SITE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Web/sites/aos"


def main() -> int:
    """Run every case; the exit code is the number of those that went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--az", required=True, type=Path, help="the real az")
    parser.add_argument("--case", choices=list(CASES), help="only this one")
    args = parser.parse_args()
    cases = [args.case] if args.case else list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        certificate, key = _certificate(place)
        arm = Arm(certificate, key)
        identity = _identity()
        try:
            environment = _environment(place, args.az, certificate, arm, identity)
            _run(["az", "login", "--identity", "-o", "none"], environment)
            return sum(not _case(name, arm, place, environment) for name in cases)
        finally:
            arm.close()
            identity.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What Resource Manager does; the exit code, how often it is told to deploy, what is said."""

    given: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    puts: int = 1
    said: str


def _foresees(kind: str) -> dict[str, Any]:
    changes = [{"resourceId": _SITE, "changeType": kind}]
    return {"what_if": {"status": "Succeeded", "properties": {"changes": changes}}}


def _fails(code: str) -> dict[str, Any]:
    inner = json.dumps({"error": {"code": code, "message": f"about {code}"}})
    details = [{"code": "Conflict", "message": inner}]
    return {"failures": [{"code": "DeploymentFailed", "message": "m", "details": details}]}


_QUOTA = {"code": "QuotaExceeded", "message": "m"}
_REFUSED = {"code": "InvalidTemplateDeployment", "message": "m", "details": [_QUOTA]}
_BROKEN = {"status": "Failed", "error": {"code": "InvalidTemplate", "message": "m"}}
CASES = {
    "a deployment that succeeds": Case(said="deployed and healthy"),
    "a what-if that creates": Case(given=_foresees("Create"), said="CREATE (1)"),
    "a what-if that deletes": Case(
        given=_foresees("Delete"), code=3, puts=0, said="DESTRUCTIVE (1)"
    ),
    "a what-if that failed": Case(
        given={"what_if": _BROKEN}, code=1, puts=0, said="InvalidTemplate"
    ),
    "a refused template": Case(
        given={"validate": (400, {"error": _REFUSED})}, code=1, puts=0, said="QuotaExceeded"
    ),
    "a logic error while deploying": Case(
        given=_fails("SkuNotAvailable"), code=1, said="SkuNotAvailable"
    ),
    "an environmental error, then success": Case(
        given=_fails("ServerTimeout"), puts=2, said="again in 15 s"
    ),
}


def _case(name: str, arm: Arm, place: Path, environment: dict[str, str]) -> bool:
    case = CASES[name]
    given = case.given
    arm.what_if = given.get("what_if", {"status": "Succeeded", "properties": {"changes": []}})
    arm.validate = given.get("validate", (200, {"properties": {}}))
    arm.failures = list(given.get("failures", []))
    arm.puts, arm.unknown = [], []
    command = [
        *(sys.executable, str(INFRA / "deploy.py"), "-g", GROUP, "-l", "eastus"),
        *("-t", str(INFRA / "main-modular.bicep"), "-p", str(INFRA / "parameters/dev.bicepparam")),
        *("--git-sha", "0123456789abcdef", "--audit-dir", str(place / "audit"), "--skip-rights"),
        *("--health-timeout", "5"),
    ]
    done = _run(command, environment, check=False)
    good = (done.returncode, len(arm.puts)) == (case.code, case.puts) and case.said in done.stdout
    seen = f"exit {done.returncode}, told to deploy {len(arm.puts)} times"
    sys.stdout.write(f"{'ok ' if good else 'BAD'} {name}: {seen}\n")
    sys.stdout.flush()
    if not good:
        sys.stdout.write(f"{done.stdout}\n{done.stderr}\nnot known here: {arm.unknown}\n")
    return good


def _environment(
    place: Path, az: Path, certificate: Path, arm: Arm, identity: HTTPServer
) -> dict[str, str]:
    config = place / "azure"
    config.mkdir()
    names = ("active_directory", "active_directory_graph_resource_id", "gallery", "management")
    others = "".join(f"endpoint_{name} = {arm.url}/\n" for name in names)
    (config / "clouds.config").write_text(
        f"[stand-in]\nendpoint_resource_manager = {arm.url}/\n"
        f"endpoint_active_directory_resource_id = {arm.url}/\n{others}"
    )
    (config / "config").write_text("[cloud]\nname = stand-in\n[core]\ncollect_telemetry = no\n")
    return {
        **os.environ,
        "PATH": f"{az.absolute().parent}{os.pathsep}{os.environ['PATH']}",
        "AZURE_CONFIG_DIR": str(config),
        "AZURE_BICEP_USE_BINARY_FROM_PATH": "true",
        "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{identity.server_address[1]}/token",
        "IDENTITY_HEADER": "any",
        "REQUESTS_CA_BUNDLE": str(certificate),
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }


def _certificate(place: Path) -> tuple[Path, Path]:
    certificate, key = place / "certificate.pem", place / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost"),
    ]
    _run(command, dict(os.environ))
    return certificate, key


def _identity() -> HTTPServer:
    """What a managed identity's endpoint answers: a token that nobody signed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now = int(time.time())
            claims = {"tid": TENANT, "oid": TENANT, "appid": TENANT, "exp": now + 3600, "iat": now}
            parts = [json.dumps(it).encode() for it in ({"alg": "RS256"}, claims)]
            token = ".".join(base64.urlsafe_b64encode(it).decode().rstrip("=") for it in parts)
            document = {
                "access_token": f"{token}.eA",
                "expires_on": str(now + 3600),
                "resource": "any",
                "token_type": "Bearer",
            }
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _run(
    command: list[str], environment: dict[str, str], *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if check and done.returncode:
        sys.exit(f"{command[:3]} failed: {done.stderr}")
    return done


if __name__ == "__main__":
    sys.exit(main())
