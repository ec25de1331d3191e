"""Tokenizers: training them, loading them, and telling whether two are the same one."""

import json
from collections import Counter
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Iterable

from lib.common import hub
from lib.common.errors import InputError

SPECIAL_TOKENS = {
    "wordpiece": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "herbert_bpe": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}
"""In order of their ids. HerBERT's post-processor has 0 and 2 hard-coded, so its order is no free
choice."""

PROBE = (
    "Zażółć GĘŚLĄ jaźń, rzekł (cicho) król Zygmunt III Waza w 1596 r.!",
    "Don't stop\tbelieving  it's 12.50 € – e-mail: a.b@example.org … naïve café",
    "北京是中国的首都。 مرحبا بالعالم Привет, мир! Þórður ñandú Straße cafe\u0301",
)
"""Text on which tokenizers that cut differently are likely to show it: case, diacritics,
punctuation, scripts."""


def train_tokenizer(lines: Iterable[str], kind: str, vocab_size: int):
    """A cased fast tokenizer, trained on `lines`. The same lines give the same vocabulary in every
    process.

    Args: lines, a list or anything else that can be read several times (an iterator is put into
    memory); kind,
        `wordpiece` (BERT) or `herbert_bpe` (HerBERT: byte-pair merges of characters, `</w>` ends a
        word; 000, section 3.1); vocab_size, the most tokens there may be, special tokens included.
    Returns: a PreTrainedTokenizerFast. Raises: InputError if `vocab_size` has no room for the
    characters of the text.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if kind not in SPECIAL_TOKENS:
        allowed = ", ".join(f"train:{known}" for known in SPECIAL_TOKENS)
        raise InputError(
            f"tokenizer: train:{kind} is unknown; allowed: {allowed}, a folder, or a hub id"
        )
    lines = list(lines) if iter(lines) is lines else lines
    affix = (
        {"continuing_subword_prefix": "##"}
        if kind == "wordpiece"
        else {"end_of_word_suffix": "</w>"}
    )
    specials = list(SPECIAL_TOKENS[kind])
    alphabet = characters(lines, limit=max(1, vocab_size // 3))

    def fit(size: int, first: list[str]) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(**affix))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            show_progress=False,
            special_tokens=first,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            **affix,
        )
        tokenizer.train_from_iterator(lines, trainer)
        return tokenizer

    # The library numbers characters with an affix ("##a", "a</w>") in the order of a randomly
    # seeded hash table, and breaks ties between merges by those numbers: another vocabulary in
    # every process. So a first pass finds these tokens, and the second gets them in order, as if
    # they were special tokens.
    base = specials + sorted(set(fit(0, specials).get_vocab()) - set(specials))
    if len(base) > vocab_size:
        raise InputError(
            f"vocab_size: {vocab_size} has no room for the characters; allowed: {len(base)} or more"
        )
    model = json.loads(fit(vocab_size, base).to_str())["model"]
    return assemble(kind, model["vocab"], [tuple(merge) for merge in model["merges"]])


def characters(lines: Iterable[str], limit: int) -> list[str]:
    """The alphabet: the `limit` most frequent characters, without those rarer than one in ten
    million, in order."""
    counts: Counter[str] = Counter()
    lines = iter(lines)
    while block := "".join(islice(lines, 1000)):
        counts.update(block)
    least = counts.total() / 1e7
    printed = [
        char
        for char, n in counts.items()
        if n >= least and char.isprintable() and not char.isspace()
    ]
    return sorted(sorted(printed, key=lambda char: (-counts[char], char))[:limit])


def assemble(kind: str, vocabulary: dict[str, int], merges: list[tuple[str, str]]):
    """The tokenizer of transformers that a published model of this kind has, around a
    vocabulary."""
    from transformers import BertTokenizer, HerbertTokenizer

    if kind == "wordpiece":
        return BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
    return HerbertTokenizer(vocab=vocabulary, merges=merges)


def load_tokenizer(model: hub.ModelRef | str | Path):
    """A fast tokenizer from a folder (relative to the checkout) or from the hub. Raises InputError,
    one line."""
    from transformers import AutoTokenizer

    ref = hub.ModelRef.of(model)
    if not ref.is_folder and not ref.on_hub:
        raise InputError(
            f"tokenizer: the folder {ref.name} does not exist; allowed: a folder or a hub id"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(ref.path, revision=ref.revision)
    except Exception as error:  # no network, no such model, no such revision, a broken file
        raise hub.unavailable(ref, error, f"tokenizer: {ref.name}") from None
    if len(tokenizer) <= len(
        tokenizer.all_special_ids
    ):  # without files the library makes up an empty one
        raise InputError(
            f"tokenizer: {ref.name} has no vocabulary besides its special tokens; is its "
            f"tokenizer.json or "
            "vocab.txt missing?"
        )
    if not tokenizer.is_fast:
        raise InputError(
            f"tokenizer: {ref.name} has no fast version; whole-word masking needs its word_ids()"
        )
    missing = [
        name for name in ("pad_token", "mask_token") if getattr(tokenizer, f"{name}_id") is None
    ]
    if missing:
        raise InputError(
            f"tokenizer: {ref.name} has no {' and no '.join(missing)}; masking and padding "
            f"need them"
        )
    return tokenizer


def special_ids(tokenizer) -> dict[str, int | None]:
    """The ids of the five special tokens BERT-like models use."""
    return {
        name: getattr(tokenizer, f"{name}_token_id")
        for name in ("pad", "unk", "cls", "sep", "mask")
    }


def behaviour(tokenizer) -> list:
    """Ids and words of some text: sentences that are hard to cut, and 600 tokens of the tokenizer's
    own vocabulary."""
    backend = tokenizer.backend_tokenizer
    vocabulary = [
        token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    ]
    picked = vocabulary[:: max(1, len(vocabulary) // 600)]
    texts = (*PROBE, " ".join(picked), "".join(picked).replace("##", "").replace("</w>", " "))
    encodings = [backend.encode(text, add_special_tokens=False) for text in texts]
    pair = backend.encode("a", "a")
    return [*((encoding.ids, encoding.word_ids) for encoding in encodings), (pair.ids, None)]


def fingerprint(tokenizer) -> str:
    """16 hex digits that two tokenizers share if they have the same vocabulary and special ids and
    cut text alike.

    Behaviour is compared, not files: the same tokenizer saved by two versions of a library has one
    fingerprint.
    """
    vocabulary = sorted(tokenizer.get_vocab().items())
    content = json.dumps(
        [vocabulary, special_ids(tokenizer), behaviour(tokenizer)], ensure_ascii=True
    )
    return blake2b(content.encode(), digest_size=8).hexdigest()


def require_same(a, b, what_a: str, what_b: str) -> None:
    """Raise InputError unless two tokenizers are the same: a soft loss compares their vocabularies
    token by token."""
    if fingerprint(a) == fingerprint(b):
        return
    if len(a) != len(b):
        why = f"{len(a):,} tokens against {len(b):,}"
    elif a.get_vocab() != b.get_vocab():
        moved = sum(b.get_vocab().get(token) != index for token, index in a.get_vocab().items())
        why = f"{moved:,} of {len(a):,} tokens have another id or are missing"
    elif special_ids(a) != special_ids(b):
        why = f"special ids {special_ids(a)} against {special_ids(b)}"
    else:
        why = "one vocabulary, but text is cut differently"
    raise InputError(
        f"tokenizers of {what_a} and {what_b} differ: {why}; allowed: one tokenizer for both"
    )
