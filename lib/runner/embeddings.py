"""A model as an encoder of sentences, in a folder that sentence-transformers loads:
`make export MODEL=outputs/tiny/herbert/S3/distillation EMBEDDINGS=yes`. An embedding is the mean of
the last hidden states over a text's tokens, special ones included (Reimers & Gurevych 2019)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib.common.errors import InputError
from lib.common.files import write_json
from lib.data.tokenizer import load_tokenizer
from lib.runner import evidence
from lib.tasks import finetune
from lib.tasks.examples import TaskSource
from lib.tasks.metrics import example_scores
from lib.training import models, pretraining
from lib.training.architectures import longest_sequence
from lib.training.batches import Batch

FOLDER = "embeddings"
"""Beside the files of the model."""
PASSAGES, FEWEST = 500, 20
"""Of unseen text: at most so many are searched, and fewer say nothing."""
SHORTEST = 8
"""Tokens of a passage that can be halved."""
MODULES = [("", "Transformer"), ("1_Pooling", "Pooling")]
POOLINGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def write(folder: Path, target: Path) -> None:
    """Write the encoder of the model in `folder` as sentence-transformers expects it."""
    trunk, tokenizer = models.load_trunk(folder), load_tokenizer(str(folder))
    pretraining.save(trunk, tokenizer, target)
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(MODULES)
    ]
    write_json(target / evidence.MODULES, modules)
    longest = min(tokenizer.model_max_length, longest_sequence(trunk.config.to_dict()))
    about = {"max_seq_length": longest, "do_lower_case": False}
    write_json(target / "sentence_bert_config.json", about)
    pooling = {f"pooling_mode_{name}": name == "mean_tokens" for name in POOLINGS}
    (target / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": trunk.config.hidden_size} | pooling
    write_json(target / "1_Pooling" / "config.json", pooling)


# ---------------------------------------------------------------------------------------- measured


class Pairs(NamedTuple):
    """Texts to embed, and what is measured by them: how like the two texts of a pair are, where
    people (`labels`) say that; else whether the first finds the second among all seconds."""

    score: str
    first: list[str]
    second: list[str]
    labels: np.ndarray | None = None


def pairs_for(folder: Path, text: str = "") -> Pairs:
    """What the embeddings of the model in `folder` are measured on: a task with numbers for pairs
    of texts, such as STS-B, if the model was fine-tuned on one; else, or where there is `text`, the
    halves of passages that it has not learned from. Raises InputError."""
    p = evidence.finetuned_with(folder)
    for name in p.tasks if p and not text else ():
        task = TaskSource.of(p).task(name)
        if task.kind == "regression" and len(task.text) == 2:
            examples, *_ = finetune.validation_examples(p, [name])[name].values()
            first, second = map(list, zip(*examples.texts))
            score = f"Spearman correlation with the labels of {name}"
            return Pairs(score, first, second, np.asarray(examples.labels, dtype=float))
    evidence.require_text(folder, text)
    with evidence.unseen_text(folder, text) as (name, corpus):
        tokenizer, halves = load_tokenizer(str(folder)), []
        for ids, starts in zip(*corpus.rows(range(len(corpus)))):
            words = np.flatnonzero(starts)
            middle = words[words >= len(ids) / 2][:1]
            if len(ids) >= SHORTEST and len(middle) and len(halves) < PASSAGES:
                parts = ids[: middle[0]], ids[middle[0] :]
                halves.append([tokenizer.decode(part, skip_special_tokens=True) for part in parts])
    if len(halves) < FEWEST:
        raise InputError(
            f"MODEL={folder}: {name} has {len(halves)} passages of {SHORTEST} tokens and more; "
            f"embeddings are measured on {FEWEST} at least, as in TEXT=/path/to/text"
        )
    first, second = map(list, zip(*halves))
    score = f"second halves found by their first halves, among {len(halves)} passages of {name}"
    return Pairs(score, first, second)


Encoder = Callable[[Batch], torch.Tensor]
"""From a batch to the last hidden states, [sequences, length, hidden]."""


@torch.inference_mode()
def embed(encoder: Encoder, tokenizer, texts: list[str], size: int = 64) -> np.ndarray:
    """The embeddings of texts, [texts, hidden] in fp32."""
    parts = []
    for start in range(0, len(texts), size):
        inputs = tokenizer(
            texts[start : start + size], padding=True, truncation=True, return_tensors="pt"
        )
        ids, kept = inputs["input_ids"], inputs["attention_mask"].bool()
        hidden = encoder(Batch(ids, kept, ids, inputs.get("token_type_ids")))
        weight = kept[..., None].to(hidden.dtype)
        parts.append(((hidden * weight).sum(1) / weight.sum(1)).numpy())
    return np.concatenate(parts)


def contributions(pairs: Pairs, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What each pair contributes to the score, in percent, [pairs]: the mean is the score. `first`
    and `second`: the embeddings, [pairs, hidden]."""
    first, second = map(_unit, (first, second))
    if pairs.labels is not None:
        return example_scores("spearman", (first * second).sum(1), pairs.labels)
    return 100.0 * ((first @ second.T).argmax(1) == np.arange(len(first)))


def compare(
    pairs: Pairs, tokenizer, encoders: Mapping[str, Encoder]
) -> tuple[dict[str, np.ndarray], float, float]:
    """What each pair contributes to the score of each encoder; and how far embeddings of the second
    encoder are from those of the first: the least cosine of two for one text, and the largest
    difference in one dimension. One encoder is as near as can be."""
    embeddings = {
        name: [embed(encoder, tokenizer, texts) for texts in (pairs.first, pairs.second)]
        for name, encoder in encoders.items()
    }
    both = [np.concatenate(own) for own in embeddings.values()]
    cosines = (_unit(both[0]) * _unit(both[-1])).sum(1)
    parts = {name: contributions(pairs, *own) for name, own in embeddings.items()}
    return parts, float(cosines.min()), float(np.abs(both[0] - both[-1]).max())


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1, in fp64, so that ties are true ones."""
    vectors = vectors.astype(float)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
