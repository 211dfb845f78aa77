from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from tokenizers import Tokenizer, models
from vlp_export.samples import dataset_samples, made_up_samples
from vlp_spec.errors import ArtifactError

WORDS = ("what", "colour", "is", "the", "cat", "##s", "?")


@pytest.fixture(scope="module")
def tokenizer() -> str:
    vocabulary = {token: index for index, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    return str(Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")).to_str())


def test_made_up_samples_are_the_same_each_time_and_of_every_shape(tokenizer: str) -> None:
    samples = made_up_samples(tokenizer, 10, 9)
    assert samples == made_up_samples(tokenizer, 10, 9)
    assert samples != made_up_samples(tokenizer, 10, 9, seed=1)
    ratios = [size[0] / size[1] for size in (Image.open(io.BytesIO(sample.image)).size for sample in samples)]
    assert max(ratios) > 10
    assert min(ratios) < 0.1
    words = [sample.text.split() for sample in samples]
    assert {word for question in words for word in question} <= {word for word in WORDS if word.isalpha()}
    assert max(map(len, words)) > 10
    assert min(map(len, words)) < 5


def test_a_vocabulary_without_words_still_gives_questions() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "##1": 1}, unk_token="[UNK]"))
    assert all(sample.text.strip() for sample in made_up_samples(tokenizer.to_str(), 4, 4))


def write_dataset(folder: Path, *records: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    return path


def test_questions_are_spread_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    records = []
    for number in range(4):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(b"picture %d" % number)
        questions = [{"question": f"q{number}a"}, {"question": f"q{number}b"}]
        records.append({"image": f"images/{number}.jpg", "questions": questions})
    samples = dataset_samples(write_dataset(tmp_path, *records, {"image": "unread.jpg"}), 4)
    assert [sample.text for sample in samples] == ["q0a", "q1a", "q2a", "q3a"]
    assert samples[2].image == b"picture 2"
    assert len(dataset_samples(tmp_path / "data.jsonl", 100)) == 8


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"questions": [{"question": "no image"}]}], "data.jsonl:1"),
        ([{"image": "a.jpg", "questions": [{"text": "no question"}]}], "data.jsonl:1"),
        (["just text"], "data.jsonl:1"),
        ([{"image": "a.jpg", "questions": []}], "holds no question"),
        ([{"image": "gone.jpg", "questions": [{"question": "q"}]}], "cannot read image gone.jpg"),
    ],
)
def test_broken_data_is_named(tmp_path: Path, records: list[object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        dataset_samples(write_dataset(tmp_path, *records), 2)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        dataset_samples(tmp_path / "none.jsonl", 2)
