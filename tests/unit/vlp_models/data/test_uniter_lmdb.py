from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest
from vlp_models.data.uniter_lmdb import UniterImageLmdb, UniterSelection, holds_uniter_images, open_uniter_images
from vlp_models.data.uniter_text_lmdb import UniterTextLmdb
from vlp_pipeline.pipeline import Item, Padding, pad_batch, padded_sizes
from vlp_pipeline.regions import RegionLimits
from vlp_spec.errors import ArtifactError, InvalidArgumentError, TooLargeError

GOLDEN = Path(__file__).parents[3] / "golden" / "uniter_lmdb"
IMAGES = GOLDEN / "img_db" / "coco_val2014"
NAMES = [f"coco_val2014_000000000{number}" for number in (100, 101, 102)]


@pytest.fixture(params=[False, True], ids=["msgpack", "npz"])
def images(request: pytest.FixtureRequest) -> Iterator[UniterImageLmdb]:
    store = open_uniter_images(IMAGES, is_compressed=request.param, limits=RegionLimits(feature_width=2048))
    yield store
    store.close()


def test_the_official_batch_is_reproduced(images: UniterImageLmdb) -> None:
    texts = UniterTextLmdb(GOLDEN / "txt_db" / "vqa_toy.db", max_tokens=60)
    items, targets, lengths = [], np.zeros((4, 37), dtype=np.float32), []
    for row, example_id in enumerate(json.loads((GOLDEN / "ids_order.json").read_text())):
        example = texts.example(example_id)
        regions = images.regions(example.picture_ids[0])
        ids = np.array(texts.with_special_tokens(example.input_ids), dtype=np.int64)
        arrays = {"input_ids": ids, "img_feat": regions.features, "img_pos_feat": regions.positions}
        items.append(Item(arrays, {"text": len(ids), "regions": len(regions)}))
        targets[row, list(example.labels)] = example.scores
        lengths.append(texts.lengths[example_id] + images.count(example.picture_ids[0]))
    texts.close()
    paddings = {"input_ids": Padding("text"), "img_feat": Padding("regions"), "img_pos_feat": Padding("regions")}
    batch = pad_batch(items, paddings, padded_sizes(items, {}))
    with np.load(GOLDEN / "outputs.npz") as official:
        for name in paddings:
            np.testing.assert_array_equal(batch[name], official[name])
        np.testing.assert_array_equal(targets, official["targets"])
        assert lengths == official["lens"].tolist()
        assert [images.count(name) for name in NAMES] == official["num_bb"].tolist()
        # The mask and the order of a row's text and regions follow from their numbers.
        for row, item in enumerate(items):
            text, regions_end = item.sizes["text"], item.sizes["text"] + item.sizes["regions"]
            assert official["attn_masks"][row].tolist() == [column < regions_end for column in range(25)]
            longest = batch["input_ids"].shape[1]
            order = [*range(text), *range(longest, longest + item.sizes["regions"])]
            assert official["gather_index"][row, :regions_end].tolist() == order


def test_both_forms_hold_the_first_rows_of_the_npz_files(images: UniterImageLmdb) -> None:
    assert sorted(images.ids()) == NAMES
    for name in NAMES:
        regions = images.regions(name)
        with np.load(GOLDEN / "npz" / "coco_val2014" / f"{name}.npz") as stored:
            np.testing.assert_array_equal(regions.features, stored["features"][: len(regions)])
            np.testing.assert_array_equal(regions.scores, stored["conf"][: len(regions), 0])
            np.testing.assert_array_equal(regions.class_probabilities, stored["soft_labels"][: len(regions)])


def test_a_picture_that_is_not_there_is_named(images: UniterImageLmdb) -> None:
    for name in ("other", "", "x" * 600, "__keys__"):
        with pytest.raises(InvalidArgumentError, match="regions: none of picture"):
            images.regions(name)


@pytest.mark.parametrize(
    ("selection", "folder", "counts"),
    [
        (UniterSelection(), "feat_th0.2_max100_min10", "nbb_th0.2_max100_min10.json"),
        (UniterSelection(0.075, 50, 5), "feat_th0.075_max50_min5", "nbb_th0.075_max50_min5.json"),
        (UniterSelection(min_score=-1, num_regions=100), "feat_numbb100", "nbb_th-1_max100_min10.json"),
    ],
)
def test_names_follow_the_selection(selection: UniterSelection, folder: str, counts: str) -> None:
    assert (selection.folder_name, selection.counts_name) == (folder, counts)


def _encoded(array: np.ndarray) -> dict[bytes, Any]:
    return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}


def _arrays(rows: int = 40, confident: int = 20) -> dict[str, np.ndarray]:
    return {
        "features": np.arange(rows * 4.0).reshape(rows, 4).astype(np.float16),
        "norm_bb": np.tile(np.array([[0, 0, 0.5, 0.25, 0.5, 0.25]], dtype=np.float16), (rows, 1)),
        "conf": np.array([0.5] * confident + [0.1] * (rows - confident), dtype=np.float16)[:, None],
    }


def _as_msgpack(arrays: Mapping[str, np.ndarray]) -> bytes:
    packed: bytes = msgpack.packb({name: _encoded(array) for name, array in arrays.items()}, use_bin_type=True)
    return packed


def _as_npz(arrays: Mapping[str, Any]) -> bytes:
    target = io.BytesIO()
    np.savez_compressed(target, **arrays, allow_pickle=True)
    return target.getvalue()


