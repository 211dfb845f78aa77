"""What each door costs over the core: the same question through every one of them, with the dummy engine.

The engine answers in microseconds, so what is measured is the way there: reading the request, limits, keys, the
picture's decoding (the same for all), the answer's form. Every request has a picture of its own, so no cache answers.
The client sends requests that were made beforehand, by plain sockets or as bytes over gRPC, so that it costs little; it
and the server have the machine's cores together. The core is asked in this process, without a door. Rounds alternate
between the doors; medians are printed.

Usage: python benchmarks/doors.py [--rounds 3] [--requests 600] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from PIL import Image
from serving_bench import Addresses, keep, serving
from tritonclient.grpc._utils import _get_inference_request
from vlp_proto.vlp.v1 import content_pb2, vision_language_pb2
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, ModelSettings
from vlp_server.engines.settings import EngineSettings
from vlp_spec.tasks import VqaQuery

CLIENTS = (1, 8)
MODEL, TASK_MODEL, QUESTION = "dummy", "dummy.vqa", "what colour is the boat?"
Ask = Callable[[int], Awaitable[None]]
Made = Callable[[bytes], bytes]
Figures = dict[str, float]


def small_picture(seed: int) -> bytes:
    """A PNG of 64 x 48 pixels, the same for the same seed: its decoding must not hide the door."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 48)).save(buffer, "PNG")
    return buffer.getvalue()


def http_request(path: str, kind: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def multipart(image: bytes) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="question"\r\n\r\n{QUESTION}\r\n'.encode(),
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\n\r\n' + image + b"\r\n--x--\r\n",
    ]
    return http_request("/v1/vqa", "multipart/form-data; boundary=x", b"".join(parts))


def json_body(image: bytes) -> bytes:
    body = {"image": base64.b64encode(image).decode(), "question": QUESTION}
    return http_request("/v1/vqa", "application/json", json.dumps(body).encode())


def raw_body(image: bytes) -> bytes:
    return http_request(f"/v1/vqa?question={QUESTION.replace(' ', '%20')}", "image/png", image)


def chat(image: bytes) -> bytes:
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    content = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
    return http_request("/v1/chat/completions", "application/json", json.dumps(body).encode())


def _strings(module: object, image: bytes) -> list[object]:
    tensors = []
    for name, value in (("image", image), ("text", QUESTION.encode())):
        tensor = module.InferInput(name, [1], "BYTES")  # type: ignore[attr-defined]
        tensor.set_data_from_numpy(np.array([value], dtype=np.object_))
        tensors.append(tensor)
    return tensors


def oip_http(image: bytes) -> bytes:
    body, size = triton_http.InferenceServerClient.generate_request_body(_strings(triton_http, image))
    headers = [f"Inference-Header-Content-Length: {size}"]
    return http_request(f"/v2/models/{TASK_MODEL}/infer", "application/octet-stream", body, *headers)


def vlp_grpc(image: bytes) -> bytes:
    picture = content_pb2.Picture(content=image)
    return bytes(vision_language_pb2.VqaRequest(picture=picture, questions=[QUESTION]).SerializeToString())


def oip_grpc(image: bytes) -> bytes:
    nothing = ("", "", None, 0, False, False, 0, None, None)
    return bytes(
        _get_inference_request(TASK_MODEL, _strings(triton_grpc, image), *nothing).SerializeToString()  # fmt: skip
    )


HTTP_DOORS: dict[str, Made] = {
    "HTTP, multipart": multipart,
    "HTTP, JSON and base64": json_body,
    "HTTP, the picture as body": raw_body,
    "OpenAI's chat": chat,
    "Open Inference Protocol, HTTP": oip_http,
}
GRPC_DOORS: dict[str, tuple[str, Made]] = {
    "gRPC vlp.v1": ("/vlp.v1.VisionLanguage/Vqa", vlp_grpc),
    "Open Inference Protocol, gRPC": ("/inference.GRPCInferenceService/ModelInfer", oip_grpc),
}


async def measured(asks: list[Ask], requests: int, first: int) -> Figures:
    """Closed load: so many clients, each with a way of its own, ask again as soon as they have their answer."""
    seconds: list[float] = []
    numbers = iter(range(first, first + requests))

    async def work(ask: Ask) -> None:
        for number in numbers:
            began = time.perf_counter()
            await ask(number)
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*map(work, asks))
    return {
        "requests_per_s": requests / (time.perf_counter() - began),
        "p50_ms": 1000 * statistics.median(seconds),
    }


