"""Bulk runs of the SDK as people meet them: a process, killed in the middle and started again, and a real server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image
from server_process import ServerProcess

PICTURES = 300
PARALLEL, BATCH = 2, 4
RUN = """
import json, sys
from pathlib import Path
from vlp_client import Client, NewItem

url, verb, folder, journal = sys.argv[1:]
paths = sorted(Path(folder).glob("*.png"))
options = {{"parallel": {parallel}, "batch": {batch}, "journal": journal}}
with Client(url) as client:
    if verb == "embed":
        results = client.embed_many(paths, **options)
    else:
        client.collection("pets").create()
        results = client.index_many("pets", (NewItem(image=path) for path in paths), **options)
    told = [[result.ok, result.known] for result in results]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that all differ."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        Image.new("RGB", (40, 40), (number % 256, number // 256, 7)).save(root / f"{number:04}.png")
    return root


def embedded(server: ServerProcess) -> int:
    """Pictures that the server has embedded so far, by its own figures."""
    lines = httpx.get(f"{server.url}/metrics", trust_env=False).text.splitlines()
    found = [line for line in lines if line.startswith("vlpserve_embedded_items_total") and 'role="image"' in line]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in found))


def settled(server: ServerProcess) -> int:
    """The same, once what was under way is done."""
    before = -1
    while before != (before := embedded(server)):
        time.sleep(0.3)
    return before


@pytest.mark.parametrize(("verb", "kept_vectors"), [("embed", "0"), ("embed", "20000"), ("index", "0")])
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_run_that_is_killed_is_gone_on_with_and_nothing_is_done_twice(
    verb: str, kept_vectors: str, scheme: str, folder: Path, tmp_path: Path
) -> None:
    code = RUN.format(parallel=PARALLEL, batch=BATCH)
    with ServerProcess(tmp_path, "dummy-encoder", VLPSERVE_CACHE_EMBEDDING_ENTRIES=kept_vectors) as server:
        url = server.grpc_url if scheme == "grpc" else server.url
        command = [sys.executable, "-c", code, url, verb, str(folder), str(tmp_path / "run.journal")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while embedded(server) < PICTURES // 3:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        half = settled(server)
        assert half < PICTURES
        kept = len((tmp_path / "run.journal").read_bytes().splitlines()) - 1
        # What the server answered and nobody heard: the calls that were under way, at most.
        assert half - PARALLEL * BATCH <= kept <= half

        again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        results = json.loads(again.stdout)
        assert [ok for ok, _ in results] == [True] * PICTURES
        # Only vectors that nobody heard are made again, and only by a server that keeps none; an index has kept them.
        expected = PICTURES + (half - kept if (verb, kept_vectors) == ("embed", "0") else 0)
        assert settled(server) == expected
        assert sum(known for _, known in results) == (kept if verb == "embed" else half)

        third = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert all(known for _, known in json.loads(third.stdout))
        assert settled(server) == expected
