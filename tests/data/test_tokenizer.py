"""lib.data.tokenizer: trained vocabularies, their round trip to disk, and telling tokenizers
apart."""

import copy
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError
from tokenizers import processors

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.data import tokenizer
from lib.data.parameters import DataPrep

NOUNS = "żółw gęś łódź źrebię mąka wójt król księga miasto pani".split()
VERBS = "pełznie śpi wraca mówi czyta rośnie".split()
LINES = [
    f"{a.capitalize()} {verb}, a {b} nie {verb}; {n} razy!"
    for n in range(20)
    for a in NOUNS
    for b in NOUNS
    for verb in VERBS
]
SIZE = 150  # the lines would fill 156 and 167
KINDS = list(tokenizer.SPECIAL_TOKENS)
SIZES = {kind: 350 if kind == "bytelevel_bpe" else SIZE for kind in KINDS}
SENTENCE = "Żółw mówi: „gęś śpi”, księżna-źrebię."


@pytest.fixture(scope="module")
def trained():
    return {kind: tokenizer.train_tokenizer(LINES, kind, SIZES[kind]) for kind in KINDS}


def starts(words, text):
    """Tokens of a text, those that start a word marked."""
    encoding = words(text, add_special_tokens=False)
    ids = encoding.word_ids()
    tokens = words.convert_ids_to_tokens(encoding["input_ids"])
    return [
        ("*" if n == 0 or ids[n] != ids[n - 1] else "") + token for n, token in enumerate(tokens)
    ]


def test_wordpiece_is_like_bert(trained):
    words = trained["wordpiece"]
    assert tokenizer.special_ids(words) == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    assert words.convert_ids_to_tokens(range(5)) == "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    pair = words("Król śpi", "a")
    a, b = words.convert_tokens_to_ids(["Król", "śpi"])
    assert pair["input_ids"] == [2, a, b, 3, words.convert_tokens_to_ids("a"), 3]
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert words.tokenize("król KRÓL krol")[0] == "król" and "Król" not in words.tokenize(
        "król"
    )  # cased
    assert words.tokenize("ж") == ["[UNK]"]


