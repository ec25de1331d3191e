"""Windows over contexts: answers to positions and back, on made-up and on real questions; the best
span by brute force."""

import numpy as np
import pytest
import torch

from lib.common.places import ROOT
from lib.data.tokenizer import train_tokenizer
from lib.tasks import examples as task_examples
from lib.tasks import spans
from lib.tasks.examples import Answers, Examples, TaskSource
from lib.tasks.metrics import squad
from lib.training.batches import Batch

DATA = ROOT.parent / "shared" / "data"
CONTEXT = (
    "Zażółć gęślą jaźń, rzekł (cicho) król Zygmunt III Waza w 1596 r.! It cost $3.50, not "
    "€4; 北京是中国的首都。"
)
LINES = [CONTEXT, "Kto to rzekł? What did it cost? the cat"] * 4


@pytest.fixture(scope="module", params=["wordpiece", "herbert_bpe"])
def tokenizer(request):
    return train_tokenizer(LINES, request.param, 300)


def question_about(answer, question="Kto to rzekł?", context=CONTEXT):
    return Examples([(question, context)], [Answers((answer,), (context.index(answer),))])


def cut(examples, tokenizer, max_length=24, doc_stride=6, max_question_length=5):
    return spans.windows(
        examples,
        tokenizer,
        max_length=max_length,
        doc_stride=doc_stride,
        max_question_length=max_question_length,
        segments=True,
    )


@pytest.mark.parametrize(
    "answer",
    ["Zygmunt III", "1596 r.! It cost", "cicho", "$3.50", "Zażółć", "1596 r.", "北京", "。"],
)
def test_answers_come_back_letter_by_letter(tokenizer, answer):
    data = cut(question_about(answer), tokenizer)
    held = [(w, *label) for w, label in enumerate(data.labels) if label[1]]
    assert held and all(data.text(*place) == answer for place in held)
    start = CONTEXT.index(answer)
    whole = [
        window
        for window, (begin, end, token) in enumerate(zip(data.begin, data.end, data.token))
        if data.offsets[0][token][0] <= start
        and start + len(answer) <= data.offsets[0][token + end - begin - 1][1]
    ]
    assert [
        window for window, _, _ in held
    ] == whole  # no window that holds a part of it only, and none is missed


