"""Is a secret in the repository? What is published with every clone can be read by everybody."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "an account key": r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{43,86}==?",
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60})",
    "a key of OpenAI": r"\bsk-(?:proj-)?[A-Za-z0-9]{32}",
    "a secret of Entra ID": r"\b[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{34}\b",
    "a shared access signature": r"[?&]sig=[A-Za-z0-9%+/]{43}",
}
# Azurite's account and key are in Microsoft's documentation, the same for everybody.
KNOWN = frozenset(
    {
        "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
        "K1SZFPTOtr/KBHBeksoGMGw=="
    }
)


def found_in(text: str) -> list[str]:
    """What looks like a secret in a text, and what kind it is."""
    return [
        f"{kind}: {match[0][:24]}…"
        for kind, pattern in SECRETS.items()
        for match in re.finditer(pattern, text)
        if match[0] not in KNOWN
    ]


def test_no_file_of_the_repository_holds_a_secret() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30, text=True
    )
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > 500
    texts = {name: (ROOT / name).read_bytes().decode("utf-8", "replace") for name in names}
    assert {name: found for name, text in texts.items() if (found := found_in(text))} == {}


@pytest.mark.parametrize(
    "secret",
    [
        "AccountKey=" + "a" * 86 + "==",
        "SharedAccessKey=" + "b" * 43 + "=",
        "-----BEGIN " + "RSA PRIVATE KEY-----\n" + "c" * 64,
        "ghp_" + "d" * 36,
        "sk-" + "e" * 40,
        "abc8Q~" + "f" * 34,
        "https://x.blob.core.windows.net/c?sv=1&sig=" + "g" * 43,
    ],
)
def test_what_a_secret_looks_like_is_found(secret: str) -> None:
    assert len(found_in(f"before {secret} after")) == 1
