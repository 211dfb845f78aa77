from __future__ import annotations

import hashlib
import io
import json
from collections import Counter

import pytest
from PIL import Image
from vlp_models.scenes.dataset import draw_picture
from vlp_models.scenes.kinds import COLOURS, KINDS
from vlp_models.scenes.render import tinted_sprite
from vlp_models.scenes.world import SPLITS, Split


def test_a_picture_depends_on_nothing_but_its_number() -> None:
    first = draw_picture("train", 7)
    draw_picture("train", 8)
    again = draw_picture("train", 7)
    assert (first.id, first.jpeg, first.record) == (again.id, again.jpeg, again.record)


def test_numbers_seeds_and_splits_give_other_pictures() -> None:
    drawn = [draw_picture("train", 7), draw_picture("train", 8), draw_picture("train", 7, 1), draw_picture("val", 7)]
    assert len({picture.jpeg for picture in drawn}) == len(drawn)


def test_the_generator_draws_what_its_version_says() -> None:
    # Whoever changes what is drawn raises GENERATOR_VERSION, and only then this digest.
    records = [draw_picture(split, index).record for split in SPLITS for index in range(4)]
    drawn = [[record[key] for key in ("captions", "questions", "scene")] for record in records]
    digest = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()
    assert digest == "682876ffb7b87045fd11e2afef72ea21d5d01ee077293bd654483caa11767967"


def test_the_generator_paints_what_its_version_says(monkeypatch: pytest.MonkeyPatch) -> None:
    # JPEG's bytes are its library's affair; what is given to it, pixels and quality, is ours.
    def store(picture: Image.Image, file: io.BytesIO, *form: str, **options: int) -> None:
        file.write(json.dumps([picture.mode, picture.size, form, options]).encode() + picture.tobytes())

    monkeypatch.setattr(Image.Image, "save", store)
    digest = hashlib.sha256()
    for picture in (draw_picture(split, index) for split in SPLITS for index in range(4)):
        digest.update(picture.jpeg + json.dumps(picture.record["regions"]).encode())
    assert digest.hexdigest() == "104a18a3546600ef8cdcdb0400dc555c28c66f12b182821baadc90a089327332"


def test_every_sprite_in_every_colour_is_what_the_version_says() -> None:
    digest = hashlib.sha256()
    for kind in KINDS:
        for colour in COLOURS:
            digest.update(tinted_sprite(kind.name, colour).tobytes())
    assert digest.hexdigest() == "ff3950dda805c3b53559dcb115b1399c11841fd6789d04055531629dc88b56dd"


@pytest.mark.parametrize("split", SPLITS)
def test_a_picture_has_the_size_and_the_things_of_its_record(split: Split) -> None:
    for index in range(12):
        picture = draw_picture(split, index)
        scene = picture.record["scene"]
        with Image.open(io.BytesIO(picture.jpeg)) as opened:
            assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (scene["width"], scene["height"]))
        assert 1 <= len(scene["things"]) <= 8
        for thing in scene["things"]:
            left, top, right, bottom = thing["box"]
            assert 0 <= left < right <= scene["width"]
            assert 0 <= top < bottom <= scene["height"]


def test_there_are_many_kinds_each_with_a_picture_of_its_own() -> None:
    words = [word for kind in KINDS for word in {kind.name, kind.plural}]
    assert len(KINDS) >= 60
    assert Counter(words).most_common(1)[0][1] == 1
    assert not any(" " in word for word in words)
    assert len({tinted_sprite(kind.name, "red").tobytes() for kind in KINDS}) == len(KINDS)


def test_a_sprite_has_the_hue_of_its_colour() -> None:
    means = {}
    for colour, expected in COLOURS.items():
        red, green, blue, alpha = tinted_sprite("ball", colour).split()
        solid = alpha.point(lambda value: 255 * (value > 128))
        shown = [sum(level * count for level, count in enumerate(band.histogram(solid))) for band in (red, green, blue)]
        means[colour] = shown.index(max(shown)) == expected.index(max(expected))
    assert all(means.values()), means