async def http_client(address: tuple[str, int], bodies: list[bytes]) -> tuple[Ask, Callable[[], None]]:
    reader, writer = await asyncio.open_connection(*address)

    async def ask(number: int) -> None:
        writer.write(bodies[number])
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:16]:
            raise RuntimeError((head + await reader.read(2000)).decode())
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(length.partition(b":")[2]))

    return ask, writer.close


async def through_http(server: Addresses, bodies: list[bytes], clients: int, requests: int, first: int) -> Figures:
    made = [await http_client(server.http, bodies) for _ in range(clients)]
    try:
        return await measured([ask for ask, _ in made], requests, first)
    finally:
        for _, close in made:
            close()


async def through_grpc(
    server: Addresses, method: str, bodies: list[bytes], clients: int, requests: int, first: int
) -> Figures:
    async with grpc.aio.insecure_channel("{}:{}".format(*server.grpc)) as channel:
        call = channel.unary_unary(method)

        async def ask(number: int) -> None:
            await call(bodies[number])

        await ask(first + requests)  # the connection is made
        return await measured([ask] * clients, requests, first)


async def through_core(pictures: list[bytes], clients: int, requests: int, first: int) -> Figures:
    engine = EngineSettings(engine="dummy")
    service = Service(CoreSettings(models=(ModelSettings(reference=MODEL, engine=engine),)))
    await service.start()
    await service.wait_ready(30)

    async def ask(number: int) -> None:
        await service.vqa(pictures[number], [VqaQuery(QUESTION)])

    try:
        return await measured([ask] * clients, requests, first)
    finally:
        await service.close()


async def measure(given: argparse.Namespace) -> dict[str, dict[int, Figures]]:
    found: dict[str, dict[int, list[Figures]]] = {}
    total = given.rounds * len(CLIENTS) * (given.requests + 1)
    pictures = [small_picture(seed) for seed in range(total)]
    bodies = {name: list(map(made, pictures)) for name, made in HTTP_DOORS.items()}
    bodies |= {name: list(map(made, pictures)) for name, (_, made) in GRPC_DOORS.items()}
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(given.rounds):
            for place, clients in enumerate(CLIENTS):
                first = (round_number * len(CLIENTS) + place) * (given.requests + 1)
                for name in ("the core, no door", *bodies):
                    # A server of its own for each: its caches must not know the pictures.
                    got = await one_door(Path(folder), name, bodies.get(name, pictures), clients, given.requests, first)
                    found.setdefault(name, {}).setdefault(clients, []).append(got)
    return {
        name: {
            clients: {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}
            for clients, rounds in by_clients.items()
        }
        for name, by_clients in found.items()
    }


async def one_door(folder: Path, name: str, bodies: list[bytes], clients: int, requests: int, first: int) -> Figures:
    if name not in HTTP_DOORS and name not in GRPC_DOORS:
        return await through_core(bodies, clients, requests, first)
    own = Path(tempfile.mkdtemp(dir=folder))
    with serving(own, "--engine", "dummy", VLPSERVE_COLLECTIONS_ENABLED="false") as server:
        if name in HTTP_DOORS:
            return await through_http(server, bodies, clients, requests, first)
        return await through_grpc(server, GRPC_DOORS[name][0], bodies, clients, requests, first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = asyncio.run(measure(given))
    core = found["the core, no door"]
    print(
        f"{'':34}" + "".join(f"{clients:>3} client{'s' * (clients > 1):1}: /s   p50 ms   over " for clients in CLIENTS)
    )
    for name, by_clients in found.items():
        row = f"{name:34}"
        for clients, one in by_clients.items():
            over = 1000 * (1 / one["requests_per_s"] - 1 / core[clients]["requests_per_s"])
            row += f"{one['requests_per_s']:14.0f} {one['p50_ms']:8.2f} {over:6.2f}"
        print(row)
    keep({"cores": os.cpu_count(), "rounds": given.rounds, "requests": given.requests, "doors": found}, given.out)


if __name__ == "__main__":
    main()
