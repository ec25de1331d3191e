"""lib.data.vocabulary: tokenizers of every kind cut to what a text needs, in nine scripts."""

import random

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from lib.data import tokenizer
from lib.data.vocabulary import BYTES, cut_vocabulary, tokens_to_keep

WORDS = {
    "Latin": "żółw pełznie śpi mówi księżna lodówka naïve café straße über",
    "Cyrillic": "привет мир черепаха говорит княжна спит медленно їжак",
    "Greek": "χελώνα μιλάει αργά πρίγκιπας κοιμάται θάλασσα ήλιος",
    "Arabic": "مرحبا بالعالم السلحفاة تتكلم ببطء الأميرة تنام كتاب",
    "Hebrew": "שלום עולם הצב מדבר לאט הנסיכה ישנה ספר",
    "Devanagari": "नमस्ते दुनिया कछुआ बोलता है धीरे राजकुमारी किताब",
    "Thai": "สวัสดี ชาวโลก เต่า พูด ช้า เจ้าหญิง หลับ หนังสือ",
    "Han": "你好 世界 乌龟 说话 很慢 公主 睡觉 书本",
    "Hangul": "안녕 세계 거북이 말한다 천천히 공주 잔다 책",
}
SIZES = {"wordpiece": 700, "herbert_bpe": 700, "bytelevel_bpe": 900, "unigram": 500}
KINDS = list(SIZES)


def lines(script: str, number: int, seed: int) -> list[str]:
    """Sentences of a script's words, and of words put together from two of them."""
    draw, words = random.Random(f"{script} {seed}"), WORDS[script].split()
    sentences = []
    for _ in range(number):
        chosen = draw.choices(words, k=5) + ["".join(draw.choices(words, k=2))]
        sentences.append(" ".join(draw.sample(chosen, 6)) + draw.choice([".", "!", " 12?"]))
    return sentences


@pytest.fixture(scope="module", params=KINDS)
def whole(request):
    text = [line for script in WORDS for line in lines(script, 120, seed=0)]
    return tokenizer.train_tokenizer(text, request.param, SIZES[request.param])


def counts_of(words, text: list[str]) -> np.ndarray:
    ids = [index for line in text for index in words(line)["input_ids"]]
    return np.bincount(ids, minlength=len(words))


def tokens(words, text: str) -> list[str]:
    return words.convert_ids_to_tokens(words(text)["input_ids"])


@pytest.mark.parametrize("scripts", [list(WORDS), ["Latin", "Thai", "Han"], ["Arabic"]], ids=len)
def test_text_that_is_covered_is_cut_as_before(whole, scripts, tmp_path):
    seen = [line for script in scripts for line in lines(script, 10, seed=1)]
    kept = tokens_to_keep(whole, counts_of(whole, seen))
    cut = cut_vocabulary(whole, kept)
    assert len(cut) == len(kept) <= len(whole) and type(cut) is type(whole)
    assert len(scripts) == len(WORDS) or len(cut) < 0.8 * len(whole)
    moved = {name: kept[index] for name, index in tokenizer.special_ids(cut).items()}
    assert moved == tokenizer.special_ids(whole)
    new = [line for script in scripts for line in lines(script, 60, seed=2)]
    covered = [line for line in new if set(whole(line)["input_ids"]) <= set(kept)]
    assert len(covered) > len(scripts)
    for line in [*seen, *covered]:
        ids = cut(line)["input_ids"]
        assert [kept[index] for index in ids] == whole(line)["input_ids"]
        assert tokens(cut, line) == tokens(whole, line)
        assert cut.decode(ids) == whole.decode(whole(line)["input_ids"])
    pairs = cut(seen[0], seen[1]), whole(seen[0], seen[1])
    assert [kept[index] for index in pairs[0]["input_ids"]] == pairs[1]["input_ids"]
    cut.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.require_same(cut, again, "the cut one", "the one on disk")


def test_with_the_most_frequent_tokens_alone_nothing_known_becomes_unknown(whole):
    text = [line for script in WORDS for line in lines(script, 40, seed=3)]
    counts = counts_of(whole, text)
    all_kept = tokens_to_keep(whole, counts)
    kept = tokens_to_keep(whole, counts, most=20)
    assert set(kept) < set(all_kept)
    assert set(np.argsort(-counts, kind="stable")[:20]) <= set(kept)
    cut, lost = cut_vocabulary(whole, kept), whole.unk_token
    other = [line for script in WORDS for line in lines(script, 20, seed=4)]
    for line in [*text, *other]:
        assert tokens(cut, line).count(lost) == tokens(whole, line).count(lost), line
        assert "".join(cut.decode(cut(line)["input_ids"]).split()) == "".join(
            whole.decode(whole(line)["input_ids"]).split()
        )


def test_all_bytes_of_a_bytelevel_vocabulary_stay():
    whole = tokenizer.train_tokenizer(["żółw śpi", "żółw je"] * 2, "bytelevel_bpe", 300)
    cut = cut_vocabulary(whole, tokens_to_keep(whole, counts_of(whole, ["żółw"])))
    assert len(cut) < len(whole)
    assert cut.decode(cut("🐢 爬")["input_ids"], skip_special_tokens=True) == "🐢 爬"


def test_special_tokens_and_bytes_may_stand_anywhere():
    """A vocabulary of SentencePiece with tokens for bytes and its special tokens at the end."""
    pieces = ["▁", *"abcdef", "▁ab", "cd", "▁bad", *sorted(BYTES)]
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = [(piece, -10.0 + len(piece)) for piece in pieces]
    ids = {token: len(pieces) + place for place, token in enumerate(specials)}
    backend = Tokenizer(
        models.Unigram(
            [*vocabulary, *((token, 0.0) for token in specials)], ids["<unk>"], byte_fallback=True
        )
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    ends = [(token, ids[token]) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> $B </s>", ends
    )
    names = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    whole = PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{name}_token": token for name, token in names.items()}
    )
    kept = tokens_to_keep(whole, counts_of(whole, ["ab cd"]))
    cut = cut_vocabulary(whole, kept)
    assert set(cut.get_vocab()) == {"▁", *"abcd", "▁ab", "cd", *BYTES, *specials}
    for text in ("ab cd", "abcd é🐢", "fed"):
        assert tokens(cut, text)[:1] + tokens(cut, text)[-1:] == ["<s>", "</s>"]
        decoded = cut.decode(cut(text)["input_ids"], skip_special_tokens=True)
        assert decoded == whole.decode(whole(text)["input_ids"], skip_special_tokens=True)
    assert tokens(cut, "ab cd é") == tokens(whole, "ab cd é")


def test_a_token_stays_that_nothing_else_spells():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "turtle", "t", "##o", "to", "tot"]
    whole = BertTokenizer(vocab={token: place for place, token in enumerate(names)})
    counts = counts_of(whole, ["tot tot to turtle"])
    cut = cut_vocabulary(whole, tokens_to_keep(whole, counts, most=1))
    assert set(cut.get_vocab()) == {*names} - {"to"}


def test_the_lowest_ids_stay_where_they_are_asked_to(whole):
    kept = tokens_to_keep(whole, np.zeros(len(whole), int), first=9)
    assert kept[:9] == list(range(9))
