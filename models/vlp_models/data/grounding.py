"""Which patches the words of a text name, if any: words and regions are matched by spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from vlp_models.data.records import Region
from vlp_models.data.regions import centre_slots, place_phrase
from vlp_models.data.streams import Arrays

NOWHERE = 0
_SIDES = ("left", "right", "above", "below")
_MOST = 9
# Share of the picture's side from which on one thing lies clearly beside another, or above it.
_CLEAR = 0.12
Phrase = tuple[frozenset[str], tuple[int, ...]]


class PhraseFinder:
    """Finds the words in a text that describe regions: "red boats" in "how many red boats are there?".

    Args:
        tokenizer: the run's.
        region_words: everything that is said of some region, in lower case; a name may be of several words.
        max_length: tokens that the model reads, [CLS] and [SEP] included.
    """

    def __init__(self, tokenizer: Tokenizer, region_words: frozenset[str], max_length: int) -> None:
        self._tokenizer, self._last = tokenizer, max_length - 1
        self._meaning = {form: word for word in sorted(region_words) for form in _plurals(word)}
        self._meaning |= {word: word for word in region_words}
        self._longest = max((word.count(" ") + 1 for word in region_words), default=1)

    def __call__(self, text: str) -> tuple[Phrase, ...]:
        """The phrases of a text: the regions' words in each, and the positions of its tokens, [CLS] being 0.

        Words that follow one another are one phrase.
        """
        spelled, positions = self._words(text)
        found: list[tuple[set[str], list[int]]] = []
        start, is_open = 0, False
        while start < len(spelled):
            name = self._name_at(spelled, start)
            if name is None:
                start, is_open = start + 1, False
                continue
            meaning, end = name
            if not is_open:
                found.append((set(), []))
            found[-1][0].add(meaning)
            found[-1][1].extend(position for own in positions[start:end] for position in own)
            start, is_open = end, True
        return tuple((frozenset(meanings), tuple(tokens)) for meanings, tokens in found)

    def _words(self, text: str) -> tuple[list[str], list[list[int]]]:
        """Words as they are spelled, in lower case, and the tokens of each."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        tokens: dict[int, list[int]] = {}
        for position, number in enumerate(encoding.word_ids, start=1):
            if number is not None and position < self._last:
                tokens.setdefault(number, []).append(position)
        ends = [(encoding.offsets[own[0] - 1][0], encoding.offsets[own[-1] - 1][1]) for own in tokens.values()]
        return [text[first:last].lower() for first, last in ends], list(tokens.values())

    def _name_at(self, spelled: Sequence[str], start: int) -> tuple[str, int] | None:
        """The longest name that begins at a word: its meaning, and the word after it."""
        for end in range(min(len(spelled), start + self._longest), start, -1):
            meaning = self._meaning.get(" ".join(spelled[start:end]))
            if meaning is not None:
                return meaning, end
        return None


@dataclass(frozen=True, slots=True)
class ComparingWords:
    """Token ids of words for numbers and sides; a word that the vocabulary lacks is not said.

    Attributes:
        numbers: of "0", "1" and so on, up to 9.
        sides: of "left", "right", "above" and "below".
    """

    numbers: tuple[int | None, ...] = ()
    sides: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> ComparingWords:
        """Look them up."""
        numbers = tuple(tokenizer.token_to_id(str(number)) for number in range(_MOST + 1))
        return cls(numbers, tuple(tokenizer.token_to_id(word) for word in _SIDES))

    def count(self, things: Sequence[object]) -> tuple[int, ...]:
        """The word for how many there are, if there is one."""
        word = self.numbers[len(things)] if len(things) < len(self.numbers) else None
        return () if word is None else (word,)

    def compare(self, middles: np.ndarray) -> tuple[int, ...]:
        """The words for the sides on which the first of two middles clearly lies of the second; NaN is on none."""
        across, down = middles[0] - middles[1]
        holds = (across < -_CLEAR, across > _CLEAR, down < -_CLEAR, down > _CLEAR)
        return tuple(word for word, is_so in zip(self.sides, holds, strict=False) if is_so and word is not None)


@dataclass(frozen=True, slots=True)
class DescribedRegion:
    """A region of a picture.

    Attributes:
        words: what is said of it, in lower case.
        slot: number of the patch in its middle, in row-major order.
        centre: its middle, as shares of the picture's width and height.
        tokens: each of its own words -> its token ids. Words for places are not among them: "left" is also what a
            thing is of another, and one word must not have to mean both.
    """

    words: frozenset[str]
    slot: int
    centre: tuple[float, float]
    tokens: Mapping[str, tuple[int, ...]]


def described_regions(
    regions: Sequence[Region], grid: np.ndarray, encode: Callable[[str], tuple[int, ...]], *, places: bool
) -> tuple[DescribedRegion, ...]:
    """What grounding knows of the regions of a picture.

    Args:
        regions: of the picture.
        grid: (2,) int, rows and columns of patches.
        encode: a word -> its token ids.
        places: whether its place on a grid of nine, such as "top left", is said of a region too.
    """
    found = []
    for region, slot in zip(regions, centre_slots(regions, grid).tolist(), strict=True):
        x0, y0, x1, y1 = region.box
        tokens = {word.lower(): encode(word) for word in region.words}
        words = frozenset(tokens) | ({place_phrase(region.box)} if places else set())
        found.append(DescribedRegion(words, slot, ((x0 + x1) / 2, (y0 + y1) / 2), tokens))
    return tuple(found)


