"""Answers as spans of a context (SQuAD 1.1): windows over long contexts, gold answers as token
positions, and back to text.

A window is a row of tokens: the question, special tokens, and a part of the context. Each window of
a context begins `doc_stride` tokens after the previous one, as in BERT's code (Devlin et al. 2018,
section 4.2). (The libraries call the overlap of two windows a stride.)
"""

from dataclasses import dataclass

import numpy as np
import torch

from lib.tasks.encoding import Encoded, by_length
from lib.tasks.examples import Examples
from lib.training.losses import soft_target_loss

N_BEST = 20  # starts and ends of a window that are considered, as in BERT's code
NEVER = -1e4  # the logit of what is no candidate; with -inf the divergence would be 0 · inf


@dataclass(frozen=True, kw_only=True)
class Windows(Encoded):
    """The windows of a set of questions, a row each.

    The labels are the first and last token of the first gold answer, or 0, 0 if the window does not
    contain all of it. Arrays of [windows]: `question`; `begin` and `end`, where the context's
    tokens stand in the row, end excluded; `token`, the number of the first of them in the context.
    `offsets[question]` is [context tokens, 2]: the first character of each token, and the first
    after it.
    """

    question: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    token: np.ndarray
    offsets: list[np.ndarray]
    contexts: list[str]
    golds: list[tuple[str, ...]]

    def text(self, window: int, first: int, last: int) -> str:
        """The original text of the context from position `first` to `last` of a window."""
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
    """Cut pairs of question and context with `Answers` into windows of at most `max_length` tokens.

    Questions keep their first `max_question_length` tokens; `segments` as in
    `lib.tasks.encoding.encode`. A context is tokenised once for all its questions.
    """
    questions, contexts = (list(column) for column in zip(*examples.texts))
    plain = {"add_special_tokens": False, "verbose": False}
    question_ids = tokenizer(questions, **plain)["input_ids"]
    distinct = list(dict.fromkeys(contexts))
    output = tokenizer(distinct, return_offsets_mapping=True, **plain)
    tokens = {
        context: (np.asarray(ids, np.int32), np.asarray(offsets, np.int64).reshape(-1, 2))
        for context, ids, offsets in zip(distinct, output["input_ids"], output["offset_mapping"])
    }
    before, between, after, has_types = special_tokens(tokenizer)
    tail = np.array(after, np.int32)
    rows, labels, positions = [], [], []
    for number, (ids, context, gold) in enumerate(zip(question_ids, contexts, examples.labels)):
        head = np.array([*before, *ids[:max_question_length], *between], np.int32)
        body, offsets = tokens[context]
        first, last = token_span(offsets, gold.starts[0], gold.starts[0] + len(gold.texts[0]))
        room = max_length - len(head) - len(tail)
        for start in window_starts(len(body), room, doc_stride):
            part = body[start : start + room]
            contains_answer = start <= first <= last < start + len(part)
            shift = len(head) - start
            rows.append(np.concatenate([head, part, tail]))
            labels.append((first + shift, last + shift) if contains_answer else (0, 0))
            positions.append((number, len(head), len(head) + len(part), start))
    question, begin, end, token = np.array(positions).T
    return Windows(
        rows=rows,
        labels=np.array(labels, np.int64),
        pad_id=tokenizer.pad_token_id,
        second=begin if segments and has_types else None,
        question=question,
        begin=begin,
        end=end,
        token=token,
        offsets=[tokens[context][1] for context in contexts],
        contexts=contexts,
        golds=[gold.texts for gold in examples.labels],
    )


def special_tokens(tokenizer) -> tuple[list[int], list[int], list[int], bool]:
    """The special tokens that a tokenizer puts before, between and after two texts, and whether it
    has token types."""
    pair = tokenizer("a", "a")
    sides, ids = pair.sequence_ids(0), pair["input_ids"]
    first = [position for position, side in enumerate(sides) if side == 0]
    second = [position for position, side in enumerate(sides) if side == 1]
    has_types = "token_type_ids" in pair and pair["token_type_ids"][second[0]] == 1
    return ids[: first[0]], ids[first[-1] + 1 : second[0]], ids[second[-1] + 1 :], has_types


