"""Sentences for the lab: typed ones as token ids, and examples from held-out text."""

import re
from typing import NamedTuple

import numpy as np

from lib.common.errors import InputError
from lib.data.prepared import open_corpus
from lib.lab.models import Pair, tokenizer

MASK = "[MASK]"
LONGEST = 64
"""Tokens of a sentence; the rest is cut off."""
BLANK = re.compile(r"\[mask\]|<mask>|(?<!\w)_+(?!\w)", re.IGNORECASE)
"""What may stand for a hidden word: the mask of either kind of tokenizer, or a line to write on."""


class Example(NamedTuple):
    """A sentence of held-out text: whole, and with its token number `place`, from 1, the word
    `hidden`, masked."""

    whole: str
    masked: str
    hidden: str
    place: int


def encoded(text: str, words) -> list[int]:
    """Token ids of a sentence, special tokens included; `words`: the tokenizer. Raises InputError
    if there is no word."""
    text = BLANK.sub(f" {words.mask_token} ", text)
    ids = words(text, truncation=True, max_length=LONGEST)["input_ids"]
    if len(ids) < 3:
        raise InputError(f"sentence: type some words; {MASK} or _ stands for one to be guessed")
    return ids


def tokens(ids: list[int], words) -> list[str]:
    """The tokens as they are read: without the sign that ends a word, and the mask as a blank."""
    shown = [token.removesuffix("</w>") for token in words.convert_ids_to_tokens(ids)]
    return [MASK if index == words.mask_token_id else token for index, token in zip(ids, shown)]


def example(pair: Pair, number: int = 0) -> Example:
    """A sentence of 8 to 16 tokens held out of the student's corpus, and a word of it to hide;
    where its corpus is gone, some words of the vocabulary. Any `number` gives one, the same number
    the same one."""
    words = tokenizer(pair.student)
    try:
        corpus = open_corpus(pair.parameters["corpus"], "held_out")
    except InputError:
        some = [word for word in tokens(list(range(len(words))), words) if word.isalpha()][-7:]
        return Example(" ".join(some), " ".join([*some[:3], MASK, *some[4:]]), some[3], 4)
    fit = np.flatnonzero((corpus.lengths >= 8) & (corpus.lengths <= 16))
    order = np.random.default_rng(0).permutation(fit if len(fit) else len(corpus))
    (ids,), (starts,) = corpus.rows(order[[number % len(order)]])
    ids, ends = [int(index) for index in ids[:LONGEST]], [*starts[1:], True]
    inside = range(1, len(ids) - 1)
    alone = [place for place in inside if starts[place] and (ends[place] or place == inside[-1])]
    spelt = [place for place in alone if tokens([ids[place]], words)[0].isalpha()]
    place = int(np.random.default_rng(number).choice(spelt or alone or inside))
    hidden = [*ids[:place], words.mask_token_id, *ids[place + 1 :]]
    masked = " ".join(words.decode(hidden[1:-1]).replace(words.mask_token, f" {MASK} ").split())
    return Example(words.decode(ids[1:-1]), masked, tokens([ids[place]], words)[0], place)
