from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from blip_training_rig import CLS, DEC, END, PAD, blip_model
from torch import Tensor
from vlp_models.families.coca import CocaModel
from vlp_models.families.coca_config import CocaConfig
from vlp_models.layers.med_block import CrossContext, KeysValues
from vlp_spec.errors import ConfigError

IDS = torch.tensor([[CLS, 5, 6, 7, END], [CLS, 8, END, PAD, PAD]])
MASK = (IDS != PAD).int()


def _config() -> CocaConfig:
    return CocaConfig(replace(blip_model(("caption",)).config, heads=("caption",)), unimodal_layers=1, num_queries=3)


def _model() -> CocaModel:
    model = CocaModel(_config())
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:  # norms stay as they are
            torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def _pixels(seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_captions_see_the_picture_and_text_embeddings_never_do() -> None:
    model = _model()
    hidden, embeds = model.read(IDS, MASK)
    logits = [
        model.word_logits(model.say(hidden, model.text.cross_states(model.encode_image(_pixels(seed)).states)))
        for seed in range(2)
    ]
    assert (logits[0] - logits[1]).abs().max() > 0.1
    embeds.sum().backward()
    touched = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert touched == {"text", "text_proj"}
    multimodal = model.text.encoder["layer"][1]  # type: ignore[index]
    assert all(parameter.grad is None for parameter in multimodal.parameters())


def test_the_first_half_has_nothing_to_look_with() -> None:
    names = dict(_model().text.named_parameters())
    assert not [name for name in names if name.startswith("encoder.layer.0.crossattention")]
    assert [name for name in names if name.startswith("encoder.layer.1.crossattention")]


def test_the_class_token_sees_its_own_text_alone() -> None:
    model = _model()
    embeds = model.text_embeds(IDS, MASK)
    for row in range(2):
        count = int(MASK[row].sum())
        torch.testing.assert_close(
            embeds[row : row + 1], model.text_embeds(IDS[row : row + 1, :count], MASK[row : row + 1, :count])
        )
    padded = IDS.clone()
    padded[1, 3:] = 9
    torch.testing.assert_close(model.text_embeds(padded, MASK), embeds)
    other = IDS.clone()
    other[0, 1] = 9
    changed = (model.text_embeds(other, MASK) - embeds).abs().amax(dim=1)
    assert changed[0] > 1e-3
    assert changed[1] < 1e-6


def test_no_token_sees_what_comes_after_it() -> None:
    model = _model()
    cross = model.text.cross_states(model.encode_image(_pixels()).states)
    ids = torch.tensor([[DEC, 5, 6, 7], [DEC, 8, 9, 10]])
    logits = model.decode(ids[:, None], cross)[:, 0]
    other = ids.clone()
    other[:, 2] = 11
    changed = (model.decode(other[:, None], cross)[:, 0] - logits).abs().amax(dim=(0, 2))
    assert changed[:2].max() < 1e-6
    assert changed[2:].min() > 1e-3


def test_the_class_token_changes_nothing_that_is_said() -> None:
    model = _model()
    cross = model.text.cross_states(model.encode_image(_pixels()).states)
    hidden, _ = model.read(IDS, MASK)
    said = model.word_logits(model.say(hidden[:, :-1], cross))
    plain = model.decode(torch.tensor([[[DEC, 5, 6, 7]], [[DEC, 8, PAD, PAD]]]), cross)[:, 0]
    torch.testing.assert_close(said[0], plain[0])
    torch.testing.assert_close(said[1, :2], plain[1, :2])


def test_going_on_from_kept_states_is_reading_from_the_start() -> None:
    model = _model()
    cross = model.text.cross_states(model.encode_image(_pixels()).states)
    looked_at = [None, *(CrossContext(states) for states in cross)]
    ids = torch.tensor([[DEC, 5, 6, 7], [DEC, 8, 9, 10]])[:, None]
    expected = model.decode(ids, cross)
    _, past = model.text.decode(ids[..., :2], looked_at)
    padded = [KeysValues(*(torch.nn.functional.pad(part, (0, 0, 0, 3)) for part in one)) for one in past]
    hidden, new = model.text.decode(ids[..., 2:], looked_at, padded, torch.tensor([2, 2]))
    torch.testing.assert_close(model.word_logits(hidden), expected[..., 2:, :])
    assert new[0].keys.shape[3] == 2


def test_one_query_is_for_the_embedding_and_the_others_are_for_captions() -> None:
    model = _model()
    before = model.encode_image(_pixels())
    assert (before.embeds.shape, before.states.shape, before.patches.shape) == ((2, 6), (2, 3, 8), (2, 5, 8))
    with torch.no_grad():
        model.pooler.queries[0].add_(1.0)
    after = model.encode_image(_pixels())
    torch.testing.assert_close(after.states, before.states)
    assert (after.embeds - before.embeds).abs().max() > 1e-3


def test_a_configuration_comes_back_as_it_was() -> None:
    config = _config()
    back = CocaConfig.from_dict(config.to_dict(), config.parts.tokens)
    assert back.to_dict() == config.to_dict()
    assert (back.heads, back.dimension, back.max_text_len) == (("caption", "embeddings"), 6, 6)
    with pytest.raises(ConfigError, match="num_queries: missing"):
        CocaConfig.from_dict(
            {key: value for key, value in config.to_dict().items() if key != "num_queries"}, config.parts.tokens
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unimodal_layers": 0}, "unimodal_layers: got 0, expected 1 to 1"),
        ({"unimodal_layers": 2}, "unimodal_layers: got 2"),
        ({"num_queries": 0}, "num_queries"),
    ],
)
def test_what_cannot_be_built_is_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(_config(), **values)
    with pytest.raises(ConfigError, match="expected caption alone"):
        CocaConfig(blip_model().config, 1, 3)
