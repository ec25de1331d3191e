"""Tokenizers: training, loading and comparing them."""

import io
import json
import re
from collections import Counter
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Iterable

from lib.common import hub
from lib.common.errors import InputError

# Of the kinds that can be trained, in order of their ids. HerBERT's post-processor hard-codes 0 and
# 2, so its order cannot be chosen.
SPECIAL_TOKENS = {
    "wordpiece": ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    "herbert_bpe": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "bytelevel_bpe": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "unigram": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
}

# Text that shows differences between tokenizers: case, diacritics, punctuation, scripts.
PROBE = (
    "Zażółć GĘŚLĄ jaźń, rzekł (cicho) król Zygmunt III Waza w 1596 r.!",
    "Don't stop\tbelieving  it's 12.50 € – e-mail: a.b@example.org … naïve café",
    "北京是中国的首都。 مرحبا بالعالم Привет, мир! Þórður ñandú Straße cafe\u0301",
)


def train_tokenizer(lines: Iterable[str], kind: str, vocab_size: int):
    """A cased fast tokenizer; the same lines give the same vocabulary in every process.

    Args:
        lines: anything that can be iterated several times (an iterator is put into memory).
        kind: `wordpiece` (BERT), `herbert_bpe` (HerBERT: byte-pair merges of characters, `</w>`
            ends a word; 000, section 3.1), `bytelevel_bpe` (RoBERTa: merges of bytes, so no token
            is unknown) or `unigram` (SentencePiece's, as for XLM-R).
        vocab_size: the largest vocabulary, special tokens included.
    Returns: a PreTrainedTokenizerFast.
    Raises: InputError if `vocab_size` has no room for the characters of the text.
    """
    lines = list(lines) if iter(lines) is lines else lines
    if kind == "unigram":
        return _train_unigram(lines, vocab_size)
    if kind == "bytelevel_bpe":
        return _train_bytelevel_bpe(lines, vocab_size)
    if kind in ("wordpiece", "herbert_bpe"):
        return _train_characters(lines, kind, vocab_size)
    raise ValueError(f"kind {kind!r}: allowed are {', '.join(SPECIAL_TOKENS)}")


def _train_characters(lines: Iterable[str], kind: str, vocab_size: int):
    """WordPiece or HerBERT's BPE: merges of characters within the words of BERT."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer, HerbertTokenizer

    is_wordpiece = kind == "wordpiece"
    affix = {"continuing_subword_prefix": "##"} if is_wordpiece else {"end_of_word_suffix": "</w>"}
    specials = list(SPECIAL_TOKENS[kind])
    alphabet = _alphabet(lines, limit=max(1, vocab_size // 3))

    def train(size: int, first_tokens: list[str]) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE(**affix))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            show_progress=False,
            special_tokens=first_tokens,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            **affix,
        )
        tokenizer.train_from_iterator(lines, trainer)
        return tokenizer

    # The library numbers characters with an affix ("##a", "a</w>") in the order of a randomly
    # seeded hash table and breaks ties between merges by these numbers: another vocabulary in every
    # process. So a first pass finds these tokens, and the second gets them in order, as if they
    # were special tokens.
    base = specials + sorted(set(train(0, specials).get_vocab()) - set(specials))
    _require_room(vocab_size, len(base))
    model = json.loads(train(vocab_size, base).to_str())["model"]
    if is_wordpiece:
        return BertTokenizer(vocab=model["vocab"], do_lower_case=False, strip_accents=False)
    merges = [tuple(merge) for merge in model["merges"]]
    return HerbertTokenizer(vocab=model["vocab"], merges=merges)


def _train_bytelevel_bpe(lines: Iterable[str], vocab_size: int):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    specials = list(SPECIAL_TOKENS["bytelevel_bpe"])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _require_room(vocab_size, len(specials) + len(alphabet))
    tokenizer = Tokenizer(models.BPE())
    # GPT-2's words, but vowel signs and accents (\p{M}) belong to theirs, as Indic scripts need it.
    words = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=specials,
        initial_alphabet=alphabet,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return _with_specials(tokenizer, specials)


def _train_unigram(lines: Iterable[str], vocab_size: int):
    """SentencePiece's own trainer: that of `tokenizers` adds up in the order of a randomly seeded
    hash table, is four times slower, and often stops at half the size."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    specials = list(SPECIAL_TOKENS["unigram"])
    normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    words: Counter[str] = Counter()
    for line in lines:
        words.update(normalizer.normalize_str(line).split())
    alphabet = _alphabet(words.elements(), limit=max(1, vocab_size // 3))
    _require_room(vocab_size, len(specials) + 1 + len(alphabet))  # with "▁"
    rare = re.compile(f"[^{re.escape(''.join(alphabet))}]")
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for part in rare.sub(" ", word).split():
            counts[part] += count
    trained = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=(f"{word}\t{count}" for word, count in sorted(counts.items())),
        input_format="tsv",
        model_writer=trained,
        model_type="unigram",
        vocab_size=vocab_size - len(specials) + 1,  # with its own unknown token
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        max_sentence_length=1 << 16,
        num_threads=2,  # a constant: sums depend on it
        minloglevel=2,
    )
    pieces = SentencePieceProcessor(model_proto=trained.getvalue())
    vocabulary = [(token, 0.0) for token in specials]
    for index in range(1, len(pieces)):
        vocabulary.append((pieces.id_to_piece(index), pieces.get_score(index)))

    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=specials.index("<unk>")))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Split("<", "isolated"),  # so that "<s>" in a text is text
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    return _with_specials(tokenizer, specials)


