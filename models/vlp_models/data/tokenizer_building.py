"""A WordPiece vocabulary in BERT's form, made from the training texts."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = string.ascii_lowercase + string.digits
_PREFIX = "##"
_MAX_WORD_CHARS = 100


def build_tokenizer(texts: Iterable[str], *, vocab_size: int, lowercase: bool = True) -> Tokenizer:
    """Make a tokenizer.

    A small world's words are all kept whole. Where there are more words than `vocab_size`, pieces are learned.
    ASCII's letters, digits and punctuation are always in it, so that a word that training never saw falls into
    pieces and not into [UNK].

    Args:
        texts: the training texts.
        vocab_size: entries at most (the fixed ones, about 110, always stay).
        lowercase: fold case, as bert-base-uncased does.

    Returns:
        A tokenizer that adds [CLS] and [SEP]; its pad token is [PAD] with id 0.
    """
    normalizer, splitter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            counts[word] += times
    fixed = _fixed_tokens(lowercase)
    words = sorted((word for word in counts if word not in fixed), key=lambda word: (-counts[word], word))
    if len(fixed) + len(words) > vocab_size:
        words = _learn_pieces(counts, fixed, vocab_size)
    vocabulary = {token: number for number, token in enumerate([*fixed, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=_MAX_WORD_CHARS))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.enable_padding(pad_id=vocabulary["[PAD]"], pad_token="[PAD]")
    return tokenizer


def with_tight_colons(tokenizer_json: str) -> str:
    """A tokenizer that sets a colon to the word before it when it says ids as text.

    BERT's does so with commas and full stops alone.

    Args:
        tokenizer_json: content of a tokenizer.json of words and pieces; so is what comes back.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.decoder = decoders.Sequence([decoders.WordPiece(), decoders.Replace(" :", ":")])
    return str(tokenizer.to_str())


def _fixed_tokens(lowercase: bool) -> list[str]:
    letters = _LETTERS if lowercase else _LETTERS + string.ascii_uppercase
    # BERT splits punctuation off: it never continues a word.
    return [*SPECIAL_TOKENS, *letters, *string.punctuation, *(_PREFIX + letter for letter in letters)]


def _learn_pieces(counts: Counter[str], fixed: Sequence[str], vocab_size: int) -> list[str]:
    """Pieces of frequent words. Equal counts are taken in an order that may differ from one call to another."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, initial_alphabet=list(_LETTERS), show_progress=False)
    learner.train_from_iterator((" ".join([word] * times) for word, times in sorted(counts.items())), trainer)
    known = set(fixed)
    learned = [token for token, _ in sorted(learner.get_vocab().items(), key=lambda item: item[1])]
    return [token for token in learned if token not in known][: max(0, vocab_size - len(fixed))]
