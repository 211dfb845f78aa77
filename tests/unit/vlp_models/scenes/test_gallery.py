from __future__ import annotations

import itertools
import random
import re
from collections import Counter, defaultdict

import pytest
from vlp_models.data.records import parse_record
from vlp_models.scenes.captions import place_words, plural
from vlp_models.scenes.dataset import draw_picture
from vlp_models.scenes.gallery import draw_gallery_scene, has_covers, partner_of
from vlp_models.scenes.hypotheses import HYPOTHESIS_TYPES, LABELS, hypotheses_of
from vlp_models.scenes.kinds import COLOURS, KINDS, NUMBERS, SIZES
from vlp_models.scenes.pair_statements import PAIR_STATEMENT_TYPES, pair_statements_of
from vlp_models.scenes.phrases import phrases_of
from vlp_models.scenes.world import SPLITS, Scene, Thing, above, left_of, meeting_split

SCENES = 60
_KIND_OF = {word: kind.name for kind in KINDS for word in (kind.name, kind.plural)}


def scene_of(index: int) -> Scene:
    return draw_gallery_scene("train", index, "test")


def rng_of(index: int) -> random.Random:
    return random.Random(index)


def judge(words: str, things: list[Thing], scene: Scene) -> bool:
    """Whether a sentence about one scene is true of some things, read from its words alone."""
    if match := re.fullmatch(r"there is (an?|no) (\S+) (\S+) at the (.+)", words):
        found = any((t.colour, t.kind, place_words(t, scene)) == match.groups()[1:] for t in things)
        return found != (match[1] == "no")
    if match := re.fullmatch(r"there are at least (\S+) (.+)", words):
        return sum(is_called(thing, match[2]) for thing in things) >= NUMBERS.index(match[1])
    if match := re.fullmatch(r"there (?:is|are) exactly (\S+) (.+) in the (\S+) (row|column)", words):
        own = [thing for thing in things if is_called(thing, match[2])]
        return sum(strip_of(thing, scene, match[4]) == match[3] for thing in own) == NUMBERS.index(match[1])
    match = re.fullmatch(r"an? (\S+ \S+) is (to the left of|above) an? (\S+ \S+)", words)
    assert match is not None, words
    holds = {"to the left of": left_of, "above": above}[match[2]]
    pairs = itertools.permutations(things, 2)
    return any(is_called(a, match[1]) and is_called(b, match[3]) and holds(a, b) for a, b in pairs)


def is_called(thing: Thing, words: str) -> bool:
    *colour, noun = words.split(" ")
    is_kind = noun in ("thing", "things") or _KIND_OF[noun] == thing.kind
    return is_kind and all(word == thing.colour for word in colour)


