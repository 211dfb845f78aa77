from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from vlp_cli.index_sources import FoundPicture, id_of_path, open_source
from vlp_spec.errors import ConfigError


def read(path: Path) -> list[FoundPicture]:
    source = open_source(path)
    found = list(source.read())
    assert source.count == len(found)
    return found


def write_shard(path: Path, files: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as shard:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def test_a_folder_is_read_in_order_with_all_of_its_folders(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.PNG", "a/d.webp", "notes.txt", "a/e.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = read(tmp_path)
    assert [one.item_id for one in found] == ["a:c.PNG", "a:d.webp", "b.jpg"]
    assert [one.content for one in found] == [b"a/c.PNG", b"a/d.webp", b"b.jpg"]
    assert found[0].metadata == {"path": "a/c.PNG"}


def test_a_shard_as_img2dataset_writes_it(tmp_path: Path) -> None:
    record = {"key": "000000001", "url": "http://a/b.jpg", "caption": "a cat", "width": 64, "error_message": None}
    write_shard(
        tmp_path / "00000.tar",
        {
            "000000001.jpg": b"one",
            "000000001.txt": b"a cat",
            "000000001.json": json.dumps(record).encode(),
            "000000002.json": b"{}",
            "000000003.jpg": b"three",
            "000000003.txt": b"a dog",
        },
    )
    found = read(tmp_path / "00000.tar")
    assert [(one.item_id, one.content) for one in found] == [("000000001", b"one"), ("00000:000000003", b"three")]
    assert [one.metadata for one in found] == [record, {"caption": "a dog"}]
    assert read(tmp_path) == found  # a folder of shards


def test_samples_in_folders_of_a_compressed_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.tar.gz", {"part/a.png": b"a", "part/b.v2.png": b"b", "part/b.png": b"c"}, "w:gz")
    found = open_source(tmp_path / "x.tar.gz").read()
    assert [(one.item_id, one.content) for one in found] == [("x:part:a", b"a"), ("x:part:b", b"c")]


def test_keys_that_begin_anew_in_every_shard_give_other_items(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000.tar", {"000000.jpg": b"one", "000000.cls": b"7"})
    write_shard(tmp_path / "00001.tar", {"000000.jpg": b"two"})
    assert [(one.item_id, one.content) for one in read(tmp_path)] == [
        ("00000:000000", b"one"),
        ("00001:000000", b"two"),
    ]


def test_other_paths_have_other_ids() -> None:
    paths = ("a/b", "a:b", "a::b", "a/:b", "a:/b", "a\\b", "a%3Ab", "a//b")
    assert len({id_of_path(path) for path in paths}) == len(paths)
    assert not any("/" in id_of_path(path) for path in paths)


def test_a_damaged_shard_does_not_end_a_folder_of_shards(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"no tar file at all")
    write_shard(tmp_path / "1.tar.gz", {f"{number}.jpg": bytes(2000) for number in range(4)}, "w:gz")
    whole = (tmp_path / "1.tar.gz").read_bytes()
    (tmp_path / "1.tar.gz").write_bytes(whole[: len(whole) // 2])
    write_shard(tmp_path / "2.tar", {"a.jpg": b"a"})
    found = list(open_source(tmp_path).read())
    assert [one.place for one in found if one.fault] == [str(tmp_path / "0.tar"), str(tmp_path / "1.tar.gz")]
    assert found[-1].content == b"a"


def test_a_list_of_paths_and_urls(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"a")
    lines = [
        {"image": "in/a.jpg", "id": "first", "metadata": {"n": 1}},
        {"image": "in/a.jpg", "captions": ["ignored"]},
        {"image": "https://example.org/x.png", "id": 7},
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    first, second, third = read(path)
    assert (first.item_id, first.content, first.metadata) == ("first", b"a", {"n": 1})
    assert (second.item_id, second.metadata) == ("in:a.jpg", {})
    assert (third.item_id, third.content, third.url) == ("7", None, "https://example.org/x.png")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ('{"id": "a"}', "image"),
        ('{"image": ""}', "image"),
        ('{"image": "a.jpg", "metadata": 3}', "metadata"),
        ('{"image": "missing.jpg"}', "cannot be read"),
        ('{"image": "../secret.jpg"}', "leads out"),
        ('{"image": "/etc/passwd"}', "leads out"),
        ('{"image": "link.jpg"}', "leads out"),
        ('{"image": "a.jpg", "metadata": {"n": NaN}}', "NaN is not JSON"),
        ('{"image": "a.jpg", "metadata": {"n": "\\ud800"}}', "not JSON"),
        ('{"image": "a\\u0000.jpg"}', "null"),
        ('{"image": "a.jpg", "metadata": ' + '{"a": ' * 5000 + "1" + "}" * 5000 + "}", "not JSON"),
    ],
)
def test_faulty_lines_of_a_list(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "list.jsonl").write_text(line + "\n")
    (found,) = read(folder / "list.jsonl")
    assert found.content is None
    assert fault in (found.fault or "")


def test_a_faulty_record_of_a_shard_does_not_end_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.tar", {"a.jpg": b"a", "a.json": b"{", "b.jpg": b"b", "b.json": b"[]"})
    first, second = read(tmp_path / "x.tar")
    assert "not JSON" in (first.fault or "")
    assert "expected a JSON object" in (second.fault or "")


def test_what_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    for name in ("a.txt", "missing.tar", "missing.jsonl", "missing"):
        with pytest.raises(ConfigError):
            open_source(tmp_path / name)


def test_an_empty_folder_or_list_is_told_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ConfigError, match=r"no picture \(\.bmp, .*\.webp\) in it"):
        open_source(tmp_path)
    (tmp_path / "list.jsonl").write_text("\n\n")
    with pytest.raises(ConfigError, match="no line in it"):
        open_source(tmp_path / "list.jsonl")
