from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import JUDGEMENTS, gallery_record, uniter_recipe_text, write_gallery
from vlp_models.data.records import parse_record
from vlp_models.data.streams import BatchStream
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, choose_texts
from vlp_models.training.uniter_family import UniterFamily
from vlp_models.training.uniter_streams import RegionSplit, build_uniter_streams, entailment_labels
from vlp_spec.errors import ArtifactError

EVERYTHING = ("mlm", "itm", "mrm", "vqa", "entailment", "reasoning", "referring")
PICTURES = 24


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gallery(tmp_path_factory.mktemp("gallery"), {"train": PICTURES})


def prepare(
    root: Path, objectives: Sequence[str] = EVERYTHING, overrides: Sequence[str] = ()
) -> tuple[Recipe, RegionSplit, TrainingTexts]:
    recipe = parse_recipe(uniter_recipe_text(root, *objectives), overrides)
    split, _ = UniterFamily(recipe).load_splits()
    return recipe, split, choose_texts(recipe, split.records)


def streams(root: Path, objectives: Sequence[str] = EVERYTHING, overrides: Sequence[str] = ()) -> list[BatchStream]:
    return build_uniter_streams(*prepare(root, objectives, overrides), BatchPlace(), JUDGEMENTS)


@pytest.mark.parametrize(
    ("objectives", "names"),
    [
        (EVERYTHING, ["captions", "masked_regions", "questions", "hypotheses", "pair_statements", "phrases"]),
        (("itm",), ["captions"]),
        (("mrm",), ["masked_regions"]),
        (("entailment", "referring"), ["hypotheses", "phrases"]),
    ],
)
def test_there_is_one_stream_for_each_kind_of_text(gallery: Path, objectives: Sequence[str], names: list[str]) -> None:
    assert [stream.name for stream in streams(gallery, objectives)] == names


def test_every_text_of_the_split_is_in_a_stream(gallery: Path) -> None:
    records = [gallery_record("train", index) for index in range(PICTURES)]
    fields = {"captions": "captions", "masked_regions": "captions", "questions": "questions"}
    fields |= {"hypotheses": "hypotheses", "pair_statements": "pair_statements"}
    made = {stream.name: stream for stream in streams(gallery, overrides=["optimisation.batch_size=1"])}
    for name, key in fields.items():
        assert made[name].batches_per_epoch == sum(len(record.get(key, ())) for record in records), name
    named = sum(len([one for one in record["phrases"] if one["phrase"] != "the cloud"]) for record in records)
    assert made["phrases"].batches_per_epoch == named


def test_two_processes_see_what_one_with_the_whole_batch_sees(gallery: Path) -> None:
    recipe, split, texts = prepare(gallery)
    whole_recipe = prepare(gallery, overrides=["optimisation.batch_size=8"])[0]
    whole = build_uniter_streams(whole_recipe, split, texts, BatchPlace(), JUDGEMENTS)
    halves = [build_uniter_streams(recipe, split, texts, BatchPlace(rank, 2), JUDGEMENTS) for rank in (0, 1)]
    for stream, *parts in zip(whole, *halves, strict=True):
        expected, found = stream.batch(2), [part.batch(2) for part in parts]
        for name, array in expected.items():
            if array.ndim == 0:
                assert all(part[name] == pytest.approx(2 * float(array)) for part in found), name
                continue
            rows = [row for part in found for row in part[name]]
            assert len(rows) == len(array)
            for mine, theirs in zip(array, rows, strict=True):
                shared = theirs.shape[0] if theirs.ndim else None
                np.testing.assert_array_equal(mine[:shared] if shared else mine, theirs, err_msg=name)


def test_hypotheses_aim_at_the_labels_in_their_order(gallery: Path) -> None:
    recipe, split, texts = prepare(gallery, ("entailment",))
    turned = tuple(reversed(JUDGEMENTS))
    batches = [
        build_uniter_streams(recipe, split, texts, BatchPlace(), labels)[0].batch(0)["targets"]
        for labels in (JUDGEMENTS, turned)
    ]
    assert set(batches[0].argmax(axis=1)) > {1}
    np.testing.assert_array_equal(batches[0], batches[1][:, ::-1])
    assert batches[0].sum(axis=1).tolist() == [1.0] * 4


def test_labels_are_those_of_the_data_in_alphabetical_order() -> None:
    records = [parse_record(gallery_record("train", index)) for index in range(6)]
    assert entailment_labels(records) == JUDGEMENTS
    with pytest.raises(ArtifactError, match=r"the hypotheses have the labels \['entailment'\], expected two or more"):
        entailment_labels(records[:1])
    with pytest.raises(ArtifactError, match=r"the labels \[\]"):
        entailment_labels([])


def test_rare_types_are_asked_as_often_as_common_ones(gallery: Path) -> None:
    overrides = ["data.balance_types=true", "optimisation.batch_size=1"]
    plain, balanced = (streams(gallery, ("entailment",), given)[0] for given in (overrides[1:], overrides))

    def share_of_neutral(stream: BatchStream) -> float:
        drawn = [stream.batch(number)["targets"][0, 2] for number in range(stream.batches_per_epoch)]
        return float(np.mean(drawn))

    assert share_of_neutral(plain) == pytest.approx(8 / 48)
    assert share_of_neutral(balanced) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("objective", "field", "message"),
    [
        ("mlm", "captions", "no captions, which mlm, itm and mrm are trained on"),
        ("itm", "captions", "no captions"),
        ("mrm", "captions", "no captions"),
        ("reasoning", "pair_statements", "no statements on two pictures"),
        ("referring", "phrases", "no phrase names a region"),
    ],
)
def test_a_split_that_lacks_what_an_objective_needs_is_refused(
    gallery: Path, tmp_path: Path, objective: str, field: str, message: str
) -> None:
    lines = (gallery / "train.jsonl").read_text().splitlines()
    bare = [{key: value for key, value in json.loads(line).items() if key != field} for line in lines]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, bare)))
    (tmp_path / "regions").symlink_to(gallery / "regions")
    with pytest.raises(ArtifactError, match=message):
        streams(tmp_path, (objective,))


def test_questions_without_a_known_answer_are_refused(gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('["perhaps", "never"]')
    with pytest.raises(ArtifactError, match="none of its questions has one of the 2 labels"):
        streams(gallery, ("vqa",), [f"objectives.vqa.labels={tmp_path / 'labels.json'}"])


def test_hidden_words_need_a_token_for_them(gallery: Path, tmp_path: Path) -> None:
    recipe, split, texts = prepare(gallery, ("mlm",))
    without = TrainingTexts(texts.tokenizer_json.replace("[MASK]", "[HOLE]"), (), 12)
    with pytest.raises(ArtifactError, match=r"has no \[MASK\]"):
        build_uniter_streams(recipe, split, without, BatchPlace(), ())