def strip_of(thing: Thing, scene: Scene, axis: str) -> str:
    if axis == "row":
        return ("top", "middle", "bottom")[min(thing.y * 3 // scene.height, 2)]
    return ("left", "middle", "right")[min(thing.x * 3 // scene.width, 2)]


def completions(scene: Scene, words: str) -> list[list[Thing]]:
    """What there may be in all: under every cover nothing, or any thing that the words could mean, or another."""
    kinds = {_KIND_OF[word] for word in words.split(" ") if word in _KIND_OF} | {"anchor"}
    colours = {word for word in words.split(" ") if word in COLOURS} | {"pink"}
    hidden = [
        [None, *(Thing(kind, colour, "small", cover.x, cover.y, 40) for kind in kinds for colour in colours)]
        for cover in scene.covers
    ]
    return [[*scene.things, *filter(None, chosen)] for chosen in itertools.product(*hidden)]


def test_labels_are_what_holds_whatever_is_hidden() -> None:
    seen = Counter()
    for index in (index for index in range(SCENES) if has_covers(index)):
        scene = scene_of(index)
        for one in hypotheses_of(scene, rng_of(index), threes=5):
            outcomes = {judge(one.text, things, scene) for things in completions(scene, one.text)}
            expected = "neutral" if len(outcomes) == 2 else "entailment" if outcomes == {True} else "contradiction"
            assert one.label == expected, (one, scene)
            seen[one.type, one.label] += 1
    assert set(seen) == {(form, label) for form in HYPOTHESIS_TYPES for label in LABELS}


def test_hypotheses_come_in_threes_of_one_form() -> None:
    asked = hypotheses_of(scene_of(0), rng_of(0))
    for start in range(0, len(asked), 3):
        three = asked[start : start + 3]
        assert {one.label for one in three} == set(LABELS)
        assert len({one.type for one in three}) == 1
    assert len(asked) == 6


def test_statements_on_two_pictures_are_true_as_often_as_false_in_every_form() -> None:
    seen: dict[str, list[bool]] = defaultdict(list)
    for index in (index for index in range(2 * SCENES) if not has_covers(index) and index % 2 == 0):
        left, right = scene_of(index), scene_of(partner_of(index))
        for one in pair_statements_of(left, right, rng_of(index), twos=5):
            seen[one.type].append(one.is_true)
            assert one.is_true == holds_of_both(one.text, left, right), one
    assert set(seen) == set(PAIR_STATEMENT_TYPES)
    assert all(sum(truths) * 2 == len(truths) for truths in seen.values())


def holds_of_both(words: str, left: Scene, right: Scene) -> bool:
    def count(called: str) -> dict[str, int]:
        sides = {"left": left, "right": right}
        return {side: sum(is_called(thing, called) for thing in scene.things) for side, scene in sides.items()}

    if match := re.fullmatch(r"there are more (.+) in the (\S+) picture than in the (\S+) picture", words):
        counts = count(match[1])
        return counts[match[2]] > counts[match[3]]
    if match := re.fullmatch(r"both pictures show an? (.+)", words):
        return all(count(match[1]).values())
    if match := re.fullmatch(r"only the (\S+) picture shows an? (.+)", words):
        return [side for side, number in count(match[2]).items() if number] == [match[1]]
    if match := re.fullmatch(r"there (?:is|are) exactly (\S+) (.+) in the two pictures together", words):
        return sum(count(match[2]).values()) == NUMBERS.index(match[1])
    match = re.fullmatch(r"the pictures show equally many (.+)", words)
    assert match is not None, words
    return len(set(count(match[1]).values())) == 1


def test_a_phrase_names_one_thing() -> None:
    forms = set()
    for index in range(SCENES):
        scene = scene_of(index)
        for phrase in phrases_of(scene, rng_of(index)):
            forms.add(phrase.type)
            assert [thing for thing in scene.things if is_named(thing, phrase.text, scene)] == [phrase.thing]
    assert forms == {"kind", "colour", "pair", "size", "place", "relation"}


def is_named(thing: Thing, words: str, scene: Scene) -> bool:
    plain = words.removeprefix("the ")
    for relation, holds in (("to the left of", left_of), ("above", above)):
        own, _, anchor = plain.partition(f" {relation} the ")
        if anchor:
            return is_called(thing, own) and any(is_called(b, anchor) and holds(thing, b) for b in scene.things)
    own, _, place = plain.partition(" at the ")
    size, _, rest = own.partition(" ")
    if size in SIZES:
        return thing.size == size and is_called(thing, rest)
    return is_called(thing, own) and (not place or place_words(thing, scene) == place)


@pytest.mark.parametrize("split", SPLITS)
def test_the_gallery_keeps_to_the_compositions_of_its_split(split: str) -> None:
    for index in range(SCENES):
        scene = draw_gallery_scene(split, index, "test")
        pairs = {(thing.kind, thing.colour) for thing in scene.things}
        assert all(meeting_split(a, b) == split for a, b in itertools.combinations(pairs, 2))
        assert bool(scene.covers) == has_covers(index)
        cells = [(one.x // 64, one.y // 64) for one in (*scene.things, *scene.covers)]
        assert len(set(cells)) == len(cells)


def test_pictures_of_a_pair_show_much_the_same() -> None:
    shared = [
        {(t.kind, t.colour) for t in scene_of(index).things} & {(t.kind, t.colour) for t in scene_of(index + 1).things}
        for index in range(0, 2 * SCENES, 2)
    ]
    assert sum(map(bool, shared)) > 0.7 * len(shared)


def test_a_picture_of_the_gallery_has_a_record_that_is_read_back() -> None:
    covered, plain = (draw_picture("val", index, gallery=True) for index in (0, 2))
    records = [parse_record(picture.record) for picture in (covered, plain)]
    assert records[0].scene == draw_gallery_scene("val", 0, "gallery-2-0")
    assert [region.words for region in records[0].regions][-1] == ("cover",)
    assert len(records[0].hypotheses) == 6
    assert not records[0].pair_statements
    assert {one.other for one in records[1].pair_statements} == {"val-000003"}
    assert records[1].phrases
    assert not records[1].hypotheses
    assert draw_picture("val", 0, gallery=True).jpeg == covered.jpeg != draw_picture("val", 0).jpeg


def test_plurals_of_what_is_counted_are_the_kinds_own() -> None:
    assert plural("sheep") == "sheep"
    assert _KIND_OF["butterflies"] == "butterfly"
