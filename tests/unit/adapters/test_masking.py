"""No secret of an MCP server is left in what it says, in whatever form it says it."""

from __future__ import annotations

import base64
import html
import json
import re
import textwrap
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from aos.adapters.mcp.masking import HIDDEN_LINE, Masker, find_parts, find_secrets

SECRET = "p@ß\"w\\o'r d/<é>&+=%key-0123456789"
PEM = (
    "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7\n-----END KEY-----"
)

WAYS: dict[str, Callable[[str], str]] = {
    "as it is": lambda s: s,
    "in JSON": json.dumps,
    "in JSON with its letters": lambda s: json.dumps(s, ensure_ascii=False),
    "in JSON in JSON": lambda s: json.dumps(json.dumps({"token": s})),
    "in JSON with escaped slashes": lambda s: json.dumps(s).replace("/", "\\/"),
    "as Python shows it": repr,
    "as Node shows it": lambda s: "'" + s.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "in a path": lambda s: f"/x/{quote(s, safe='')}/y",
    "in a path with slashes": quote,
    "in a form": lambda s: f"a=1&key={quote_plus(s)}",
    "in a path in lower case": lambda s: re.sub(
        "%..", lambda match: match[0].lower(), quote(s, safe="")
    ),
    "in HTML": html.escape,
    "in base64": lambda s: base64.b64encode(s.encode()).decode(),
    "in base64 for URLs": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
    "in Basic, one before": lambda s: base64.b64encode(f"x{s}".encode()).decode(),
    "in Basic, two before": lambda s: base64.b64encode(f"me:{s}".encode()).decode(),
    "in Basic, between": lambda s: base64.b64encode(f"user:{s}:more".encode()).decode(),
    "in hex": lambda s: s.encode().hex(),
    "in HEX": lambda s: s.encode().hex().upper(),
    "among other words": lambda s: f"Error: token{s}is wrong",
    "twice": lambda s: s + s,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("secret", [SECRET, "ghp_planted_0123456789", "four", "päss"])
def test_a_secret_is_hidden_however_it_is_written(way: str, secret: str) -> None:
    written = WAYS[way](secret)
    masker = Masker([secret])
    for said in (masker.text(written), masker.mask_printed(written), masker.value([written])[0]):
        assert "***" in said or said == HIDDEN_LINE
        for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe="")):
            assert form not in said
        for start in range(3):
            core = secret.encode()[start:]
            assert base64.b64encode(core[: max(3, len(core) // 3 * 3)]).decode() not in said


@pytest.mark.parametrize("short", ["7", "x1", "042", "a b", "é"])
def test_a_short_secret_costs_the_line_and_spares_the_other_text(short: str) -> None:
    masker = Masker([short])
    printed = masker.mask_printed(f"starting up\nPIN={short}, wrong\nthe 1042x7x10a bc went on")
    assert printed == f"starting up\n{HIDDEN_LINE}\nthe 1042x7x10a bc went on"
    assert masker.text(f"PIN={short}, 1042x7x10") == "PIN=***, 1042x7x10"


@pytest.mark.parametrize(
    "printed",
    [
        SECRET[:20],
        SECRET[-20:],
        f"cut at the end: {SECRET[:7]}",
        f"{SECRET[-6:]} stands at the beginning",
        SECRET.upper(),
        "\n".join(textwrap.wrap("ghp_planted_0123456789", 12)),
        "DEBUG ghp_planted_012345",
        base64.b64encode(SECRET.encode()).decode()[3:-4],
    ],
)
def test_no_piece_of_a_secret_is_left_in_what_a_server_prints(printed: str) -> None:
    said = Masker([SECRET, "ghp_planted_0123456789"]).mask_printed(printed)
    assert "***" in said
    left = said.replace("***", " ").split()
    for secret in (SECRET, "ghp_planted_0123456789"):
        assert not any(word.lower() in secret.lower() and len(word) >= 4 for word in left)


def test_each_line_of_a_secret_with_several_is_hidden() -> None:
    masker = Masker([PEM])
    assert masker.mask_printed(PEM.replace("\n", "\nkey: ")) == "***\nkey: ***\nkey: ***\nkey: ***"


def test_what_holds_no_secret_stays_as_it_is() -> None:
    text = "npm error code E404\n  at Server.start (/srv/x.js:12:3)\n\nlistening on 8080\n"
    masker = Masker([SECRET, "ghp_planted_0123456789"])
    assert (masker.mask_printed(text), masker.text(text)) == (text, text)
    assert Masker([]).mask_printed(text) == text
    assert Masker(["", " "]).mask_printed(text) == text


@pytest.mark.parametrize(
    ("secret", "part"),
    [
        ("Bearer abcdefgh", "abcdefgh"),
        ("postgres://me:s3cr3t%21@db/x", "s3cr3t!"),
        ("postgres://me:s3cr3t%21@db/x", "s3cr3t%21"),
        ('{"Authorization": "Bearer ntn_12345"}', "ntn_12345"),
        ('[{"key": "value-of-it"}]', "value-of-it"),
    ],
)
def test_what_is_a_secret_by_itself_is_a_secret_too(secret: str, part: str) -> None:
    assert {secret, part} <= set(find_parts(secret))


@pytest.mark.parametrize("name", ["API_KEY", "github_token", "DB_PASSWORD", "OPENAPI_MCP_HEADERS"])
def test_a_variable_whose_name_is_a_secrets_is_one(name: str) -> None:
    assert find_secrets({name: "value"}, of_headers=False) == {"value"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NODE_ENV", "production"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("MAX_TOKENS", "4096"),
        ("AUTH_TYPE", "basic"),
        ("USE_TOKEN", "true"),
        ("MEMORY_FILE_PATH", "/data/memory.json"),
    ],
)
def test_a_variable_that_is_no_secret_is_left_readable(name: str, value: str) -> None:
    assert find_secrets({name: value}, of_headers=False) == frozenset()


def test_secrets_of_headers_arguments_and_addresses_are_found() -> None:
    headers = {"Authorization": "Bearer abc", "X-Custom": "12345678", "Accept": "application/json"}
    assert find_secrets(headers, of_headers=True) == {"Bearer abc", "abc", "12345678"}
    args = ["--port", "80", "--api-key", "k1", "--token=t1", "--dsn", "x://u:pw1@h"]
    assert find_secrets({}, of_headers=False, args=args) == {"k1", "t1", "x://u:pw1@h", "pw1"}
    url = "https://h/mcp?api_key=k2&page=2"
    assert find_secrets({}, of_headers=True, url=url) == {"k2"}


@pytest.mark.parametrize("text", ["a" * 400_000, "ghp_" * 100_000, "://a:" * 80_000, "%" * 400_000])
def test_text_of_any_length_is_masked_in_linear_time(text: str) -> None:
    masker = Masker([SECRET, "ghp_planted_0123456789", "x1"])
    began = time.process_time()
    masker.mask_printed(text)
    masker.text(text)
    list(find_parts(text))
    assert time.process_time() - began < 3.0
