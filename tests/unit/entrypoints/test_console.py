"""The console's page: its headers, its files, and what they may not contain."""

from __future__ import annotations

import gzip
import re
from typing import Any

import azure.functions as func
import pytest

from aos.entrypoints.http.console.routes import FOLDER, POLICY, read_page
from tests.unit.entrypoints.laptop_in_memory import InMemory, request

MOST_BYTES = 150_000
OURS = ("'none'", "'self'", "data:")


async def get(apps: InMemory, name: str | None = None, **options: Any) -> func.HttpResponse:
    method = options.pop("method", "GET")
    if name is None:
        return await apps.main.console.page(request(method, **options))
    return await apps.main.console.file(request(method, parts={"file": name}, **options))


async def test_the_page_is_for_anyone_and_runs_only_its_own_scripts(apps: InMemory) -> None:
    page = await get(InMemory({"AOS_AUTH": "keys"}))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert {source for rule in rules.values() for source in rule.split()} <= set(OURS)


async def test_a_browser_that_has_a_file_is_not_sent_it_again(apps: InMemory) -> None:
    first = await get(apps, "app.js")
    assert (first.status_code, first.mimetype) == (200, "text/javascript")
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await get(apps, "app.js", headers={"if-none-match": known})
        assert (again.status_code, again.get_body()) == (304, b"")
        assert again.headers["ETag"] == etag
    changed = await get(apps, "app.js", headers={"if-none-match": '"other"'})
    assert changed.get_body() == first.get_body()


async def test_head_answers_without_a_body_and_other_methods_are_refused(apps: InMemory) -> None:
    head = await get(apps, method="HEAD")
    assert (head.status_code, head.get_body()) == (200, b"")
    assert head.headers["ETag"] == (await get(apps)).headers["ETag"]
    assert (await get(apps, method="POST")).status_code == 405


@pytest.mark.parametrize("name", ["none.js", "../routes.py", "__init__.py", ""])
async def test_only_the_files_of_the_page_are_served(apps: InMemory, name: str) -> None:
    assert (await get(apps, name)).status_code == 404


async def test_a_page_of_another_site_does_not_get_the_console(apps: InMemory) -> None:
    elsewhere = {"host": "localhost:7071", "sec-fetch-site": "cross-site"}
    assert (await get(apps, headers=elsewhere)).status_code == 403
    ours = {"host": "localhost:7071", "sec-fetch-site": "same-origin"}
    assert (await get(apps, headers=ours)).status_code == 200


def test_every_file_that_is_named_exists_and_none_comes_from_elsewhere() -> None:
    files = {name: file.content.decode() for name, file in read_page().items()}
    assert set(files) == {path.name for path in FOLDER.iterdir()}
    named = set(re.findall(r"/api/console/([\w.]+)", files["index.html"]))
    for name, text in files.items():
        if name.endswith(".js"):
            named |= set(re.findall(r"from '\./([\w.]+)'", text))
    assert named == set(files) - {"index.html"}
    for name, text in files.items():
        addresses = set(re.findall(r"(?:https?:|['\"(])//[\w-]+\.[\w./-]+", text))
        assert addresses - {"http://www.w3.org/2000/svg"} == set(), name


def test_no_script_or_style_is_inline_and_data_never_becomes_markup() -> None:
    page = read_page()["index.html"].content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    for name, file in read_page().items():
        text = file.content.decode()
        for way in ("innerHTML =", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, name


def test_the_whole_page_is_small() -> None:
    sizes = [len(file.content) for file in read_page().values()]
    assert sum(sizes) <= MOST_BYTES
    assert sum(len(gzip.compress(file.content)) for file in read_page().values()) <= MOST_BYTES / 3
