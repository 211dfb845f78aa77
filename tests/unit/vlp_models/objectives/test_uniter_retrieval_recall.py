from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from vlp_models.objectives.retrieval_recall import retrieval_recall
from vlp_models.objectives.uniter_retrieval_recall import official_retrieval_recall

SET = Path(__file__).parents[3] / "golden" / "uniter_itm_eval"


@pytest.mark.parametrize(("kind", "recall"), [("official", official_retrieval_recall), ("corrected", retrieval_recall)])
def test_published_and_corrected_recalls_are_reproduced(kind, recall) -> None:  # type: ignore[no-untyped-def]
    with np.load(SET / "inputs.npz") as arrays:
        # Texts are rows there.
        scores, owners = torch.from_numpy(arrays["score_matrix"]).T, torch.from_numpy(arrays["txt2img_col"])
    with np.load(SET / "outputs.npz") as arrays:
        expected = {name.split(".")[1]: float(arrays[name]) for name in arrays if name.startswith(kind)}
    found = {k: recall(scores, torch.arange(len(scores)), owners, k) for k in (1, 5, 10)}
    got = {f"img_r{k}": value.image for k, value in found.items()}
    got |= {f"txt_r{k}": value.text for k, value in found.items()}
    means = {side: sum(got[f"{side}_r{k}"] for k in found) / len(found) for side in ("img", "txt")}
    got |= {f"{side}_r_mean": mean for side, mean in means.items()} | {"r_mean": sum(means.values()) / 2}
    assert got == pytest.approx(expected, abs=1e-6)


def test_rows_below_k_are_counted_only_where_the_picture_is_found() -> None:
    # Two pictures, three texts; text 1 ranks the wrong picture first.
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]])
    owners = torch.tensor([0, 1, 1])
    at_one = official_retrieval_recall(scores, torch.arange(2), owners, 1, depth=1)
    # Right: texts 0 and 2. Counted wrongly: row 0 of text 0; text 1 is never found among the first 1.
    assert at_one.image == pytest.approx((2 + 1) / 3)
    assert official_retrieval_recall(scores, torch.arange(2), owners, 2).image == pytest.approx((3 + 2) / 3)