def _write(folder: Path, values: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for name, value in values.items():
            transaction.put(name.encode(), value)


KEYS = {"__keys__": json.dumps(["a.npz", "b.npz"]).encode()}


@pytest.mark.parametrize("is_compressed", [False, True])
def test_without_counts_all_rows_are_counted_by_their_scores(tmp_path: Path, is_compressed: bool) -> None:
    dump = _as_npz if is_compressed else _as_msgpack
    values = {"a.npz": dump(_arrays()), "b.npz": dump(_arrays(confident=3)), **KEYS}
    _write(tmp_path / f"all{'_compressed' if is_compressed else ''}", values)
    assert holds_uniter_images(tmp_path)
    store = open_uniter_images(tmp_path)
    assert [store.count(name) for name in store.ids()] == [20, 10]
    store.close()
    store = open_uniter_images(tmp_path, UniterSelection(max_regions=15, min_regions=5))
    assert [len(store.regions(name)) for name in store.ids()] == [15, 5]
    store.close()


def test_a_fixed_number_needs_neither_counts_nor_scores(tmp_path: Path) -> None:
    arrays = {name: array for name, array in _arrays().items() if name != "conf"}
    _write(tmp_path / "feat_numbb36", {"a.npz": _as_msgpack(arrays), **KEYS})
    store = open_uniter_images(tmp_path, UniterSelection(min_score=-1))
    assert len(store.regions("a")) == store.count("a") == 36
    store.close()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (_as_msgpack(_arrays())[:-1], "not msgpack, or cut short"),
        (_as_msgpack({**_arrays(), "features": _arrays()["features"].astype(np.int32)}), "features: expected an array"),
        (_as_msgpack({**_arrays(), "norm_bb": _arrays()["norm_bb"][:, :4]}), r"norm_bb: got shape \(40, 4\)"),
        (_as_msgpack({"norm_bb": _arrays()["norm_bb"]}), "both features and norm_bb are needed"),
        (_as_msgpack({**_arrays(), "features": _arrays()["features"] * np.nan}), "features: region 0 has NaN"),
        (_as_msgpack({**_arrays(), "conf": _arrays()["conf"][:5]}), "different lengths"),
        (_as_msgpack({name: array for name, array in _arrays().items() if name != "conf"}), "no array 'conf'"),
        (_as_msgpack({name: array[:0] for name, array in _arrays().items()}), "0 regions"),
    ],
)
def test_a_broken_picture_is_named_and_the_others_are_read(tmp_path: Path, value: bytes, names: str) -> None:
    _write(tmp_path / "all", {"a.npz": value, "b.npz": _as_msgpack(_arrays()), **KEYS})
    store = open_uniter_images(tmp_path)
    with pytest.raises(InvalidArgumentError, match=f"all, picture 'a': regions: .*{names}"):
        store.regions("a")
    assert len(store.regions("b")) == 20
    store.close()


def test_an_array_of_objects_is_never_opened(tmp_path: Path) -> None:
    _write(tmp_path / "all_compressed", {"a.npz": _as_npz({**_arrays(), "conf": np.array([None] * 40)}), **KEYS})
    store = open_uniter_images(tmp_path)
    with pytest.raises(InvalidArgumentError, match="Python objects; such arrays are never opened"):
        store.regions("a")
    store.close()


def test_limits_hold_for_every_picture(tmp_path: Path) -> None:
    _write(tmp_path / "all", {"a.npz": _as_msgpack(_arrays()), **KEYS})
    for limits, names in ((RegionLimits(max_regions=39), "40 regions"), (RegionLimits(max_bytes=500), "at most 500")):
        store = open_uniter_images(tmp_path, limits=limits)
        with pytest.raises(TooLargeError, match=names):
            store.regions("a")
        store.close()


def test_a_picture_without_a_count_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "feat_th0.2_max100_min10", {"a.npz": _as_msgpack(_arrays()), **KEYS})
    (tmp_path / "nbb_th0.2_max100_min10.json").write_text('{"b.npz": 10}')
    store = open_uniter_images(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"nbb_th0.2_max100_min10.json does not name it"):
        store.regions("a")
    store.close()


@pytest.mark.parametrize("counts", ["[]", "no json", '{"a.npz": 0}', '{"a.npz": 1.5}', '{"a.npz": true}'])
def test_broken_counts_are_refused(tmp_path: Path, counts: str) -> None:
    _write(tmp_path / "feat_th0.2_max100_min10", {"a.npz": _as_msgpack(_arrays()), **KEYS})
    (tmp_path / "nbb_th0.2_max100_min10.json").write_text(counts)
    with pytest.raises(ArtifactError, match="nbb_th0.2_max100_min10.json: "):
        open_uniter_images(tmp_path)


@pytest.mark.parametrize("keys", [None, b"", b"{}", b"[1]", b"\xff"])
def test_a_database_that_lists_no_keys_is_refused_and_closed(tmp_path: Path, keys: bytes | None) -> None:
    _write(tmp_path / "all", {"a.npz": b"", **({} if keys is None else {"__keys__": keys})})
    for _ in range(2):  # the second would say "already open" if the first had not been closed
        with pytest.raises(ArtifactError, match="__keys__: expected a JSON list"):
            open_uniter_images(tmp_path)


def test_a_folder_without_a_database_says_what_was_looked_for(tmp_path: Path) -> None:
    assert not holds_uniter_images(tmp_path)
    with pytest.raises(ArtifactError, match="no LMDB feat_th0.2_max100_min10 or all in it"):
        open_uniter_images(tmp_path)
    with pytest.raises(ArtifactError, match="no LMDB feat_numbb100"):
        open_uniter_images(IMAGES, UniterSelection(min_score=-1, num_regions=100))