def _plurals(word: str) -> tuple[str, ...]:
    """Ways in which English may write the plural of a word; too many do no harm."""
    return (f"{word}s", f"{word}es", f"{word[:-1]}ies", f"{word[:-1]}ves", f"{word[:-2]}ves")


@dataclass(frozen=True, slots=True)
class GroundedText:
    """The words of one text that name something, and what they name.

    Attributes:
        positions: (words,) int64, token positions; a text may have no such word.
        slots: for each of them (n,) int64, n at least 1: 1 + patch number in row-major order, or 0 where no region of
            the picture is what the word, with its neighbours, names.
        centres: (words, 2) float32, the middle of the one region that is named, as shares of the picture's width and
            height; NaN where none or several are.
        told: (n, 2) int64, word and token id: how many regions the word names, and how the first region that the text
            names lies to the second one, where it names just two and both are known.
        unsaid: (n, 2) int64, word and token id: what else is said of the one region that a word names.
    """

    positions: np.ndarray
    slots: tuple[np.ndarray, ...]
    centres: np.ndarray
    told: np.ndarray
    unsaid: np.ndarray

    @classmethod
    def of(
        cls, phrases: Sequence[Phrase], regions: Sequence[DescribedRegion], vocabulary: ComparingWords
    ) -> GroundedText:
        """Match the phrases of a text and the regions of its picture."""
        named = [[region for region in regions if meanings <= region.words] for meanings, _ in phrases]
        middles = [own[0].centre if len(own) == 1 else (np.nan, np.nan) for own in named]
        middle = np.array(middles, dtype=np.float32).reshape(-1, 2)
        phrase_of = np.repeat(np.arange(len(phrases)), [len(tokens) for _, tokens in phrases]).tolist()
        targets = [np.array(sorted({1 + region.slot for region in own}) or [NOWHERE]) for own in named]
        counts = [vocabulary.count(own) for own in named]
        rests = [_rest(meanings, own) for (meanings, _), own in zip(phrases, named, strict=True)]
        sides = vocabulary.compare(middle) if len(middle) == 2 else ()
        return cls(
            positions=np.array([token for _, tokens in phrases for token in tokens], dtype=np.int64),
            slots=tuple(targets[phrase] for phrase in phrase_of),
            centres=middle[phrase_of],
            told=_pairs([(*counts[phrase], *sides) for phrase in phrase_of]),
            unsaid=_pairs([rests[phrase] for phrase in phrase_of]),
        )


def _rest(meanings: frozenset[str], named: Sequence[DescribedRegion]) -> tuple[int, ...]:
    """Token ids of what is said of the one region beside what names it."""
    if len(named) != 1:
        return ()
    unsaid = named[0].tokens.keys() - meanings
    return tuple(sorted(token for word in unsaid for token in named[0].tokens[word]))


def _pairs(tokens: Sequence[Sequence[int]]) -> np.ndarray:
    """(n, 2) int64, word and token id, from the token ids of each word."""
    pairs = [(word, token) for word, own in enumerate(tokens) for token in own]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class GroundingStore:
    """All texts of a split with what their words name."""

    texts: Sequence[GroundedText]

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        picture_of: np.ndarray,
        regions: Sequence[Sequence[DescribedRegion]],
        find: Callable[[str], tuple[Phrase, ...]],
        vocabulary: ComparingWords,
    ) -> GroundingStore:
        """Match them.

        Args:
            texts: of all pictures.
            picture_of: (texts,) int, the picture of each.
            regions: of each picture.
            find: text -> phrases, a `PhraseFinder`.
            vocabulary: words for what is compared.
        """
        phrases = {text: find(text) for text in dict.fromkeys(texts)}
        return cls(
            [
                GroundedText.of(phrases[text], regions[picture], vocabulary)
                for text, picture in zip(texts, picture_of, strict=True)
            ]
        )

    def gather(self, texts: np.ndarray, num_slots: int) -> Arrays:
        """Every word of some texts.

        Args:
            texts: (B,) int.
            num_slots: patches that the batch is padded to, N.

        Returns:
            ground_rows and ground_positions (W,) int64, row in the batch and token; ground_shares (W, 1 + N) float32,
            each row 1 in sum, the same for each of a word's patches; the first column stands for "nowhere";
            ground_centres (W, 2) float32; ground_unsaid and ground_told (U, 2) int64, word and token id.
        """
        own = [self.texts[text] for text in texts]
        lengths = [len(text.positions) for text in own]
        firsts = np.cumsum([0, *lengths])[:-1]
        slots = [targets for text in own for targets in text.slots]
        shares = np.zeros((len(slots), 1 + num_slots), dtype=np.float32)
        for word, targets in enumerate(slots):
            shares[word, targets] = 1 / len(targets)
        shifts = [(first, 0) for first in firsts]
        return {
            "ground_rows": np.repeat(np.arange(len(own)), lengths),
            "ground_positions": np.concatenate([text.positions for text in own]),
            "ground_shares": shares,
            "ground_centres": np.concatenate([text.centres for text in own]),
            "ground_unsaid": np.concatenate([text.unsaid + shift for text, shift in zip(own, shifts, strict=True)]),
            "ground_told": np.concatenate([text.told + shift for text, shift in zip(own, shifts, strict=True)]),
        }

    def count(self, texts: np.ndarray) -> dict[str, int]:
        """Over how many each loss is a mean: coordinates known of `centres`, pairs of `unsaid` and of `told`."""
        own = [self.texts[text] for text in texts]
        return {
            "centres": sum(int((~np.isnan(text.centres)).sum()) for text in own),
            "unsaid": sum(len(text.unsaid) for text in own),
            "told": sum(len(text.told) for text in own),
        }
