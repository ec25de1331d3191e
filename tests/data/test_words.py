"""lib.data.words: where words start in nine scripts, by tokenizers of all kinds."""

import random

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from lib.data import prepare
from lib.data.prepared import open_corpus
from lib.data.sources import FileSource
from lib.data.tokenizer import SPECIAL_TOKENS, train_tokenizer
from lib.data.words import words_of
from lib.training.batches import IGNORE, whole_word_mask
from tests.data.test_prepare import settings

SCRIPTS = {
    "latin": "abcdefgłżó",
    "greek": "αβγδεζηθικ",
    "cyrillic": "абвгдежзик",
    "arabic": "ابتثجحخدذر",
    "devanagari": "कखगघचछिीुू",
    "hangul": "가나다라마바사아자차",
    "thai": "กขคงจฉชซาิ",
    "khmer": "កខគឃងចឆជាិ",
    "kana": "あいうえおアイウエオ",
}
UNSPACED = ("thai", "khmer", "kana")
CASES = [(script, kind) for script in SCRIPTS for kind in SPECIAL_TOKENS]


def text_of(script: str, lines: int = 200) -> list[str]:
    """Lines of three to eight invented words, without spaces where the script has none."""
    rng = random.Random(script)
    words = ["".join(rng.choices(SCRIPTS[script], k=rng.randrange(2, 7))) for _ in range(60)]
    space = "" if script in UNSPACED else " "
    return [space.join(rng.choices(words, k=rng.randrange(3, 9))) for _ in range(lines)]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """A function of a script and a kind of tokenizer: what was said, the statistics, the corpus."""
    made = {}

    def corpus(script: str, kind: str):
        if (script, kind) not in made:
            folder = tmp_path_factory.mktemp(f"{script}-{kind}")
            (folder / "text.txt").write_text("\n".join(text_of(script)) + "\n", "utf-8")
            said = []
            changes = {"tokenizer": f"train:{kind}", "vocab_size": 420, "max_length": 128}
            p = settings(folder / "text.txt", deduplicate=False, **changes)
            statistics = prepare.prepare(p, folder, say=said.append)
            said = [line for line in said if line.startswith("masking")]
            made[script, kind] = said, statistics, open_corpus(folder)
        return made[script, kind]

    return corpus


@pytest.mark.parametrize(("script", "kind"), CASES)
def test_words_of_spaced_scripts_are_those_between_spaces(corpora, script, kind):
    said, statistics, corpus = corpora(script, kind)
    tokenizer, lines = corpus.tokenizer(), text_of(script)
    assert statistics["unknown_share"] == 0 and statistics["masked_by_token"] == []
    for line, ids, starts in zip(lines, *corpus.rows(range(len(corpus)))):
        assert not starts[0] and starts[1] and not starts[-1]
        if script not in UNSPACED:
            words = np.split(ids[1:-1], np.flatnonzero(starts[1:-1])[1:])
            assert [tokenizer.decode(word).strip() for word in words] == line.split()
        elif kind != "bytelevel_bpe":
            assert starts[1:-1].all()
        else:  # all but the ends of characters
            assert starts.mean() > 0.5
    assert bool(said) == (script in UNSPACED)
    if said:
        assert len(said) == 1 and "text.txt (no spaces between words in" in said[0]


@pytest.mark.parametrize(("script", "kind"), CASES)
def test_masks_cover_whole_words_and_never_whole_lines(corpora, script, kind):
    _, _, corpus = corpora(script, kind)
    hidden = kept = 0
    for row, (ids, starts) in enumerate(zip(*corpus.rows(range(100)))):
        ids, starts = torch.from_numpy(ids)[None], torch.from_numpy(starts.copy())[None]
        maskable = torch.ones_like(starts)
        maskable[:, [0, -1]] = False
        _, labels = whole_word_mask(
            ids,
            starts,
            maskable,
            mask_id=4,
            vocab_size=420,
            probability=0.3,
            generator=torch.Generator().manual_seed(row),
        )
        chosen = (labels != IGNORE)[0, 1:-1]
        inner = starts[0, 1:-1]
        assert torch.equal(chosen[1:][~inner[1:]], chosen[:-1][~inner[1:]])
        hidden, kept = hidden + int(chosen.sum()), kept + len(chosen)
    assert 0.2 < hidden / kept < 0.4


def starts_of(backend: Tokenizer, text: str) -> list[str]:
    encoding = backend.encode(text, add_special_tokens=False)
    marks = words_of(backend).starts(np.array(encoding.ids))
    return ["*" * bool(mark) + token for mark, token in zip(marks, encoding.tokens)]


def test_tokens_across_words_and_text_without_a_first_space():
    tokens = ["<unk>", "▁a", "▁a▁", "b", "▁", "c"]
    backend = Tokenizer(models.Unigram([(token, -1.0) for token in tokens], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    assert starts_of(backend, "b a bc c") == ["*b", "*▁a▁", "*b", "c", "*▁", "c"]


def test_bytes_of_one_character_are_one_word_and_added_tokens_are_words():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary = {token: n for n, token in enumerate(sorted(backend.pre_tokenizer.alphabet()))}
    vocabulary |= {"à¸": 256, "ģà¸": 257}
    backend.model = models.BPE(vocabulary, [("à", "¸"), ("ģ", "à¸")])
    assert starts_of(backend, "ab กข") == ["*a", "b", "*Ġ", "*à¸", "*ģà¸", "Ĥ"]
    backend.add_tokens([AddedToken("cd")])
    assert starts_of(backend, "acdb") == ["*a", "*cd", "*b"]


def test_without_marks_each_token_is_a_word():
    backend = Tokenizer(models.BPE(dict(a=0, b=1, ab=2), [("a", "b")]))
    assert starts_of(backend, "abbab") == ["*ab", "*b", "*ab"]
    assert not words_of(backend).marked


def test_words_of_many_tokens_are_masked_token_by_token(tmp_path):
    """A tokenizer of one language on text in another, beside text in its own."""
    train_tokenizer(text_of("latin"), "bytelevel_bpe", 420).save_pretrained(tmp_path / "tokenizer")
    sources = []
    for script in ("latin", "devanagari"):
        path = tmp_path / f"{script}.txt"
        path.write_text("\n".join(text_of(script, 40)) + "\n", "utf-8")
        sources.append(FileSource(path=str(path)))
    said = []
    p = settings(None, sources=sources, tokenizer=str(tmp_path / "tokenizer"))
    statistics = prepare.prepare(p, tmp_path / "out", say=said.append)
    (line,) = [line for line in said if line.startswith("masking")]
    assert line.startswith("masking  token by token: devanagari.txt (words average 1")
    assert statistics["masked_by_token"] == ["devanagari.txt"]
    corpus = open_corpus(tmp_path / "out")
    shares = [start[1:-1].mean() for start in corpus.rows(range(len(corpus)))[1]]
    assert shares[0] < 1 and shares[-1] == 1