def window_starts(tokens: int, room: int, doc_stride: int) -> range:
    """The first token of each window of a context: windows of `room` tokens, `doc_stride` apart,
    until all tokens are covered."""
    step = min(doc_stride, room)  # a wider step would leave tokens out
    beyond = max(0, tokens - room)
    return range(0, beyond + step, step) if beyond else range(1)


def token_span(offsets: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """The first and last token that touch the characters `start` … `end` − 1; first > last if none
    does."""
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], end, side="left")) - 1
    return first, last


def span_loss(logits: torch.Tensor, batch) -> torch.Tensor:
    """Mean of the cross-entropies of the right start and the right end, summed over the windows of
    a micro-batch. `logits` is [windows, length, 2]; padding is not a candidate."""
    candidates = logits.masked_fill(~batch.kept[..., None], float("-inf"))
    both = candidates.transpose(1, 2).flatten(0, 1)
    return torch.nn.functional.cross_entropy(both, batch.labels.flatten(), reduction="sum") / 2


def soft_span_loss(
    student: torch.Tensor, teacher: torch.Tensor, batch, temperature: float
) -> torch.Tensor:
    """Mean of T² · KL(teacher ‖ student) of the start's and of the end's distribution over the
    tokens of a window, summed over windows. Logits are [windows, length, 2]; padding is not a
    candidate."""
    rows = [
        logits.masked_fill(~batch.kept[..., None], NEVER).transpose(1, 2).flatten(0, 1)
        for logits in (student, teacher)
    ]
    return soft_target_loss(*rows, temperature) / 2


def best_spans(
    logits: torch.Tensor, begin: torch.Tensor, end: torch.Tensor, max_answer_length: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best span of each window: score, first and last position, each [windows]. The score is
    −inf if there is none.

    The score is the sum of the two logits. A span lies within the context, does not end before it
    starts, and has at most `max_answer_length` tokens; its start is among the `N_BEST` best of the
    window, and so is its end.
    """
    positions = torch.arange(logits.shape[1], device=logits.device)
    inside = (positions >= begin[:, None]) & (positions < end[:, None])
    candidates = logits.masked_fill(~inside[..., None], float("-inf"))
    values, best = candidates.topk(min(N_BEST, logits.shape[1]), dim=1)
    first, last = best[:, :, None, 0], best[:, None, :, 1]
    scores = values[:, :, None, 0] + values[:, None, :, 1]
    scores = scores.masked_fill((last < first) | (last - first >= max_answer_length), float("-inf"))
    score, index = scores.flatten(1).max(1)
    rows = torch.arange(len(index), device=logits.device)
    width = scores.shape[2]
    return score, best[rows, index // width, 0], best[rows, index % width, 1]


@torch.inference_mode()
def answers(
    model: torch.nn.Module,
    data: Windows,
    device: torch.device,
    max_answer_length: int,
    size: int = 64,
) -> list[str]:
    """The answer to every question: the best span over all its windows, "" if there is none.

    `model(batch)` gives logits, [windows, length, 2]. Leaves the model in training mode.
    """
    texts, scores = [""] * len(data.contexts), np.full(len(data.contexts), -np.inf)
    model.eval()
    for indices in by_length(data.rows, size):
        logits = model(data.batch(indices).to(device)).float()
        begin, end = (torch.from_numpy(x[indices]).to(device) for x in (data.begin, data.end))
        best = (x.cpu().numpy() for x in best_spans(logits, begin, end, max_answer_length))
        for window, score, first, last in zip(indices, *best):
            question = data.question[window]
            if score > scores[question]:
                texts[question], scores[question] = data.text(window, first, last), score
    model.train()
    return texts
