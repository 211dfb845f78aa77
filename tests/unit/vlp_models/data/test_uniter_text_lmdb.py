from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lmdb
import lz4.frame
import msgpack
import pytest
from vlp_models.data.uniter_text_lmdb import UniterTextLmdb, UniterVocabulary, read_pictures_of_texts
from vlp_spec.errors import ArtifactError, ConfigError, InvalidArgumentError

GOLDEN = Path(__file__).parents[3] / "golden" / "uniter_lmdb" / "txt_db" / "vqa_toy.db"
META = {"CLS": 101, "SEP": 102, "MASK": 103, "v_range": [106, 211], "tokenizer": "bert-base-cased"}
EXAMPLE = {"input_ids": [7, 8], "img_fname": "a.npz", "target": {"labels": [3], "scores": [1.0]}}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a database of one example "q"."""

    def write(example: Any = EXAMPLE, *, stored: bytes | None = None, **files: Any) -> Path:
        contents: Mapping[str, Any] = {"meta": META, "id2len": {"q": 2}, "txt2img": {"q": "a.npz"}, **files}
        for name, content in contents.items():
            if content is not None:
                (tmp_path / f"{name}.json").write_text(json.dumps(content))
        value = lz4.frame.compress(msgpack.packb(example, use_bin_type=True)) if stored is None else stored
        with lmdb.open(str(tmp_path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
            transaction.put(b"q", value)
        return tmp_path

    return write


def test_the_official_database_is_read() -> None:
    texts = UniterTextLmdb(GOLDEN)
    assert texts.vocabulary == UniterVocabulary(101, 102, 103, (106, 211), "bert-base-cased")
    assert texts.ids() == ["9000", "9001", "9002", "9003"]
    example = texts.example("9001")
    assert (example.input_ids, example.picture_ids) == ((210, 163, 118), ("coco_val2014_000000000101",))
    assert (example.labels, example.scores) == ((1, 6), (1.0, 0.3))
    assert example.raw["question_id"] == 9001
    assert texts.with_special_tokens(example.input_ids) == [101, 210, 163, 118, 102]
    assert texts.with_special_tokens([5], [6, 7]) == [101, 5, 102, 6, 7, 102]
    texts.close()
    assert read_pictures_of_texts(GOLDEN)["9003"] == ("coco_val2014_000000000100",)


def test_long_texts_are_left_out_of_training() -> None:
    texts = UniterTextLmdb(GOLDEN, max_tokens=4)
    assert texts.ids() == ["9001", "9003"]
    assert texts.lengths == {"9001": 3, "9003": 4}
    texts.close()


@pytest.mark.parametrize(
    ("target", "labels", "scores"),
    [
        (None, (), ()),
        (0, (0,), (1.0,)),
        (1, (1,), (1.0,)),
        ({"labels": [], "scores": []}, (), ()),
        ({"labels": [2, 5], "scores": [1, 0.3]}, (2, 5), (1.0, 0.3)),
    ],
)
def test_targets_of_all_tasks_are_read(
    make: Make, target: Any, labels: tuple[int, ...], scores: tuple[float, ...]
) -> None:
    texts = UniterTextLmdb(make({**EXAMPLE, "target": target, "img_fname": ["a-img0.npz", "a-img1.npz"]}))
    example = texts.example("q")
    texts.close()
    assert (example.labels, example.scores, example.picture_ids) == (labels, scores, ("a-img0", "a-img1"))


@pytest.mark.parametrize(
    ("example", "names"),
    [
        ([1, 2], "a msgpack list, expected a map"),
        ({**EXAMPLE, "input_ids": None}, "input_ids: expected"),
        ({**EXAMPLE, "input_ids": [1, -1]}, "input_ids: expected"),
        ({**EXAMPLE, "input_ids": [1, True]}, "input_ids: expected"),
        ({**EXAMPLE, "img_fname": 3}, "name of a picture's file"),
        ({**EXAMPLE, "img_fname": []}, "name of a picture's file"),
        ({**EXAMPLE, "target": "yes"}, "target: expected"),
        ({**EXAMPLE, "target": {"labels": [1], "scores": []}}, "target: expected"),
        ({**EXAMPLE, "target": {"labels": ["a"], "scores": [1]}}, "target.labels"),
        ({**EXAMPLE, "target": {"labels": [1], "scores": [2]}}, "target.scores"),
        ({**EXAMPLE, "target": {"labels": [1], "scores": [float("nan")]}}, "target.scores"),
    ],
)
def test_a_broken_example_is_named(make: Make, example: Any, names: str) -> None:
    texts = UniterTextLmdb(make(example))
    with pytest.raises(InvalidArgumentError, match=f"example 'q': {names}|example 'q': .*{names}"):
        texts.example("q")
    with pytest.raises(InvalidArgumentError, match="no example 'other'"):
        texts.example("other")
    texts.close()


WHOLE = lz4.frame.compress(msgpack.packb(EXAMPLE, use_bin_type=True))


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (b"", "lz4 frame"),
        (b"not lz4", "not an lz4 frame"),
        (WHOLE[:-1], "lz4 frame"),
        (WHOLE[:30], "lz4 frame"),
        (lz4.frame.compress(bytes(17 * 1024 * 1024)), "over 16777216 bytes"),
        (lz4.frame.compress(b"\xc1"), "not msgpack"),
    ],
)
def test_damaged_or_swelling_content_is_refused(make: Make, stored: bytes, names: str) -> None:
    texts = UniterTextLmdb(make(stored=stored))
    with pytest.raises(InvalidArgumentError, match=f"example 'q': .*{names}"):
        texts.example("q")
    texts.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta", []),
        ("meta", {**META, "CLS": None}),
        ("meta", {**META, "SEP": "102"}),
        ("meta", {**META, "v_range": [1]}),
        ("meta", {**META, "v_range": 7}),
        ("id2len", {"q": -1}),
        ("id2len", {"q": "2"}),
        ("meta", None),
        ("id2len", None),
    ],
)
def test_a_broken_or_missing_file_beside_it_is_named(make: Make, name: str, content: Any) -> None:
    with pytest.raises(ArtifactError, match=f"{name}.json: "):
        UniterTextLmdb(make(**{name: content}))


@pytest.mark.parametrize("content", [None, [], {"q": 3}, {"q": []}, {"q": ["a.npz", ""]}])
def test_a_broken_list_of_pictures_is_named(make: Make, content: Any) -> None:
    with pytest.raises(ArtifactError, match=r"txt2img.json: "):
        read_pictures_of_texts(make(txt2img=content))


@pytest.mark.parametrize("name", ["lmdb", "lz4.frame", "msgpack"])
def test_a_library_that_is_missing_is_told_when_it_is_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"install vlpserve\[lmdb\]"):
        UniterTextLmdb(GOLDEN)