def test_herbert_is_like_herbert(trained):
    words = trained["herbert_bpe"]
    assert tokenizer.special_ids(words) == {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": 4}
    assert words.convert_ids_to_tokens(range(5)) == "<s> <pad> </s> <unk> <mask>".split()
    assert words.model_input_names == ["input_ids", "attention_mask"]
    pair = words("Król śpi", "a")
    a, b, c = words.convert_tokens_to_ids(["Król</w>", "śpi</w>", "a</w>"])
    assert pair == {"input_ids": [0, a, b, 2, c, 2], "attention_mask": [1] * 6}
    assert not [token for token in words.get_vocab() if "##" in token]


@pytest.mark.parametrize("kind", KINDS[:2])
def test_words_start_where_they_should(trained, kind):
    marked = starts(trained[kind], "Żółw gęśli, (źrebiłódź!)")
    spelled = "".join(marked).replace("##", "").replace("</w>", "").split("*")
    unknown = trained[kind].unk_token  # no bracket occurs in the lines
    assert spelled == ["", "Żółw", "gęśli", ",", unknown, "źrebiłódź", "!", unknown]


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_word_is_cut_into_pieces_that_spell_it(trained, kind):
    marked = starts(trained[kind], "źrebiłódź")
    assert len(marked) > 1 and [token.startswith("*") for token in marked] == [True] + [False] * (
        len(marked) - 1
    )
    assert "".join(marked).replace("*", "").replace("##", "").replace("</w>", "") == "źrebiłódź"


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_that_no_token_has_is_shown_too(trained, kind):
    words = trained[kind]
    assert tokenizer.spell_tokens(words, [words.mask_token_id, len(words) + 3]) == [
        words.mask_token,
        "(none)",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(trained, kind, tmp_path):
    words = trained[kind]
    words.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')  # as beside a model
    again = tokenizer.load_tokenizer(str(tmp_path))
    assert again.is_fast and type(again) is type(words)
    assert tokenizer.special_ids(again) == tokenizer.special_ids(words)
    assert again.get_vocab() == words.get_vocab()
    assert again(SENTENCE, "Król!") == words(SENTENCE, "Król!")
    assert again(SENTENCE).word_ids() == words(SENTENCE).word_ids()
    assert again.model_input_names == words.model_input_names
    assert tokenizer.fingerprint(again) == tokenizer.fingerprint(words)
    tokenizer.require_same(words, again, "the teacher", "the student")


@pytest.mark.parametrize("kind", KINDS[:2])
def test_vocabulary_is_as_big_as_asked_and_has_no_unseen_character(trained, kind):
    assert len(trained[kind]) == SIZE
    text = " ".join(LINES)
    affixes = ("##", "</w>")
    pieces = [
        token for token in trained[kind].get_vocab() if token not in tokenizer.SPECIAL_TOKENS[kind]
    ]
    for affix in affixes:
        pieces = [piece.replace(affix, "") for piece in pieces]
    assert all(piece in text for piece in pieces)


def test_the_same_vocabulary_in_every_process(trained):
    code = (
        "import sys; sys.path[:0] = ['.', 'tests/data']\n"
        "from lib.data import tokenizer; from test_tokenizer import LINES, SIZES\n"
        "made = [tokenizer.train_tokenizer(iter(LINES), *kind) for kind in SIZES.items()]\n"
        "print([tokenizer.fingerprint(words) for words in made])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == str([tokenizer.fingerprint(trained[kind]) for kind in KINDS])


def test_rare_characters_are_left_out_before_the_vocabulary_overflows():
    lines = ["ala ma kota"] * 50 + ["".join(chr(0x4E00 + n) for n in range(300))]
    words = tokenizer.train_tokenizer(lines, "wordpiece", 60)
    assert len(words) <= 60 and "ala" in words.get_vocab()
    with pytest.raises(
        InputError, match=r"vocab_size: 7 has no room for the characters; allowed: \d+ or more"
    ):
        tokenizer.train_tokenizer(lines, "wordpiece", 7)


def test_unknown_kind():
    allowed = "train:wordpiece, train:herbert_bpe, train:bytelevel_bpe, train:unigram"
    with pytest.raises(ValidationError, match=f"train:words is unknown; allowed: {allowed}"):
        DataPrep(sources=[{"kind": "files", "path": "text"}], tokenizer="train:words")


def test_load_says_in_one_line_what_is_wrong(tmp_path):
    with pytest.raises(
        InputError, match="the folder ./no/such does not exist; allowed: a folder or a hub id"
    ):
        tokenizer.load_tokenizer("./no/such")
    with pytest.raises(InputError) as caught:
        tokenizer.load_tokenizer(str(tmp_path))  # there, but empty
    assert "cannot be loaded" in str(caught.value) and "\n" not in str(caught.value)


def test_a_tokenizer_without_ends_of_a_text_is_refused(trained, tmp_path):
    words = copy.deepcopy(trained["unigram"])
    words.backend_tokenizer.post_processor = processors.Sequence([])
    words.save_pretrained(tmp_path / "a")
    words.cls_token = words.sep_token = None
    words.save_pretrained(tmp_path / "b")
    for name, problem in (
        ("a", "no post-processor that puts <s> before a text and </s> after it; set one"),
        ("b", "no cls_token and no sep_token; set them and a post-processor"),
    ):
        with pytest.raises(InputError, match=f"/{name} has {problem}"):
            tokenizer.load_tokenizer(str(tmp_path / name))


def test_tokenizers_that_differ_are_told_apart(trained):
    from transformers import BertTokenizer

    words = trained["wordpiece"]
    vocabulary = words.get_vocab()
    lower = BertTokenizer(vocab=vocabulary, do_lower_case=True)
    swapped = dict(vocabulary)
    swapped["Król"], swapped["król"] = vocabulary["król"], vocabulary["Król"]
    other = BertTokenizer(vocab=swapped, do_lower_case=False, strip_accents=False)
    smaller = tokenizer.train_tokenizer(LINES, "wordpiece", 140)
    for different, why in (
        (lower, "one vocabulary, but text is cut differently"),
        (other, "2 of 150 tokens have another id or are missing"),
        (smaller, "150 tokens against 140"),
    ):
        with pytest.raises(InputError) as caught:
            tokenizer.require_same(words, different, "the teacher", "the student")
        assert str(caught.value) == (
            f"tokenizers of the teacher and the student differ: {why}; allowed: one tokenizer for "
            f"both"
        )


def test_importing_is_cheap():
    code = (
        "import sys; import lib.data.cleaning, lib.data.sources, lib.data.tokenizer, "
        "lib.data.prepare\n"
        "heavy = ('torch', 'transformers', 'datasets', 'tokenizers', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
