import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

# Tests are imported one by one, not as packages.
sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "colour", "is", "the", "cat", "##s", "?", "red", "cafe")
LABELS = ["yes", "no", "red", "green", "2"]


@pytest.fixture(scope="session")
def save_picture() -> Callable[..., bytes]:
    def save(picture: Image.Image, container: str, **options: Any) -> bytes:
        target = io.BytesIO()
        picture.save(target, container, **options)
        return target.getvalue()

    return save


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """14x10, with a different colour in each corner and noise in between."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    pixels[:4, :4], pixels[:4, -4:], pixels[-4:, :4], pixels[-4:, -4:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), 128
    return Image.fromarray(pixels)


@pytest.fixture
def tokenizer() -> Tokenizer:
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return made


@pytest.fixture
def assets_dir(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    (tmp_path / "labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    return tmp_path


@pytest.fixture
def deployment() -> Deployment:
    """Pictures of 8 to 16 pixels with patches of 4; texts of up to 10 tokens."""
    graph = GraphRef(
        role="fusion",
        name="tiny-vilt-fp32",
        version=1,
        backend="onnxruntime",
        files={"1/model.onnx": "0" * 64},
        inputs=(
            TensorSpec("patches", "uint8", ("batch", "patches", 48)),
            TensorSpec("grid", "int32", ("batch", 2)),
            TensorSpec("input_ids", "int32", ("batch", "text")),
            TensorSpec("text_mask", "int32", ("batch", "text")),
        ),
        outputs=(TensorSpec("logits", "float32", ("batch", len(LABELS))),),
    )
    return Deployment(
        name="tiny-vilt",
        version=1,
        family="vilt",
        tasks=(Task.VQA,),
        precision="fp32",
        graphs=(graph,),
        image={"type": "vilt", "shorter_edge": 8, "longer_edge": 16, "size_divisor": 4, "patch_size": 4},
        text={"type": "bert", "max_length": 10},
        axes={"batch": AxisLimit(1, 8, 64), "text": AxisLimit(4, 8, 10), "patches": AxisLimit(1, 4, 8)},
        assets={},
        proof=Proof((OutputProof("logits", 0.0, 0.0, 1e-4, 1e-4),), samples=1, agreement=1.0, min_agreement=1.0),
        canary_tolerance=1e-3,
        source={},
        producers={},
        created="2025-01-01T00:00:00Z",
    )
