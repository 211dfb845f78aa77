"""A WordPiece vocabulary in BERT's form, learned from the training texts."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_tokenizer(texts: Iterable[str], *, vocab_size: int, lowercase: bool = True) -> Tokenizer:
    """Learn a vocabulary.

    Letters, digits and punctuation of ASCII are always in it, so that a word that training never saw falls into
    pieces and not into [UNK].

    Args:
        texts: the training texts.
        vocab_size: entries at most; a small world has fewer.
        lowercase: fold case, as bert-base-uncased does.

    Returns:
        A tokenizer that adds [CLS] and [SEP]; its pad token is [PAD] with id 0.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=list(string.ascii_lowercase + string.digits + string.punctuation),
        show_progress=False,
    )
    # Sorted and unique: the vocabulary depends on the set of texts, not on their order on disk.
    counted = sorted(set(texts))
    tokenizer.train_from_iterator(counted, trainer)
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", start), ("[SEP]", end)],
    )
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    return tokenizer
