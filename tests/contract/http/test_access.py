"""API keys at the door: every route, every role, and what comes of it in headers, documents, log and figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from dummy_door import dummy_service, open_dummies
from vlp_server.access.keys import Role, new_key
from vlp_server.access.keys_file import add_key
from vlp_server.config import AccessConfig, HttpConfig, LogConfig, ServerConfig
from vlp_server.http.app import create_app
from vlp_server.http.context import speaks_openai
from vlp_spec.errors import ConfigError

Open = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

OPEN = {
    "GET /",
    "GET /docs",
    "GET /openapi.json",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /v2/health/live",
    "GET /v2/health/ready",
}
OIP_MODELS = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
READ = {
    "GET /v1/models",
    "GET /v1/models/{model}",
    "POST /v1/chat/completions",
    *(
        f"POST /v1/{task}"
        for task in (
            "vqa",
            "caption",
            "classify",
            "match",
            "entailment",
            "reasoning",
            "grounding",
            "regions",
            "embeddings",
        )
    ),
    "GET /v1/collections",
    "GET /v1/collections/{name}",
    "GET /v1/collections/{name}/items/{item_id}",
    "GET /v1/collections/{name}/items/{item_id}/image",
    "POST /v1/collections/{name}/items/lookup",
    "POST /v1/collections/{name}/search",
    "GET /v2",
    "GET /v2/models/stats",
    "POST /v2/repository/index",
    *(f"GET {model}{end}" for model in OIP_MODELS for end in ("", "/ready", "/config", "/stats")),
    *(f"POST {model}/infer" for model in OIP_MODELS),
}
WRITE = {
    "PUT /v1/collections/{name}",
    "DELETE /v1/collections/{name}",
    "POST /v1/collections/{name}/items",
    "DELETE /v1/collections/{name}/items/{item_id}",
}
UNDESCRIBED = {"GET /", "GET /docs", "GET /openapi.json"}
MADE = {role: new_key(f"{role}-key", role) for role in Role}
KEYS = {role: key for role, (key, _) in MADE.items()}
ACCESS = AccessConfig(keys=tuple(record.line for _, record in MADE.values()))
PICTURE = {"files": {"image": b"picture"}, "data": {"question": "what?"}}


def routes_there_are() -> set[str]:
    description = create_app(dummy_service("dummy"), ServerConfig(access=ACCESS)).openapi()
    described = {
        f"{method.upper()} {path}" for path, operations in description["paths"].items() for method in operations
    }
    return described | UNDESCRIBED


ROUTES = sorted(routes_there_are())


def needed(route: str) -> Role | None:
    """The role that this test means for a route."""
    if route in OPEN:
        return None
    if route in READ:
        return Role.READ
    return Role.WRITE if route in WRITE else Role.ADMIN


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def ask(door: httpx.AsyncClient, route: str, headers: dict[str, str]) -> httpx.Response:
    method, _, path = route.partition(" ")
    return await door.request(method, path.replace("{", "").replace("}", ""), headers=headers)


@pytest.fixture
async def guarded() -> AsyncIterator[httpx.AsyncClient]:
    async with open_dummies("dummy", config=ServerConfig(access=ACCESS)) as client:
        yield client


def test_each_route_is_meant_here_or_an_admin_s() -> None:
    assert set(ROUTES) >= OPEN | READ | WRITE
    others = set(ROUTES) - OPEN - READ - WRITE
    assert all(route.partition(" ")[2].startswith("/v1/admin/") for route in others), others


@pytest.mark.parametrize("route", ROUTES)
async def test_every_route_lets_in_the_roles_that_are_meant(route: str, guarded: httpx.AsyncClient) -> None:
    role = needed(route)
    unknown, _ = new_key("unknown", Role.ADMIN)
    refused: dict[str, int] = {}
    for sent in (None, unknown, *KEYS.values()):
        response = await ask(guarded, route, {} if sent is None else bearer(sent))
        if response.status_code in (401, 403):
            refused[sent or "none"] = response.status_code
    if role is None:
        assert refused == {}
        return
    below = {KEYS[lower]: 403 for lower in Role if not lower.covers(role)}
    assert refused == {"none": 401, unknown: 401, **below}


async def test_without_keys_nobody_is_asked_for_one() -> None:
    async with open_dummies("dummy") as door:
        for route in sorted(OPEN | READ | WRITE):
            for headers in ({}, bearer("vlp_whatever")):
                assert (await ask(door, route, headers)).status_code not in (401, 403), route


@pytest.mark.parametrize(
    "route",
    ["GET /v1/nothing", "POST /v1/vqa/", "GET /v1/vqa", "GET /v1/admin/nothing", "PATCH /livez", "POST //v1/vqa"],
)
async def test_what_the_table_does_not_have_is_an_admin_s(route: str, guarded: httpx.AsyncClient) -> None:
    statuses = [(await ask(guarded, route, bearer(key))).status_code for key in KEYS.values()]
    assert statuses[:2] == [403, 403]
    assert statuses[2] in (404, 405)
    assert (await ask(guarded, route, {})).status_code == 401


async def test_a_head_needs_what_its_get_does(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.head("/openapi.json")).status_code == 200
    assert (await guarded.head("/v1/models")).status_code == 401


async def test_metrics_can_be_closed() -> None:
    config = ServerConfig(access=AccessConfig(keys=ACCESS.keys, open_metrics=False))
    async with open_dummies("dummy", config=config) as door:
        assert (await door.get("/metrics")).status_code == 401
        assert (await door.get("/metrics", headers=bearer(KEYS[Role.READ]))).status_code == 200
        operation = (await door.get("/openapi.json")).json()["paths"]["/metrics"]["get"]
    assert operation["security"] == [{"bearer": ["read"]}, {"header": ["read"]}]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", "Bearer KEY")], 200),
        ([("authorization", "bearer   KEY ")], 200),
        ([("X-Api-Key", "KEY")], 200),
        ([("X-Api-Key", "KEY"), ("Authorization", "Bearer KEY")], 200),
        # Somebody in between may want an Authorization of his own.
        ([("X-Api-Key", "KEY"), ("Authorization", "Basic YTpi")], 200),
        ([("X-Api-Key", "KEY"), ("Authorization", "Bearer other")], 401),
        ([("X-Api-Key", "KEY"), ("X-Api-Key", "other")], 401),
        ([("Authorization", "Basic KEY")], 401),
        ([("Authorization", "KEY")], 401),
        ([("Authorization", "Bearer")], 401),
        ([("X-Api-Key", "")], 401),
        ([("X-Api-Key", "\xff\xfe")], 401),
        ([("X-Api-Key", "KEYx")], 401),
        ([("X-Api-Key", "DIGEST")], 401),
        ([("Cookie", "api_key=KEY")], 401),
    ],
)
async def test_how_a_key_is_sent(headers: list[tuple[str, str]], status: int, guarded: httpx.AsyncClient) -> None:
    key, record = MADE[Role.READ]
    sent = [
        (name.encode(), value.replace("KEY", key).replace("DIGEST", record.digest.hex()).encode("latin-1"))
        for name, value in headers
    ]
    assert (await guarded.get("/v1/models", headers=sent)).status_code == status


async def test_a_key_in_the_address_is_no_key(guarded: httpx.AsyncClient) -> None:
    key = KEYS[Role.READ]
    assert (await guarded.get("/v1/models", params={"api_key": key, "key": key})).status_code == 401


async def test_a_refusal_is_a_problem_of_a_stable_kind(guarded: httpx.AsyncClient) -> None:
    unknown = await guarded.get("/v1/collections", headers={**bearer("vlp_wrong"), "X-Request-Id": "r1"})
    denied = await guarded.delete("/v1/collections/pets", headers=bearer(KEYS[Role.READ]))
    for response, status, kind in ((unknown, 401, "unauthenticated"), (denied, 403, "permission_denied")):
        assert response.headers["content-type"] == "application/problem+json"
        assert (response.status_code, response.json()["status"], response.json()["kind"]) == (status, status, kind)
        assert response.headers["server-timing"].startswith("total;dur=")
    assert unknown.headers["www-authenticate"] == "Bearer"
    assert unknown.headers["x-request-id"] == unknown.json()["request_id"] == "r1"
    assert "www-authenticate" not in denied.headers
    assert denied.json()["detail"] == "role read: this needs a key of the role write"
    assert "vlp_wrong" not in unknown.text


@pytest.mark.parametrize(
    "route", ["POST /v1/embeddings", "POST /v1/chat/completions", "GET /v1/models", "GET /v1/models/{model}"]
)
async def test_some_refuse_in_the_form_of_openai(route: str, guarded: httpx.AsyncClient) -> None:
    response = await ask(guarded, route, {})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["kind"] == "unauthenticated"
    assert response.headers["content-type"] == "application/json"
    assert response.headers["www-authenticate"] == "Bearer"


async def test_the_body_of_a_refused_request_is_not_read(guarded: httpx.AsyncClient) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 100

    headers = {"Content-Type": "image/png"}
    plain = await guarded.post("/v1/vqa?question=a", content=body(), headers=headers)
    expecting = await guarded.post("/v1/vqa?question=a", content=body(), headers={**headers, "Expect": "100-continue"})
    assert (plain.status_code, expecting.status_code, read) == (401, 401, 0)
    assert "connection" not in plain.headers
    assert expecting.headers["connection"] == "close"


async def test_figures_name_the_route_and_the_kind(guarded: httpx.AsyncClient) -> None:
    await guarded.get("/v1/collections/a")
    await guarded.put("/v1/collections/b", headers=bearer(KEYS[Role.READ]))
    await guarded.get("/v1/nothing")
    text = (await guarded.get("/metrics")).text
    for kind, method, route, status in (
        ("unauthenticated", "GET", "/v1/collections/{name}", 401),
        ("permission_denied", "PUT", "/v1/collections/{name}", 403),
        ("unauthenticated", "GET", "other", 401),
    ):
        labels = f'kind="{kind}",method="{method}",route="{route}",status="{status}"'
        assert f"vlpserve_http_requests_total{{{labels}}} 1.0" in text


async def test_the_access_log_names_the_key_and_never_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    config = ServerConfig(access=ACCESS, log=LogConfig(access=True))
    with caplog.at_level(logging.DEBUG):
        async with open_dummies("dummy", config=config) as door:
            await door.get("/v1/models", headers=bearer(KEYS[Role.WRITE]))
            await door.get("/v1/admin/nothing", headers={"X-Api-Key": KEYS[Role.WRITE]})
            await door.get("/v1/models", headers=bearer("vlp_wrong"))
            await door.get("/livez", headers=bearer(KEYS[Role.WRITE]))
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "vlpserve.access"]
    assert [(line["key"], line["status"], line["kind"]) for line in lines] == [
        ("write-key", 200, None),
        ("write-key", 403, "permission_denied"),
        (None, 401, "unauthenticated"),
        (None, 200, None),
    ]
    told = caplog.text + "".join(map(str, lines))
    assert not any(secret in told for secret in (*KEYS.values(), "vlp_wrong", MADE[Role.WRITE][1].digest.hex()))


async def test_pages_of_allowed_origins_may_send_keys() -> None:
    origin = {"Origin": "https://page.example"}
    config = ServerConfig(access=ACCESS, http=HttpConfig(cors_origins=("https://page.example",)))
    async with open_dummies("dummy", config=config) as door:
        preflight = await door.options(
            "/v1/vqa",
            headers={
                **origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, x-api-key, content-type",
            },
        )
        refused = await door.post("/v1/vqa", headers=origin, **PICTURE)
        plain = await door.options("/v1/vqa", headers=origin)
    assert preflight.status_code == 200
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "x-api-key" in allowed
    # Without this header the page could not read why it is refused.
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://page.example"
    assert plain.status_code == 401


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in UNDESCRIBED])
def test_the_description_says_what_each_route_needs(route: str) -> None:
    method, _, path = route.partition(" ")
    description = create_app(dummy_service("dummy"), ServerConfig()).openapi()
    operation: dict[str, Any] = description["paths"][path][method.lower()]
    role = needed(route)
    if role is None:
        assert "security" not in operation
        assert not {"401", "403"} & set(operation["responses"])
        return
    assert operation["security"] == [{"bearer": [role]}, {"header": [role]}]
    (media_type,) = operation["responses"]["401"]["content"]
    own_form = speaks_openai(path) or path.startswith("/v2")
    assert media_type == ("application/json" if own_form else "application/problem+json")
    assert {"401", "403"} <= set(operation["responses"])
    schemes = description["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["header"]["name"]) == ("bearer", "X-Api-Key")


async def test_the_page_of_documents_names_roles(guarded: httpx.AsyncClient) -> None:
    page = (await guarded.get("/docs")).text
    _, _, dropping = page.partition("<code>DELETE /v1/collections/{name}</code>")
    assert "one with the role write." in dropping.partition("<h2>")[0]


async def test_a_key_is_revoked_while_the_server_runs(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    key, record = new_key("laptop", Role.READ)
    add_key(file, record)
    async with open_dummies("dummy", config=ServerConfig(access=AccessConfig(keys_file=file))) as door:
        assert (await door.get("/v1/models", headers=bearer(key))).status_code == 200
        file.write_text("")
        async with asyncio.timeout(30):
            while (response := await door.get("/v1/models", headers=bearer(key))).status_code == 200:
                pass
    assert response.json()["kind"] == "unauthenticated"


def test_faults_of_the_keys_file_end_the_start(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("nonsense\nlaptop:read:x\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        create_app(dummy_service("dummy"), ServerConfig(access=AccessConfig(keys_file=file)))
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [f"{file}, line 1", f"{file}, line 2"]
