"""Pages of other origins: what a browser is told, with refusals and streams as with answers."""

from __future__ import annotations

from typing import Any

import pytest
from vlp_server.config import AccessConfig, HttpConfig, ServerConfig
from vlp_spec.errors import ConfigError

PAGE = "https://page.example"
KEY = AccessConfig(keys=(f"laptop:read:{'a' * 64}",))
PICTURE: dict[str, Any] = {"files": [("image", ("a", b"picture"))]}


def open_to(*origins: str, **http: Any) -> ServerConfig:
    return ServerConfig(http=HttpConfig(cors_origins=origins, **http), access=KEY)


def preflight(origin: str = PAGE, method: str = "POST", headers: str = "content-type, x-api-key") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_a_preflight_needs_no_key_and_has_an_id(door_with: Any) -> None:
    async with door_with(open_to(PAGE, cors_max_age_s=60)) as door:
        told = await door.options("/v1/vqa", headers={**preflight(), "X-Request-Id": "r-1"})
    assert told.status_code == 200
    assert told.headers["access-control-allow-origin"] == PAGE
    assert told.headers["access-control-max-age"] == "60"
    assert "Origin" in told.headers["vary"]
    assert told.headers["x-request-id"] == "r-1"
    assert "access-control-allow-credentials" not in told.headers


@pytest.mark.parametrize(
    ("sent", "word"),
    [
        (preflight(origin="https://other.example"), "origin"),
        (preflight(origin="https://page.example.evil.example"), "origin"),
        (preflight(origin="null"), "origin"),
        (preflight(method="PATCH"), "method"),
        (preflight(headers="x-strange"), "headers"),
    ],
)
async def test_what_a_page_may_not_is_a_problem(sent: dict[str, str], word: str, door_with: Any) -> None:
    async with door_with(open_to(PAGE)) as door:
        refused = await door.options("/v1/vqa", headers=sent)
    assert (refused.status_code, refused.json()["kind"]) == (403, "permission_denied")
    assert word in refused.json()["detail"]
    assert "access-control-allow-origin" not in refused.headers


async def test_a_page_may_read_what_it_needs_of_refusals_too(door_with: Any) -> None:
    async with door_with(open_to(PAGE)) as door:
        responses = [
            await door.post("/v1/vqa", headers={"Origin": PAGE}, **PICTURE),
            await door.get("/v1/nothing", headers={"Origin": PAGE}),
            await door.get("/livez", headers={"Origin": PAGE}),
        ]
    assert [response.status_code for response in responses] == [401, 401, 200]
    for response in responses:
        exposed = {name.strip().lower() for name in response.headers["access-control-expose-headers"].split(",")}
        assert {"x-request-id", "retry-after", "server-timing", "ratelimit-remaining"} <= exposed
        assert response.headers["access-control-allow-origin"] == PAGE


async def test_a_page_may_read_faults_of_ours_and_streams(scripted: Any, door_with: Any) -> None:
    config = ServerConfig(http=HttpConfig(cors_origins=(PAGE,)))
    async with door_with(config) as door:
        stream = await door.post("/v1/caption", headers={"Origin": PAGE}, data={"stream": "true"}, **PICTURE)
        scripted.readiness = None
        fault = await door.get("/readyz", headers={"Origin": PAGE})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (fault.status_code, fault.json()["kind"]) == (500, "internal")
    for response in (stream, fault):
        assert response.headers["access-control-allow-origin"] == PAGE
        assert response.headers["x-request-id"]


async def test_every_origin_by_a_star_and_credentials_by_name(door_with: Any) -> None:
    async with door_with(open_to("*")) as door:
        anybody = await door.get("/livez", headers={"Origin": "https://any.example"})
    async with door_with(open_to(PAGE, cors_credentials=True)) as door:
        told = await door.options("/v1/vqa", headers=preflight())
        named = await door.get("/livez", headers={"Origin": PAGE})
    assert anybody.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in anybody.headers
    assert (
        told.headers["access-control-allow-credentials"] == named.headers["access-control-allow-credentials"] == "true"
    )
    assert named.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    "http",
    [
        {"cors_origins": ("*",), "cors_credentials": True},
        {"cors_origins": ("*", PAGE)},
        *(
            {"cors_origins": (origin,)}
            for origin in (
                "page.example",
                "https://page.example/",
                "https://Page.example",
                "https://a b",
                "ftp://a",
                "https://*.a",
                "https://user@a",
                "null",
                "https://a:123456",
                "",
            )
        ),
    ],
)
def test_origins_that_are_none_end_the_start(http: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="cors_"):
        HttpConfig(**http)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://[::1]:8443", "https://page.example", "*"])
def test_origins_as_browsers_send_them(origin: str) -> None:
    assert HttpConfig(cors_origins=(origin,)).cors_origins == (origin,)


async def test_a_page_may_send_what_the_packages_of_others_send(door_with: Any) -> None:
    openai = "authorization, content-type, user-agent, x-stainless-arch, x-stainless-lang, x-stainless-os"
    openai += ", x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version"
    async with door_with(open_to(PAGE)) as door:
        for headers in (f"{openai}, x-stainless-timeout", "inference-header-content-length"):
            assert (await door.options("/v1/vqa", headers=preflight(headers=headers))).status_code == 200
        told = await door.get("/livez", headers={"Origin": PAGE})
    exposed = {name.strip().lower() for name in told.headers["access-control-expose-headers"].split(",")}
    assert {"inference-header-content-length", "x-should-retry"} <= exposed


FOREIGN = ("https://evil.example", "null", "http://door.evil.example", "ftp://door", "door")
CHANGES = [("POST", "/v1/collections/c/items"), ("PUT", "/v1/collections/c"), ("DELETE", "/v1/collections/c")]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("allowed", [(), (PAGE,)])
async def test_pages_of_others_change_nothing_where_nobody_has_a_key(
    origin: str, allowed: tuple[str, ...], door_with: Any
) -> None:
    async with door_with(ServerConfig(http=HttpConfig(cors_origins=allowed))) as door:
        for method, path in [*CHANGES, ("POST", "/v1/admin/models/load")]:
            refused = await door.request(method, path, headers={"Origin": origin}, **PICTURE)
            assert (refused.status_code, refused.json()["kind"]) == (403, "permission_denied")
            assert refused.headers["x-request-id"]
        asked = await door.post("/v1/vqa", headers={"Origin": origin}, data={"question": "what?"}, **PICTURE)
        assert asked.status_code == 200
        assert (await door.get("/v1/nothing", headers={"Origin": origin})).status_code == 404


async def test_own_pages_allowed_ones_and_callers_that_are_no_pages_change_what_they_like(door_with: Any) -> None:
    async with door_with(ServerConfig(http=HttpConfig(cors_origins=(PAGE,)))) as door:
        own = str(door.base_url).rstrip("/")
        for headers in ({}, {"Origin": PAGE}, {"Origin": own}, {"Origin": own.replace("http:", "https:")}):
            answer = await door.put("/v1/collections/c", json={}, headers=headers)
            assert answer.json().get("kind") != "permission_denied"
    async with door_with(ServerConfig(http=HttpConfig(cors_origins=("*",)))) as door:
        answer = await door.put("/v1/collections/c", json={}, headers={"Origin": "https://any.example"})
        assert answer.json().get("kind") != "permission_denied"
