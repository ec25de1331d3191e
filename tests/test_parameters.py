"""lib.parameters: what data preparation refuses, each in one line that says what is allowed."""

import pytest

from lib.errors import InputError
from lib.parameters import validate

TOY = [{"kind": "toy", "language": "toy-pl", "corpus": "web", "lines": 5}]


def test_text_or_a_sample():
    text = validate("data_prep", {"sources": TOY, "tokenizer": "train:wordpiece"})
    assert (text.sample_of, text.composition, text.share, text.sentences, text.language) == (
        "",
        "natural",
        1,
        False,
        "en",
    )
    derived = validate("data_prep", {"sample_of": "outputs/x", "share": "1e-3", "composition": "randomised"})
    assert derived.share == 0.001 and derived.sources == [] and derived.tokenizer == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "sources = []: there must be at least 1 item, or sample_of"),
        ({"sources": TOY}, "tokenizer = '': give one, or sample_of"),
        ({"sources": TOY, "sample_of": "a"}, "sources must be empty beside sample_of"),
        ({"sources": TOY, "tokenizer": "x", "share": 0.1}, "share = 0.1: needs sample_of"),
        ({"sources": TOY, "tokenizer": "x", "nested": False}, "nested = False: needs sample_of"),
        ({"sources": TOY, "tokenizer": "x", "composition": "bigram"}, "composition = 'bigram': needs sample_of"),
        ({"sample_of": "a", "share": 0}, "share = 0: input should be greater than 0"),
        ({"sample_of": "a", "share": 1.1}, "share = 1.1: input should be less than or equal to 1"),
        ({"sample_of": "a", "composition": "trigram"}, "should be 'natural', 'randomised', 'generated' or 'bigram'"),
        ({"sources": TOY, "tokenizer": "x", "language": "English"}, "language = 'English'"),
        ({"sources": [{"kind": "books"}], "tokenizer": "x"}, "sources.0.books.path is missing"),
        ({"sources": [{"kind": "wikiextractor", "path": "a", "lines": 3}], "tokenizer": "x"}, "unknown key"),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(InputError) as caught:
        validate("data_prep", values, lambda key: "params/study/scale.yaml: corpora.x")
    assert str(caught.value).startswith("params/study/scale.yaml: corpora.x: ") and "\n" not in str(caught.value)
    assert message in str(caught.value)
