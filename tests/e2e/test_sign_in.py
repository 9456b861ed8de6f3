"""A laptop with AOS_AUTH=easyauth: no platform signs anybody in there, so nobody gets in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest

from aos.entrypoints.route import Route
from aos.entrypoints.routes import MAIN_ROUTES
from devhost.laptop import Laptop
from tests.e2e.road import Road
from tests.scripted_model import ScriptedModel

GUARDED = [route for route in MAIN_ROUTES.values() if route.access != "anyone"]
CLAIMS = [{"typ": "oid", "val": "somebody"}, {"typ": "roles", "val": "AOS.Admin"}]
FORGED = {
    "X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps({"claims": CLAIMS}).encode()).decode(),
    "X-MS-CLIENT-PRINCIPAL-ID": "somebody",
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
    "Authorization": "Bearer x",
    "x-functions-key": "any",
}


@pytest.fixture(scope="module")
def road(model_server: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """main alone, told by its environment that a platform signs callers in."""
    laptop = Laptop(
        root=tmp_path_factory.mktemp("sign-in"),
        model_endpoint=model_server.endpoint,
        apps=("main",),
        settings={"AOS_AUTH": "easyauth", "WEBSITE_AUTH_ENABLED": "True"},
    )
    with laptop:
        made = Road(laptop)
        yield made
        made.close()


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.title)
def test_every_route_but_health_and_status_is_401_whatever_the_headers(
    road: Road, route: Route
) -> None:
    path = re.sub(r"\{\*?\w+\}", "nowhere", route.path)
    method = "GET" if route.method == "ANY" else route.method
    body = None if method == "GET" else {}
    for headers in ({}, FORGED):
        answer = road.call(method, f"/api/{path}", body, headers=headers)
        assert answer.status == 401
        assert "on a laptop, keys or off" in answer.body["error"]["message"]


def test_health_and_status_stay_open_and_tell_a_forger_no_more_than_anybody(road: Road) -> None:
    assert road.call("GET", "/api/health", headers=FORGED).status == 200
    status = road.call("GET", "/api/status", headers=FORGED)
    assert (status.status, status.body) == (200, {"version": "2.0.0", "environment": "dev"})
