"""Cutting a tokenizer to the tokens that a text needs."""

import json
import tempfile
from pathlib import Path

import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from lib.data.tokenizer import load_tokenizer

BYTES = {f"<0x{byte:02X}>" for byte in range(256)}
"""SentencePiece's tokens for the bytes of characters that have none."""


def tokens_to_keep(tokenizer, counts: np.ndarray, most: int = 0, first: int = 0) -> list[int]:
    """The ids of the tokens that a text needs, in ascending order: those that occur in it, or the
    `most` frequent of them; special and other added tokens; what its tokens are spelled and merged
    from.

    Text whose tokens are all kept is then cut into the same tokens as before, and no character of
    the text becomes unknown elsewhere. Of byte-level vocabularies and those with tokens for bytes
    all bytes are kept.

    Args:
        counts: how often each token occurs, int [vocabulary].
        first: how many of the lowest ids are kept in any case.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model, vocabulary = content["model"], tokenizer.get_vocab()
    tokens = {index: token for token, index in vocabulary.items()}
    by_count = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    seen = {tokens[index] for index in by_count}
    kept = {tokens[index] for index in by_count[: most or None]}
    kept |= {token["content"] for token in content["added_tokens"]}
    kept |= {tokens[index] for index in range(first)}
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""
    characters = {
        character for token in seen for character in token.removeprefix(prefix).removesuffix(suffix)
    }
    if _is_bytelevel(content):
        characters |= set(ByteLevel.alphabet())
    if model.get("byte_fallback"):
        kept |= BYTES
    for character in characters:
        kept |= {character, prefix + character, character + suffix}
    kept &= vocabulary.keys()
    # A token is kept if it cannot be spelled without itself, else its text would become unknown.
    kept |= {token for token in seen if not _pieces(token, prefix, suffix) <= vocabulary.keys()}
    return sorted(vocabulary[token] for token in _with_parts(kept, model))


def _is_bytelevel(content: dict) -> bool:
    return '"ByteLevel"' in json.dumps(content["pre_tokenizer"])


def _pieces(token: str, prefix: str, suffix: str) -> set[str]:
    """The tokens of single characters that spell a token."""
    is_first = not (prefix and token.startswith(prefix))
    is_last = bool(suffix) and token.endswith(suffix)
    text = token.removeprefix(prefix).removesuffix(suffix)
    return {
        prefix * (not is_first or place > 0)
        + character
        + suffix * (is_last and place == len(text) - 1)
        for place, character in enumerate(text)
    }


def _with_parts(kept: set[str], model: dict) -> set[str]:
    """Tokens with all those that merges make them from (BPE)."""
    prefix, size = model.get("continuing_subword_prefix") or "", 0
    while size < len(kept):
        size = len(kept)
        for left, right in reversed(model.get("merges", [])):
            if left + right.removeprefix(prefix) in kept:
                kept |= {left, right}
    return kept


def cut_vocabulary(tokenizer, ids: list[int]):
    """A tokenizer with only the tokens `ids`, as `tokens_to_keep` gives them: in ascending order.
    They get the ids 0, 1, … in this order."""
    place = {old: new for new, old in enumerate(ids)}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder, "tokenizer.json")
        content = json.loads(path.read_text(encoding="utf-8"))
        for token in content["added_tokens"]:
            token["id"] = place[token["id"]]
        _cut_model(content["model"], place)
        if content["post_processor"]:
            _renumber(content["post_processor"], place)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        path = Path(folder, "tokenizer_config.json")
        config = json.loads(path.read_text(encoding="utf-8"))
        if added := config.get("added_tokens_decoder"):
            config["added_tokens_decoder"] = {place[int(old)]: added[old] for old in added}
            path.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
        return load_tokenizer(folder)


def _cut_model(model: dict, place: dict[int, int]) -> None:
    """Leave in a model of WordPiece, BPE or Unigram the tokens whose ids have a new `place`."""
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in place if old < len(model["vocab"])]
        model["unk_id"] = place.get(model["unk_id"])
        return
    model["vocab"] = {token: place[old] for token, old in model["vocab"].items() if old in place}
    if model["type"] == "BPE":
        prefix = model.get("continuing_subword_prefix") or ""
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if {left, right, left + right.removeprefix(prefix)} <= model["vocab"].keys()
        ]


def _renumber(processor: dict, place: dict[int, int]) -> None:
    """Give a post-processor the new ids of its special tokens."""
    for part in processor.get("processors", []):
        _renumber(part, place)
    for name in ("cls", "sep"):  # of BERT's and RoBERTa's: [token, id]
        if name in processor:
            processor[name][1] = place[processor[name][1]]
    if processor["type"] == "TemplateProcessing":
        for special in processor["special_tokens"].values():
            special["ids"] = [place[old] for old in special["ids"]]
