"""Where words start, told from the tokens alone: by the marks that a tokenizer leaves on them.

WordPiece marks what continues a word (`##`), HerBERT's BPE what ends one (`</w>`), byte-level BPE
and SentencePiece what follows a space (`Ġ`, `▁`). Scripts without spaces between words have no such
marks: each of their tokens counts as a word, or the mask would hide whole lines.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
# Thai and Lao, Burmese, Khmer, the punctuation of Chinese and Japanese, kana, Han.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3000-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\U0001b000-\U0001b16f]|" + HAN.pattern
)


@dataclass
class Words:
    """What each token of a vocabulary says about words, [vocabulary].

    `begins`: a word starts with it; `ends`: one starts after it; `unspaced`: it is of a script
    without spaces between words; `bytes`: UTF-8, of the text that it spells and of the space that
    its mark stands for. `marked`: the tokenizer marks words; without marks, each token is one.
    """

    begins: np.ndarray
    ends: np.ndarray
    unspaced: np.ndarray
    bytes: np.ndarray
    marked: bool

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """Where words start in a text, bool [tokens]: also at its first token, always."""
        starts = self.begins[ids]
        starts[1:] |= self.ends[ids[:-1]]
        starts[:1] = True
        return starts


def words_of(backend) -> Words:
    """The table of a tokenizer of the library `tokenizers`."""
    state = json.loads(backend.to_str())
    model = state["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    space = ""
    before = json.dumps([state["normalizer"], state["pre_tokenizer"]], ensure_ascii=False)
    is_bytes = "ByteLevel" in before
    if not prefix and not suffix:
        space = "Ġ" if is_bytes else "▁" if "▁" in before else ""
    marked = bool(prefix or suffix or space)

    vocabulary, added = backend.get_vocab(), backend.get_added_tokens_decoder()
    length = max(vocabulary.values()) + 1
    begins, ends, unspaced = (np.zeros(length, bool) for _ in range(3))
    sizes = np.zeros(length, np.int64)
    spell = _byte_speller() if is_bytes else _spell
    for token, index in vocabulary.items():
        if index in added:
            if not added[index].special:  # stands for itself, whatever is around it
                begins[index] = ends[index] = True
                sizes[index] = len(token.encode())
            continue
        inner = token.removeprefix(prefix or space).removesuffix(suffix)
        if prefix:
            begins[index] = not token.startswith(prefix)
        elif suffix:
            ends[index] = token.endswith(suffix)
        elif space:
            begins[index], ends[index] = token.startswith(space), inner.endswith(space)
        text, size, is_whole = spell(inner)
        sizes[index] = size + bool(begins[index] if space or prefix else ends[index])
        if UNSPACED.search(text):
            unspaced[index] = begins[index] = True
            ends[index] |= is_whole
    if model.get("unk_token") in vocabulary and not space:
        # The text it stands for is gone, and its mark with it: a word of its own.
        unknown = vocabulary[model["unk_token"]]
        begins[unknown], ends[unknown] = not suffix, bool(suffix)
    return Words(begins | (not marked), ends, unspaced, sizes, marked)


def _spell(token: str) -> tuple[str, int, bool]:
    """The text of a token without marks, its size in bytes, and whether its last character is
    whole."""
    return token, len(token.encode()), True


def _byte_speller() -> Callable[[str], tuple[str, int, bool]]:
    """`_spell` for byte-level BPE, where a character stands for a byte, and a token may begin or
    end within a character of the text."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    continuing = bytes(range(0x80, 0xC0))

    def spell(token: str) -> tuple[str, int, bool]:
        if not byte_of.keys() >= set(token):
            return _spell(token)
        data = bytes(byte_of[character] for character in token).lstrip(continuing)
        is_whole = data.decode(errors="ignore").encode() == data
        # A character without its last byte counts as the first with the others, of its script.
        return (data + b"\x80").decode(errors="ignore"), len(token), is_whole

    return spell