def test_windows_are_those_of_the_tokenizer_itself(tokenizer):
    """The library windows too; its stride is the overlap. Same ids, same characters."""
    question = tokenizer("Kto to rzekł?", add_special_tokens=False)["input_ids"]
    max_length, doc_stride = 40, 9
    data = cut(question_about("cicho"), tokenizer, max_length, doc_stride, 64)
    room = max_length - len(question) - 3
    expected = tokenizer(
        "Kto to rzekł?",
        CONTEXT,
        truncation="only_second",
        max_length=max_length,
        stride=room - doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert [row.tolist() for row in data.rows] == expected["input_ids"]
    for window, offsets in enumerate(expected["offset_mapping"]):
        first, last = data.begin[window], data.end[window] - 1
        assert data.text(window, first, last) == CONTEXT[offsets[first][0] : offsets[last][1]]
    if "token_type_ids" in expected:
        batch = data.batch(np.arange(len(data.rows)))
        assert [
            batch.segments[i, : len(kinds)].tolist()
            for i, kinds in enumerate(expected["token_type_ids"])
        ] == expected["token_type_ids"]
    else:
        assert data.second is None


def test_a_short_context_is_one_window_and_a_long_question_is_cut(tokenizer):
    data = cut(question_about("cat", question="Kto " * 30, context="the cat"), tokenizer, 64, 8, 5)
    assert len(data.rows) == 1 and data.begin[0] == 1 + 5 + 1  # [CLS], five tokens, [SEP]
    assert data.text(0, *data.labels[0]) == "cat"


def test_windows_without_the_answer_point_to_the_first_token(tokenizer):
    data = cut(question_about("Zażółć"), tokenizer)
    assert len(data.labels) > 2 and data.labels[-1].tolist() == [0, 0]


@pytest.mark.parametrize(
    "tokens, room, stride", [(0, 5, 2), (5, 5, 2), (6, 5, 2), (9, 4, 2), (10, 4, 2), (23, 7, 9)]
)
def test_windows_cover_a_context_and_stop_there(tokens, room, stride):
    """As the loop of BERT's own code: go on by the stride until a window reaches the end."""
    expected, at = [0], 0
    while at + room < tokens:
        at += min(stride, room)
        expected.append(at)
    assert list(spans.window_starts(tokens, room, stride)) == expected


def test_an_answer_within_a_token_takes_the_whole_token():
    offsets = np.array([(0, 3), (4, 9), (9, 12)])
    assert spans.token_span(offsets, 5, 9) == (1, 1) and spans.token_span(offsets, 4, 10) == (1, 2)
    first, last = spans.token_span(offsets, 3, 4)  # a space
    assert first > last


@pytest.mark.skipif(not (DATA / "squad").is_dir(), reason="real questions are not here")
@pytest.mark.parametrize("kind", ["wordpiece", "herbert_bpe"])
def test_real_questions(kind):
    """Every answer is in a window; mapped back it is the gold text, or the fewest whole tokens that
    contain it; every character that a token covers is in a window."""
    examples = task_examples.load("squad", "validation", TaskSource("files", folder=str(DATA)))
    contexts = list(dict.fromkeys(context for _, context in examples.texts))
    tokenizer = train_tokenizer(contexts[:400], kind, 4000)
    data = cut(examples, tokenizer, 160, 64, 30)
    held, exact = np.zeros(len(examples.texts), bool), 0
    covered = [np.zeros(len(offsets), bool) for offsets in data.offsets]
    for window, (first, last) in enumerate(data.labels):
        question = data.question[window]
        token = data.token[window]
        covered[question][token : token + data.end[window] - data.begin[window]] = True
        if not last:
            continue
        held[question] = True
        gold, start = examples.labels[question].texts[0], examples.labels[question].starts[0]
        shift = token - data.begin[window]
        span = data.offsets[question][first + shift : last + shift + 1]
        text = data.text(window, first, last)
        borders = {*span[0], *span[-1]} >= {start, start + len(gold)}
        assert text == gold if borders else gold in text, (gold, text)
        assert span[0][1] > start and span[-1][0] < start + len(gold)  # no token could go
        exact += text == gold
    assert held.all() and all(part.all() for part in covered)
    assert exact > 0.99 * np.count_nonzero(data.labels[:, 1])


def brute_force(logits, begin, end, longest):
    best = (-np.inf, None, None)
    for first in range(begin, end):
        for last in range(first, min(end, first + longest)):
            best = max(
                best, (logits[first, 0] + logits[last, 1], first, last), key=lambda found: found[0]
            )
    return best


def test_the_best_span_is_the_best_of_all():
    """20 starts and 20 ends are all there are in so short a context."""
    logits = torch.randn(30, 24, 2, generator=torch.Generator().manual_seed(0))
    begin, end = torch.full((30,), 4), torch.full((30,), 22)
    best = spans.best_spans(logits, begin, end, 3)
    for row, (score, first, last) in enumerate(zip(*(part.tolist() for part in best))):
        expected = brute_force(logits[row].numpy(), 4, 22, 3)
        assert (first, last) == expected[1:] and score == pytest.approx(float(expected[0]))


def test_an_empty_context_has_no_span():
    scores, _, _ = spans.best_spans(torch.randn(1, 8, 2), torch.tensor([4]), torch.tensor([4]), 30)
    assert scores.item() == float("-inf")


class Pointer(torch.nn.Module):
    """Logits that point to one token id, more strongly on the right than on the left."""

    def __init__(self, token):
        super().__init__()
        self.token = token

    def forward(self, batch):
        there = (batch.inputs == self.token).float() * (
            1 + torch.arange(batch.inputs.shape[1]) / 100
        )
        return torch.stack([there, there], -1)


def test_the_answer_is_taken_from_the_best_window_of_its_question(tokenizer):
    examples = Examples(
        [("the cat", "the cat"), *question_about("Zygmunt").texts], [Answers(("cat",), (4,))] * 2
    )
    examples.labels[1] = question_about("III").labels[0]
    data = cut(examples, tokenizer)
    token = tokenizer("III", add_special_tokens=False)["input_ids"][0]
    answers = spans.answers(Pointer(token), data, torch.device("cpu"), 30, size=3)
    assert answers[1] and CONTEXT.index(answers[1]) == CONTEXT.index("III")
    assert answers[0] and answers[0] in "the cat"
    assert squad(["a cat", "III"], data.golds) == {"exact_match": 100, "f1": 100}


def test_span_loss_is_the_mean_of_two_cross_entropies():
    logits, labels = torch.randn(3, 8, 2), torch.tensor([[1, 2], [0, 0], [3, 3]])
    kept = torch.arange(8) < torch.tensor([8, 5, 4])[:, None]
    expected = 0.0
    for row, length in enumerate([8, 5, 4]):
        for side in (0, 1):
            z = logits[row, :length, side].double().numpy()
            expected += (np.log(np.exp(z).sum()) - z[labels[row, side]]) / 2
    loss = spans.span_loss(logits, Batch(torch.zeros(3, 8), kept, labels))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
