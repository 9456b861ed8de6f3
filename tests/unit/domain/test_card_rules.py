"""The rules for MCP servers, Key Vault references and cron expressions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from aos.domain.cards.assessment import CardProblem
from aos.domain.cards.check import assess_card
from aos.domain.cards.cron import find_cron_problem
from aos.domain.cards.hosts import find_url_problem, is_public_address
from aos.domain.cards.identity import CardKind
from aos.domain.cards.operator_rules import find_command_problem
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import (
    SecretReference,
    mcp_server_card_from_dict,
    parse_secret_reference,
)
from aos.domain.codec import encode

VAULT = CardPolicy(key_vault_uri="https://aos-mcp.vault.azure.net/")
GOOD: dict[str, Any] = {
    "server_id": "github",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-github"],
}
SERVER = GOOD["args"][1]


def problems(raw: dict[str, Any], policy: CardPolicy | None = None) -> list[tuple[str, str, str]]:
    """What is said about the card of `github`."""
    assessment, _ = assess_card(
        json.dumps(raw).encode(),
        kind=CardKind.MCP_SERVER,
        card_id="github",
        policy=policy or CardPolicy(),
    )
    return [(p.path, p.message, p.hint) for p in assessment.errors]


BROKEN: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "neither command nor url": (
        {"server_id": "github"},
        ("command", "command or url is missing", 'write either "command" or "url"'),
    ),
    "both": (
        GOOD | {"url": "https://example.com/mcp"},
        ("command", "the card has both command and url", 'write either "command" or "url"'),
    ),
    "a shell": (
        GOOD | {"command": "/bin/bash"},
        (
            "command",
            "the command '/bin/bash' is a shell, or runs code from its arguments",
            "write the server's own program",
        ),
    ),
    "code in an option": (
        GOOD | {"args": ["-c", "require('fs')"]},
        ("command", "the option '-c' runs code", "start a published server by its package name"),
    ),
    "a package that is not allowed": (
        GOOD | {"args": ["-y", "evil"]},
        (
            "command",
            "'npx -y evil' is not allowed here",
            "AOS_MCP_ALLOWED lists: npx -y @modelcontextprotocol/; the operator can add a prefix"
            " to it",
        ),
    ),
    "a way out of the scope": (
        GOOD | {"args": ["-y", "@modelcontextprotocol/../evil"]},
        ("command", "the command line contains '..'", "write the name without '..'"),
    ),
    "a command line in command": (
        GOOD | {"command": "npx -y"},
        (
            "command",
            'the string "npx -y" is not allowed here',
            "write one program's name; put its arguments into args",
        ),
    ),
    "env that changes the code": (
        GOOD | {"env": {"Ld_Preload": "/tmp/x.so"}},
        (
            "env.Ld_Preload",
            "env may not set 'Ld_Preload'",
            "remove it: it would change what code the server runs",
        ),
    ),
    "a secret of the wrong type, which is not repeated": (
        GOOD | {"env": {"PIN": 4711}},
        ("env.PIN", "must be a string, not a number or a boolean", 'put it in double quotes: "…"'),
    ),
    "http": (
        {"server_id": "github", "url": "http://example.com/mcp"},
        ("url", "'http://example.com/mcp' is not https", "write https://<public host name>/…"),
    ),
    "loopback": (
        {"server_id": "github", "url": "https://127.0.0.1/mcp"},
        (
            "url",
            "the host '127.0.0.1' is loopback, link-local, private or not valid",
            "write a public host, or ask the operator to list this one",
        ),
    ),
    "args without a command": (
        {"server_id": "github", "url": "https://example.com/mcp", "args": ["x"]},
        ("args", "args has no effect without command", "remove args, or write command"),
    ),
    "a secret that is no MCP server's": (
        GOOD | {"env": {"T": "@Microsoft.KeyVault(VaultName=aos-mcp;SecretName=db)"}},
        (
            "env.T",
            "the secret 'db' may not be read by MCP servers",
            "name the secret mcp-github-…",
        ),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_server_card_says_where_and_what_to_write(what: str) -> None:
    raw, said = BROKEN[what]
    assert problems(raw) == [said]


def test_a_secret_of_another_vault_is_refused() -> None:
    uri = "https://elsewhere.vault.azure.net/secrets/mcp-github-token"
    found = problems(GOOD | {"env": {"T": f"@Microsoft.KeyVault(SecretUri={uri})"}}, VAULT)
    assert found == [
        (
            "env.T",
            "the vault 'elsewhere.vault.azure.net' is not the one of AOS_KEY_VAULT_URI",
            "use 'aos-mcp.vault.azure.net'",
        )
    ]


@pytest.mark.parametrize(
    ("prefix", "allowed", "refused"),
    [
        ("npx -y @scope/", "npx -y @scope/x", "npx -y @scope/"),
        ("npx -y @scope/", "npx -y @scope/x --port 1", "npx -y @scope2/x"),
        ("uvx mcp-server", "uvx mcp-server", "uvx mcp-server-evil"),
        ("uvx mcp-server", "uvx mcp-server --root data", "uvx --from evil mcp-server"),
    ],
)
def test_a_prefix_ends_at_a_words_end_unless_it_ends_with_a_slash(
    prefix: str, allowed: str, refused: str
) -> None:
    policy = CardPolicy(mcp_allowed=(prefix,))
    for line, is_allowed in ((allowed, True), (refused, False)):
        command, *args = line.split()
        assert (find_command_problem(command, args, policy) is None) is is_allowed, line


@pytest.mark.parametrize("option", ["-c", "-e", "--eval", "--eval=1", "--call", "-yc", "-pe"])
def test_options_that_run_code_are_refused_though_the_prefix_is_allowed(option: str) -> None:
    policy = CardPolicy(mcp_allowed=("npx",))
    found = find_command_problem("npx", [option, "x"], policy)
    assert found is not None
    assert "runs code" in found.message


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/x",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://metadata.google.internal/",
        "https://intranet/",
        "https://user:pass@example.com/",
        "https://example.com/#x",
        "ftp://example.com/",
        "example.com",
        "https://[broken/",
        "https://exa\tmple.com/",
        " https://example.com/",
        "https://example.com/\x00",
        "https://example.com/\u2028x",
    ],
)
def test_addresses_that_are_not_public_https_are_refused(url: str) -> None:
    assert find_url_problem(url, frozenset()) is not None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "100.64.0.1",
        "127.1.2.3",
        "168.63.129.16",
        "169.254.169.254",
        "192.0.0.10",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::a9fe:a9fe",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:db8::1",
        "2002:a9fe:a9fe::1",
        "2002:0808:0808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_an_address_that_means_a_private_one_is_private_in_cards_and_when_called(
    address: str,
) -> None:
    host = f"[{address}]" if ":" in address else address
    assert find_url_problem(f"https://{host}/mcp", frozenset()) is not None
    assert not is_public_address(address)
    assert not is_public_address(f"{address}%1")


@pytest.mark.parametrize("address", ["8.8.8.8", "20.50.2.1", "2603:1020::1", "2a00:1450:4001::8a"])
def test_an_address_of_the_internet_is_public_in_cards_and_when_called(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert find_url_problem(f"https://{host}/mcp", frozenset()) is None
    assert is_public_address(address)


@pytest.mark.parametrize("host", ["127.1", "0177.0.0.1", "0xa9fea9fe", "1.2.3", "127.0.0.1."])
def test_a_host_that_ends_in_a_number_is_an_address_or_nothing(host: str) -> None:
    assert find_url_problem(f"https://{host}/mcp", frozenset()) is not None


def test_a_listed_host_may_be_private_and_speak_http() -> None:
    policy = CardPolicy(listed_hosts=frozenset({"127.0.0.1:9000"}))
    assert find_url_problem("http://127.0.0.1:9000/mcp", policy.listed_hosts) is None
    assert find_url_problem("http://127.0.0.1:9001/mcp", policy.listed_hosts) is not None
    assert find_url_problem("https://example.com/mcp", policy.listed_hosts) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("@Microsoft.KeyVault(...)", SecretReference(name="mcp-github-api-key")),
        (
            "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/mcp-x/1a)",
            SecretReference(name="mcp-x", vault_host="v.vault.azure.net", version="1a"),
        ),
        (
            "@Microsoft.KeyVault(VaultName=my-vault;SecretName=mcp-x)",
            SecretReference(name="mcp-x", vault_host="my-vault.vault.azure.net"),
        ),
    ],
)
def test_the_three_forms_of_a_reference_are_read(text: str, meant: SecretReference) -> None:
    assert parse_secret_reference(text, server_id="github", name="API_KEY") == meant


@pytest.mark.parametrize(
    "text",
    [
        "prefix @Microsoft.KeyVault(...)",
        "@Microsoft.KeyVault()",
        "@Microsoft.KeyVault(SecretUri=http://v/secrets/x)",
        "@Microsoft.KeyVault(VaultName=a/b;SecretName=x)",
    ],
)
def test_a_reference_of_no_known_form_stops_the_card(text: str) -> None:
    with pytest.raises(ValueError, match=r"Key Vault|SecretUri|VaultName"):
        parse_secret_reference(text, server_id="github", name="API_KEY")
    assert [path for path, _, _ in problems(GOOD | {"env": {"API_KEY": text}})] == ["env.API_KEY"]


def test_a_reference_without_a_vault_goes_live_with_a_warning() -> None:
    raw = GOOD | {"env": {"API_KEY": "@Microsoft.KeyVault(...)"}}
    body = json.dumps(raw).encode()
    for policy, warned in ((CardPolicy(), True), (VAULT, False)):
        found, _ = assess_card(body, kind=CardKind.MCP_SERVER, card_id="github", policy=policy)
        assert (found.errors, bool(found.warnings)) == ((), warned)


@pytest.mark.parametrize(
    ("fields", "path", "hint"),
    [
        ({"env": {"TOKEN": "${GITHUB_TOKEN}"}}, "env.TOKEN", "@Microsoft.KeyVault(...)"),
        ({"env": {"TOKEN": "${TOKEN:-hush}"}}, "env.TOKEN", "@Microsoft.KeyVault(...)"),
        ({"env": {"TOKEN": "Bearer ${env:TOKEN}"}}, "env.TOKEN", "as the whole value"),
        ({"args": ["-y", SERVER, "--key=${input:key}"]}, "args[2]", "a secret belongs into env"),
        ({"env": {"TOKEN": "$GITHUB_TOKEN"}}, "env.TOKEN", "write the value itself"),
        ({"env": {"TOKEN": "<YOUR_TOKEN>"}}, "env.TOKEN", "write the value itself"),
        ({"args": ["-y", SERVER, "${HOME}/x"]}, "args[2]", "write the value itself"),
    ],
)
def test_a_placeholder_of_a_published_file_is_told_with_what_to_write(
    fields: dict[str, Any], path: str, hint: str
) -> None:
    body = json.dumps(GOOD | fields).encode()
    found, _ = assess_card(body, kind=CardKind.MCP_SERVER, card_id="github", policy=VAULT)
    assert found.errors == ()
    (warning,) = found.warnings
    assert warning.path == path
    assert warning.message.startswith(("AOS does not replace $", "AOS does not replace <"))
    assert hint in warning.hint
    assert "hush" not in warning.message


def test_a_placeholder_in_headers_or_a_url_is_told_too() -> None:
    raw = {
        "server_id": "web",
        "url": "https://mcp.example.com/${TENANT}/mcp",
        "headers": {"Authorization": "Bearer ${API_KEY}", "X-Plain": "$5 {x} a<b>"},
    }
    body = json.dumps(raw).encode()
    found, _ = assess_card(body, kind=CardKind.MCP_SERVER, card_id="web", policy=VAULT)
    assert found.errors == ()
    assert [w.path for w in found.warnings] == ["headers.Authorization", "url"]


def test_secrets_are_in_no_repr() -> None:
    card = mcp_server_card_from_dict(GOOD | {"env": {"T": "hush"}, "headers": {"A": "hush"}})
    assert "hush" not in repr(card)
    assert (card.may_repeat("x"), card.env["T"]) == (False, "hush")


def test_a_problem_has_the_form_of_status_files() -> None:
    problem = CardProblem(path="a", message="b", hint="c")
    assert encode(problem) == {"path": "a", "message": "b", "hint": "c"}


@pytest.mark.parametrize(
    "text",
    ["* * * * *", "*/5 0-6 1,15 jan-dec MON-fri", "59 23 31 12 7", "0 9 * * 1-5", "5/15 * * * *"],
)
def test_cron_expressions_of_five_fields_are_accepted(text: str) -> None:
    assert find_cron_problem(text) is None


NO_CRON = """
* * * *
* * * * * *
60 * * * *
* 24 * * *
* * 0 * *
* * * 13 *
* * * * 8
*/0 * * * *
5-1 * * * *
@daily
x * * * *
1,,2 * * * *
-1 * * * *
"""


@pytest.mark.parametrize("text", NO_CRON.split("\n"))
def test_other_cron_expressions_are_refused_with_a_reason(text: str) -> None:
    assert find_cron_problem(text)


@pytest.mark.parametrize(
    "text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30 2 */2", "0 0 31-31 feb *"]
)
def test_an_expression_that_never_fires_is_refused(text: str) -> None:
    assert find_cron_problem(text) == f"{text!r} never fires: no year has such a day"


@pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 29 feb */7", "0 0 30 2 mon"])
def test_an_expression_that_fires_in_some_year_is_accepted(text: str) -> None:
    assert find_cron_problem(text) is None


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    part = st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    )
    step = st.one_of(st.just(""), st.integers(1, 99).map(lambda n: f"/{n}"))
    stepped = st.tuples(part, step).map("".join)
    return st.lists(stepped, min_size=1, max_size=3).map(",".join)


@given(fields=st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 7)))
def test_what_our_check_accepts_the_library_reads(fields: tuple[str, ...]) -> None:
    text = " ".join(fields)
    problem = find_cron_problem(text)
    if problem is not None:
        assert problem.endswith("never fires: no year has such a day")
    else:
        next(CronSim(text, datetime(2030, 1, 1, tzinfo=UTC)))
