"""Answers as spans of a context (SQuAD 1.1): windows over long contexts, gold answers as token
positions, and back.

A window is one row of tokens: question, special tokens, and a stretch of the context. Each window
of a context begins `doc_stride` tokens after the one before it, as in the code of BERT (Devlin et
al. 2018, section 4.2), so neighbours overlap in all tokens of a window but those; the libraries
call the overlap itself a stride.
"""

from dataclasses import dataclass

import numpy as np
import torch

from lib.tasks.encoding import Encoded, by_length
from lib.tasks.metrics import squad
from lib.tasks.registry import Examples

N_BEST = 20  # starts and ends of a window that are considered, as in BERT's code


@dataclass(frozen=True)
class Windows:
    """The windows of a set of questions.

    `encoded` holds a row per window, its labels the first and last token of the first gold answer,
    both 0 where the window does not hold all of it. [windows] arrays: `question`; `begin` and
    `end`, the positions of the context's tokens in the row, end excluded; `token`, which token of
    the context the first of them is. `offsets[question]` is [context tokens, 2]: the characters of
    each, end excluded.
    """

    encoded: Encoded
    question: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    token: np.ndarray
    offsets: list[np.ndarray]
    contexts: list[str]
    golds: list[tuple[str, ...]]

    def text(self, window: int, first: int, last: int) -> str:
        """What stands in the context from position `first` to `last` of a window, cut from the
        original by characters."""
        question = self.question[window]
        shift = self.token[window] - self.begin[window]
        offsets = self.offsets[question]
        return self.contexts[question][offsets[first + shift, 0] : offsets[last + shift, 1]]


def windows(
    examples: Examples,
    tokenizer,
    *,
    max_length: int,
    doc_stride: int,
    max_question_length: int,
    segments: bool = False,
) -> Windows:
    """Cut (question, context) pairs with `Answers` into windows of at most `max_length` tokens.

    Questions keep their first `max_question_length` tokens. `segments` as in
    `lib.tasks.encoding.encode`. A context is tokenised once for all its questions.
    """
    questions, contexts = (list(column) for column in zip(*examples.texts))
    asked = tokenizer(questions, add_special_tokens=False, verbose=False)["input_ids"]
    different = list(dict.fromkeys(contexts))
    found = tokenizer(
        different, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    tokens = {
        context: (np.asarray(ids, np.int32), np.asarray(offsets, np.int64).reshape(-1, 2))
        for context, ids, offsets in zip(different, found["input_ids"], found["offset_mapping"])
    }
    before, between, after, typed = frame(tokenizer)
    rows, labels, places = [], [], []
    for number, (ids, context, gold) in enumerate(zip(asked, contexts, examples.labels)):
        head = np.array([*before, *ids[:max_question_length], *between], np.int32)
        body, offsets = tokens[context]
        first, last = token_span(offsets, gold.starts[0], gold.starts[0] + len(gold.texts[0]))
        room = max_length - len(head) - len(after)
        for start in starts(len(body), room, doc_stride):
            piece = body[start : start + room]
            inside = start <= first <= last < start + len(piece)
            shift = len(head) - start
            rows.append(np.concatenate([head, piece, np.array(after, np.int32)]))
            labels.append((first + shift, last + shift) if inside else (0, 0))
            places.append((number, len(head), len(head) + len(piece), start))
    question, begin, end, token = np.array(places).T
    second = begin if segments and typed else None
    encoded = Encoded(rows, np.array(labels, np.int64), tokenizer.pad_token_id, second)
    offsets = [tokens[context][1] for context in contexts]
    return Windows(
        encoded,
        question,
        begin,
        end,
        token,
        offsets,
        contexts,
        [gold.texts for gold in examples.labels],
    )


def frame(tokenizer) -> tuple[list[int], list[int], list[int], bool]:
    """The special tokens a tokenizer puts before, between and after two texts, and whether it tells
    the texts apart."""
    pair = tokenizer("a", "a")
    sides, ids = pair.sequence_ids(0), pair["input_ids"]
    first = [place for place, side in enumerate(sides) if side == 0]
    second = [place for place, side in enumerate(sides) if side == 1]
    typed = "token_type_ids" in pair and pair["token_type_ids"][second[0]] == 1
    return ids[: first[0]], ids[first[-1] + 1 : second[0]], ids[second[-1] + 1 :], typed


def starts(tokens: int, room: int, doc_stride: int) -> range:
    """Where the windows of a context begin: `room` tokens each, the next `doc_stride` further on,
    until all are in one."""
    step = min(doc_stride, room)  # a wider step would leave tokens out
    beyond = max(0, tokens - room)
    return range(0, beyond + step, step) if beyond else range(1)


def token_span(offsets: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """First and last token that touch the characters `start` … `end` − 1; first > last where none
    does."""
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
    return first, last


def span_loss(logits: torch.Tensor, batch) -> torch.Tensor:
    """Mean of the cross-entropies of the right start and the right end, summed over the windows of
    a micro-batch.

    `logits` is [windows, length, 2]; padding is no candidate.
    """
    open_to = logits.masked_fill(~batch.kept[..., None], float("-inf"))
    both = open_to.transpose(1, 2).flatten(0, 1)
    return torch.nn.functional.cross_entropy(both, batch.labels.flatten(), reduction="sum") / 2


def best_spans(
    logits: torch.Tensor, begin: torch.Tensor, end: torch.Tensor, max_answer_length: int
):
    """The best span of each window: score, first and last position, [windows] each; score −inf
    where there is none.

    The score is the sum of the two logits. A span lies within the context, does not end before it
    starts, and has at most `max_answer_length` tokens; its start is among the `N_BEST` best of the
    window, and so is its end.
    """
    places = torch.arange(logits.shape[1], device=logits.device)
    inside = (places >= begin[:, None]) & (places < end[:, None])
    values, where = logits.masked_fill(~inside[..., None], float("-inf")).topk(
        min(N_BEST, logits.shape[1]), dim=1
    )
    first, last = where[:, :, None, 0], where[:, None, :, 1]
    scores = values[:, :, None, 0] + values[:, None, :, 1]
    scores = scores.masked_fill((last < first) | (last - first >= max_answer_length), float("-inf"))
    best, index = scores.flatten(1).max(1)
    rows = torch.arange(len(index), device=logits.device)
    width = scores.shape[2]
    return best, where[rows, index // width, 0], where[rows, index % width, 1]


@torch.inference_mode()
def answers(
    model: torch.nn.Module,
    data: Windows,
    device: torch.device,
    max_answer_length: int,
    size: int = 64,
) -> list[str]:
    """The answer to every question: the best span over all its windows; empty where no window has
    one.

    `model(batch)` gives logits, [windows, length, 2].
    """
    best = np.full(len(data.contexts), -np.inf)
    found = [""] * len(best)
    model.eval()
    for indices in by_length(data.encoded.rows, size):
        logits = model(data.encoded.batch(indices).to(device)).float()
        bounds = (torch.from_numpy(edge[indices]).to(device) for edge in (data.begin, data.end))
        scores, first, last = (
            part.cpu().numpy() for part in best_spans(logits, *bounds, max_answer_length)
        )
        for place, window in enumerate(indices):
            question = data.question[window]
            if scores[place] > best[question]:
                best[question], found[question] = (
                    scores[place],
                    data.text(window, first[place], last[place]),
                )
    model.train()
    return found


def score(predicted: list[str], data: Windows) -> dict[str, float]:
    """Exact match and F1 in percent; questions are told apart by their place, so ids need not be
    there or differ."""
    return squad(dict(enumerate(predicted)), dict(enumerate(data.golds)))