def _require_room(vocab_size: int, least: int) -> None:
    if vocab_size < least:
        problem = f"{vocab_size} has no room for the characters; allowed: {least} or more"
        raise InputError(f"vocab_size: {problem}")


def _with_specials(tokenizer, specials: list[str]):
    """A transformers tokenizer that puts special tokens around texts as BERT does."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    cls, pad, sep, unk, mask = specials
    tokenizer.post_processor = TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, specials.index(cls)), (sep, specials.index(sep))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=cls,
        pad_token=pad,
        sep_token=sep,
        unk_token=unk,
        mask_token=mask,
    )


def _alphabet(lines: Iterable[str], limit: int) -> list[str]:
    """The `limit` most frequent characters in order, without those below one in ten million."""
    counts: Counter[str] = Counter()
    lines = iter(lines)
    while block := "".join(islice(lines, 1000)):
        counts.update(block)
    least = counts.total() / 1e7
    characters = [
        character
        for character, count in counts.items()
        if count >= least and character.isprintable() and not character.isspace()
    ]
    return sorted(sorted(characters, key=lambda one: (-counts[one], one))[:limit])


def load_tokenizer(model: hub.ModelRef | str | Path):
    """A fast tokenizer from a folder (relative to the checkout) or from the hub. Raises InputError
    if it cannot be loaded, or cannot be used for masking."""
    from transformers import AutoTokenizer

    ref = hub.ModelRef.of(model)
    if not ref.is_folder and not ref.on_hub:
        problem = f"the folder {ref.name} does not exist; allowed: a folder or a hub id"
        raise InputError(f"tokenizer: {problem}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(ref.path, revision=ref.revision)
    except Exception as error:  # no network, no such model, no such revision, a broken file
        raise hub.unavailable(ref, error, f"tokenizer: {ref.name}") from None
    needed = ("cls_token", "sep_token", "pad_token", "mask_token")
    missing = [name for name in needed if getattr(tokenizer, f"{name}_id") is None]
    # Without files, the library makes up an empty vocabulary.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        problem = (
            "no vocabulary besides its special tokens; is its tokenizer.json or vocab.txt missing?"
        )
    elif not tokenizer.is_fast:
        problem = "no fast version (tokenizer.json), which text is prepared with"
    elif missing:
        problem = f"no {' and no '.join(missing)}; set them and a post-processor"
    elif not _puts_specials_around(tokenizer):
        problem = (
            f"no post-processor that puts {tokenizer.cls_token} before a text and "
            f"{tokenizer.sep_token} after it; set one"
        )
    else:
        return tokenizer
    raise InputError(f"tokenizer: {ref.name} has {problem}")


def spell_tokens(tokenizer, ids: list[int]) -> list[str]:
    """Each token as text by itself, without a mark of a space or of the end of a word; `##` stays,
    as does a token that is nothing but a mark. An id beyond the tokenizer's, of a vocabulary that
    was padded to a round size, is "(none)"."""
    tokens = [token or "(none)" for token in tokenizer.convert_ids_to_tokens(ids)]
    return [tokenizer.convert_tokens_to_string([token]).strip() or token for token in tokens]


def _puts_specials_around(tokenizer) -> bool:
    ids = tokenizer("a")["input_ids"]
    ends = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    return [*ids[:1], *ids[-1:]] == ends and tokenizer.num_special_tokens_to_add() == 2


# -------------------------------------------------------------------------------------- comparing


def special_ids(tokenizer) -> dict[str, int | None]:
    """The ids of the special tokens of BERT-like models."""
    names = ("pad", "unk", "cls", "sep", "mask")
    return {name: getattr(tokenizer, f"{name}_token_id") for name in names}


def fingerprint(tokenizer) -> str:
    """16 hex digits, the same for tokenizers with the same vocabulary and special ids that cut text
    alike.

    Behaviour is compared, not files, which differ between versions of the library.
    """
    vocabulary = sorted(tokenizer.get_vocab().items())
    content = json.dumps([vocabulary, special_ids(tokenizer), _behaviour(tokenizer)])
    return blake2b(content.encode(), digest_size=8).hexdigest()


def _behaviour(tokenizer) -> list:
    """Ids and words of the PROBE and of about 600 tokens of the tokenizer's own vocabulary."""
    backend, vocabulary = tokenizer.backend_tokenizer, tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)[:: max(1, len(vocabulary) // 600)]
    texts = (*PROBE, " ".join(tokens), "".join(tokens).replace("##", "").replace("</w>", " "))
    encodings = [backend.encode(text, add_special_tokens=False) for text in texts]
    pair = backend.encode("a", "a")
    return [*((encoding.ids, encoding.word_ids) for encoding in encodings), (pair.ids, None)]


def require_same(a, b, name_a: str, name_b: str) -> None:
    """Raise InputError unless two tokenizers are the same, since a soft loss compares their
    vocabularies token by token."""
    if fingerprint(a) == fingerprint(b):
        return
    ids_a, ids_b = a.get_vocab(), b.get_vocab()
    if len(a) != len(b):
        reason = f"{len(a):,} tokens against {len(b):,}"
    elif ids_a != ids_b:
        moved = sum(ids_b.get(token) != index for token, index in ids_a.items())
        reason = f"{moved:,} of {len(a):,} tokens have another id or are missing"
    elif special_ids(a) != special_ids(b):
        reason = f"special ids {special_ids(a)} against {special_ids(b)}"
    else:
        reason = "one vocabulary, but text is cut differently"
    problem = f"tokenizers of {name_a} and {name_b} differ: {reason}"
    raise InputError(f"{problem}; allowed: one tokenizer for both")
