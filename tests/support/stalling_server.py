"""A server that answers questions at once, but for a time in which it answers nobody; in a process of its own.

Usage: stalling_server.py STALL_AFTER STALL_S: after so many questions all wait so long. Prints its port.
"""

from __future__ import annotations

import asyncio
import json
import sys

MODELS = {"data": [{"name": "stub", "tasks": ["vqa"]}]}
ANSWER = {"answers": [{"answer": "red", "score": 1.0}], "model": "stub@1"}


class Stub:
    def __init__(self, stall_after: int, stall_s: float) -> None:
        self._left, self._stall_s = stall_after, stall_s
        self._running = asyncio.Event()
        self._running.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [
                    line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")
                ]
                await reader.readexactly(int(lengths[0]) if lengths else 0)
                body = json.dumps(await self._answer(head.split()[1])).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, path: str) -> object:
        if path == "/v1/models":
            return MODELS
        if path == "/v1/collections":
            return {"collections": []}
        self._left -= 1
        if self._left == 0:
            self._running.clear()
            asyncio.get_running_loop().call_later(self._stall_s, self._running.set)
        await self._running.wait()
        return ANSWER


async def main() -> None:
    stub = Stub(int(sys.argv[1]), float(sys.argv[2]))
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, limit=2**20)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
