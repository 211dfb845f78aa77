"""Collections as an operator meets them: real commands, a real server, and both killed in the middle of their work."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image
from server_process import ServerProcess
from vlp_client import Client, NewItem, VlpClientError

MODELS = ("dummy-encoder", "dummy-matcher")
PICTURES = 400
WRITERS = 3
KILLS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that all differ."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        Image.new("RGB", (40, 40), (number % 256, number // 256, 7)).save(root / f"{number:04}.png")
    return root


def vlpserve(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vlp_cli", *map(str, arguments)]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(vlpserve(*arguments), cwd=cwd, capture_output=True, text=True, timeout=120)


def embedded(server: ServerProcess) -> int:
    """Pictures that the server has embedded so far, by its own figures."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("vlpserve_embedded_items_total") and 'role="image"' in line]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in found))


def test_a_bulk_run_that_is_killed_goes_on_and_embeds_nothing_twice(folder: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, *MODELS) as server, Client(server.url) as client:
        command = vlpserve("index", "pets", folder, "--url", server.url, "--batch", 8, "--parallel", 4)
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while embedded(server) < PICTURES // 4:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The calls that were under way are seen through by the server.
        time.sleep(0.5)
        half = client.collection("pets").info().items
        assert PICTURES // 4 <= half < PICTURES

        again = run("index", "pets", folder, "--url", server.url, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert f"{PICTURES - half} added, {half} there already, 0 failed" in again.stdout
        assert client.collection("pets").info().items == embedded(server) == PICTURES


def test_a_folder_is_indexed_and_searched_and_a_bad_file_is_told(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for number in (1, 2, 3):
        (own / f"{number}.png").write_bytes((folder / f"{number:04}.png").read_bytes())
    (own / "bad.jpg").write_bytes(b"no picture")
    with ServerProcess(tmp_path, *MODELS) as server:
        indexed = run("index", "few", own, "--url", server.url, "--errors", "e.jsonl", cwd=tmp_path)
        assert (indexed.returncode, indexed.stdout.splitlines()[-1]) == (1, "3 added, 0 there already, 1 failed")
        (line,) = (tmp_path / "e.jsonl").read_text().splitlines()
        assert json.loads(line)["kind"] == "invalid_image"
        found = run("search", "few", "--image", own / "2.png", "-k", 1, "--json", "--url", server.url, cwd=tmp_path)
        assert json.loads(found.stdout)["hits"][0]["id"] == "2.png"
        words = run("search", "few", "a cat", "--rerank", 3, "--url", server.url, cwd=tmp_path)
        assert "reranked by dummy-matcher@1" in words.stdout
        assert words.stdout.split("\n")[0].split() == ["id", "score", "reranked", "metadata"]
        plain = run("search", "few", "a cat", "--url", server.url, cwd=tmp_path)
        assert plain.stdout.split("\n")[0].split() == ["id", "score", "metadata"]
        listed = run("collections", "list", "--url", server.url, cwd=tmp_path)
        assert listed.stdout.splitlines()[1].split() == ["few", "3", "dummy-encoder@1", "cosine", "kept"]


def test_what_the_server_acknowledged_outlives_kill_9(folder: Path, tmp_path: Path) -> None:
    """The whole way: client, HTTP, embedding, store. Every acknowledged item is there afterwards, and whole."""
    moments = random.Random(3)
    acknowledged: set[str] = set()
    lock = threading.Lock()
    names = sorted(path.name for path in folder.iterdir())
    for attempt in range(KILLS):
        with ServerProcess(tmp_path, *MODELS) as server, Client(server.url) as client:
            (tmp_path / "ready.json").unlink()
            check(client, folder, acknowledged, is_first=attempt == 0)
            threads = [
                threading.Thread(target=ingest, args=(server.url, folder, names[writer::WRITERS], acknowledged, lock))
                for writer in range(WRITERS)
            ]
            before = len(acknowledged)
            for thread in threads:
                thread.start()
            while len(acknowledged) <= before and len(acknowledged) < PICTURES:
                time.sleep(0.001)
            time.sleep(moments.uniform(0.0, 0.15))
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            for thread in threads:
                thread.join()
    assert len(acknowledged) >= KILLS
    with ServerProcess(tmp_path, *MODELS) as server, Client(server.url) as client:
        check(client, folder, acknowledged, is_first=False)


def ingest(url: str, folder: Path, names: list[str], acknowledged: set[str], lock: threading.Lock) -> None:
    """Add pictures that are not there yet until the server is gone, and note what it says is kept."""
    with Client(url) as client:
        for name in names:
            if name in acknowledged:
                continue
            try:
                item = NewItem(image=folder / name, id=name, metadata={"name": name})
                (result,) = client.collection("pets").add([item]).results
            except VlpClientError:
                return
            assert result.status in ("created", "updated")
            with lock:
                acknowledged.add(name)


def check(client: Client, folder: Path, acknowledged: set[str], *, is_first: bool) -> None:
    pets = client.collection("pets")
    if is_first:
        pets.create()
        return
    there = pets.lookup(sorted(path.name for path in folder.iterdir()))
    assert acknowledged <= there.keys()
    # Beyond those, at most the one that each writer was waiting for; and no half item, acknowledged or not.
    assert len(there) == pets.info().items <= len(acknowledged) + KILLS * WRITERS
    for name in there:
        assert pets.get(name).metadata == {"name": name}
        assert pets.image(name) == (folder / name).read_bytes()
        if name not in acknowledged or name.endswith("0.png"):
            assert pets.search(image=folder / name, k=1, exact=True).hits[0].id == name


def test_backup_restore_and_embedding_anew(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "collections"
    with ServerProcess(tmp_path, *MODELS) as server:
        assert run("index", "pets", folder, "--url", server.url, cwd=tmp_path).returncode == 0
        at = ("--set", f"collections.place={place}")
        copied = run("collections", "backup", tmp_path / "copy", *at, cwd=tmp_path)
        assert f"1 collection, {PICTURES} items, {PICTURES} pictures" in copied.stdout
        busy = run("collections", "reembed", "pets", "dummy-encoder", *at, cwd=tmp_path)
        assert (busy.returncode, "is in use by process" in busy.stderr) == (2, True)
        second = subprocess.run(
            vlpserve("serve", "dummy-encoder", "--port", 0, *at), capture_output=True, text=True, timeout=60
        )
        assert (second.returncode, "or several the Milvus store" in second.stderr) == (2, True)
    other = ("--set", f"collections.place={tmp_path / 'restored'}")
    restored = run("collections", "restore", tmp_path / "copy", *other, cwd=tmp_path)
    assert f"{PICTURES} items" in restored.stdout
    same = run("collections", "reembed", "pets", "dummy-encoder", "--set", "engine.engine=dummy", *other, cwd=tmp_path)
    assert (same.returncode, "already" in same.stderr) == (1, True)
