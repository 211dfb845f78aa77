"""Every fault comes out as a status with its kind; nothing of the inside does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_rig import Rig, open_grpc, picture_of, trailing
from service_rig import until
from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_server.config import ServerConfig
from vlp_server.intake.grpc_codes import STATUS
from vlp_spec import errors
from vlp_spec.errors import CapacityError, ConfigError, ErrorKind, InternalError, StartupError, VlpError

REQUEST = vision_language_pb2.VqaRequest(picture=picture_of(b"picture"), questions=["a"])
VQA = "/vlp.v1.VisionLanguage/Vqa"


def all_errors(root: type[VlpError] = VlpError) -> Iterator[type[VlpError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


def make_error(kind: type[VlpError]) -> VlpError:
    if issubclass(kind, InternalError):
        return kind(detail="a secret")
    if issubclass(kind, ConfigError):
        return kind(["a secret"])
    return kind("shown" if not issubclass(kind, StartupError) else "a secret", detail="a secret")


def raising(error: Exception) -> Callable[[], Any]:
    async def behave() -> None:
        raise error

    return behave


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def test_the_table_has_every_kind() -> None:
    assert set(STATUS) == set(ErrorKind)


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_tree_comes_out_in_one_form(
    kind: type[VlpError], scripted_rig: Rig, scripted: Any
) -> None:
    error = make_error(kind)
    scripted.behave = raising(error)
    got = await refused(scripted_rig.vision.Vqa(REQUEST, metadata=(("x-request-id", "my-id"),)))
    expected = ErrorKind.INTERNAL if isinstance(error, StartupError) else error.kind
    assert got.code() is STATUS[expected]
    metadata = trailing(got)
    assert (metadata["error-kind"], metadata["x-request-id"]) == (expected, "my-id")
    assert ("retry-after-s" in metadata) == isinstance(error, CapacityError)
    assert "secret" not in f"{got.details()} {metadata}"


async def test_what_nobody_foresaw_is_internal_and_says_nothing(scripted_rig: Rig, scripted: Any) -> None:
    scripted.behave = raising(RuntimeError("a secret"))
    got = await refused(scripted_rig.vision.Vqa(REQUEST))
    assert (got.code(), trailing(got)["error-kind"]) == (grpc.StatusCode.INTERNAL, "internal")
    assert "secret" not in (got.details() or "")


async def test_a_long_message_in_any_script_fits_a_header(scripted_rig: Rig, scripted: Any) -> None:
    scripted.behave = raising(errors.InvalidArgumentError("日" * 9000 + "\ud800", field="an odd\nfield é"))
    got = await refused(scripted_rig.vision.Vqa(REQUEST))
    assert got.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (got.details() or "").startswith("日日")
    assert trailing(got)["error-field"] == "an odd%0Afield %C3%A9"


async def test_bytes_that_are_no_message_are_the_callers_fault(scripted_rig: Rig) -> None:
    call = scripted_rig.channel.unary_unary(VQA)
    got = await refused(call(b"\xff\xff\xff"))
    assert (got.code(), trailing(got)["error-kind"]) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_argument")


async def test_a_call_without_a_message_is_refused(scripted_rig: Rig) -> None:
    call = scripted_rig.channel.stream_unary(VQA)()
    await call.done_writing()
    got = await refused(call)
    assert got.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_that_is_not_there_is_unimplemented(scripted_rig: Rig) -> None:
    got = await refused(scripted_rig.channel.unary_unary("/vlp.v1.VisionLanguage/Guess")(b""))
    assert got.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_over_the_limit_is_refused_before_it_is_read(scripted: Any) -> None:
    config = ServerConfig()
    config = replace(config, grpc=replace(config.grpc, max_message_bytes=2048))
    async with open_grpc(scripted, config) as rig:
        small = vision_language_pb2.VqaRequest(picture=picture_of(b"a" * 1900), questions=["a"])
        large = vision_language_pb2.VqaRequest(picture=picture_of(b"a" * 2100), questions=["a"])
        assert (await rig.vision.Vqa(small)).model == "scripted@1"
        got = await refused(rig.vision.Vqa(large))
        assert got.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await rig.vision.Vqa(small)).model == "scripted@1"
    assert len(scripted.calls) == 2


async def test_figures_and_the_access_line_name_the_method(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    config = ServerConfig()
    config = replace(config, log=replace(config.log, access=True))
    with caplog.at_level("INFO", "vlpserve.access"):
        async with open_grpc(scripted, config) as rig:
            await rig.vision.Vqa(REQUEST, metadata=(("x-request-id", "one"),))
            await refused(rig.vision.Vqa(vision_language_pb2.VqaRequest()))
            # A line is written when the call is over here, which its caller may know a moment before.
            await until(lambda: sum(record.name == "vlpserve.access" for record in caplog.records) == 2)
    lines = [record.fields for record in caplog.records if record.name == "vlpserve.access"]  # type: ignore[attr-defined]
    assert [(line["route"], line["status"], line["kind"]) for line in lines] == [
        (VQA, "OK", None),
        (VQA, "INVALID_ARGUMENT", "invalid_argument"),
    ]
    assert (lines[0]["request_id"], lines[0]["model"]) == ("one", "scripted@1")
    calls = {"method": VQA, "status": "INVALID_ARGUMENT", "kind": "invalid_argument"}
    assert scripted.metrics.get_sample_value("vlpserve_grpc_calls_total", calls) == 1
    assert scripted.metrics.get_sample_value("vlpserve_grpc_in_flight") == 0
