"""What the apps import late is there when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

INSTALL = "import sys; from aos.bootstrap import lean_imports; lean_imports.install()\n"
BLOCKING = """
from azure.core.exceptions import ServiceRequestError
from azure.storage.{kind} import {client}

before = "requests" in sys.modules
client = {client}("http://127.0.0.1:1/account", credential="a2V5", retry_total=0)
try:
    next(iter(client.{listing}()))
except ServiceRequestError:
    print(before, "requests" in sys.modules)
"""
ENCRYPTION = """
from azure.storage.{kind} import _encryption

before = "cryptography" in sys.modules
sealed = _encryption.AESGCM(bytes(32)).encrypt(bytes(12), b"text", None)
assert _encryption.AESGCM(bytes(32)).decrypt(bytes(12), sealed, None) == b"text"
cipher = _encryption.Cipher(_encryption.AES(bytes(32)), _encryption.CBC(bytes(16)))
print(before, len(cipher.encryptor().update(bytes(16))))
"""
PACKAGES = """
import mcp.client.session
before = "mcp.server" in sys.modules
from mcp import ClientSession
from mcp.client import Client
assert ClientSession is mcp.client.session.ClientSession
assert not hasattr(mcp, "nothing")
import mcp.server.lowlevel
print(before, Client.__name__)
"""


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", INSTALL + code],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    ).stdout.strip()


@pytest.mark.parametrize(
    ("kind", "client", "listing"),
    [
        ("blob", "BlobServiceClient", "list_containers"),
        ("queue", "QueueServiceClient", "list_queues"),
    ],
)
def test_a_blocking_client_imports_what_it_sends_with(kind: str, client: str, listing: str) -> None:
    assert run(BLOCKING.format(kind=kind, client=client, listing=listing)) == "False True"


@pytest.mark.parametrize("kind", ["blob", "queue"])
def test_encryption_by_the_client_works(kind: str) -> None:
    assert run(ENCRYPTION.format(kind=kind)) == "False 16"


def test_short_names_of_the_mcp_sdk_are_there() -> None:
    assert run(PACKAGES) == "False Client"
