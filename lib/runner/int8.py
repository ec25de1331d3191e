"""An ONNX file with int8 weights, measured beside its fp32 one before it is handed out:
`make export MODEL=outputs/tiny/herbert/S3/distillation INT8=yes`."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from lib.common.files import write_json
from lib.data.prepared import Corpus
from lib.data.tokenizer import load_tokenizer
from lib.plan.stages import validate
from lib.report import card
from lib.report.latency import of_turns, take_turns
from lib.report.statistics import interval
from lib.runner import embeddings, evidence
from lib.tasks import classifier as classifiers
from lib.tasks import finetune
from lib.tasks.examples import TaskSource
from lib.training import probes
from lib.training.architectures import longest_sequence
from lib.training.batches import IGNORE, Batch

PARTS = ("embeddings", "head")
"""What can stay fp32: the tables that tokens, positions and segments are looked up in, and the last
product, whose outputs are the logits."""
MAX_LOSS = 1.0
"""Points of a score, or of right guesses, that int8 may lose."""
LEAST_AGREEMENT = 90.0
"""Percent of the first guesses of masked words in which int8 has to agree with fp32. Of words that
a model finds about equally likely the first changes without loss: toy teachers whose int8 guessed
as many words right agreed in 95 %. A model that guesses little right has little to lose, and is
ruined all the same."""
TOKENS = 64
"""Of the sequence that latency is measured with, as in lib.report.latency."""


LEAST_COSINE = 0.9
"""What the embeddings of a text in fp32 and in int8 have to have at least."""


class TooLossy(Exception):
    """The int8 file lost more than was allowed. The message says how much, and what to try."""


# --------------------------------------------------------------------------------------- quantised


def quantise(source: Path, target: Path, keep: Sequence[str] = ()) -> None:
    """Write an fp32 ONNX file with its weights in int8; what they are multiplied with is quantised
    as it comes (dynamic quantisation). `keep`: those of PARTS that stay fp32.

    Every output of a product has a scale of its own: on the toy teachers one scale for a whole
    matrix changed half as many first guesses again. Embeddings have one; that changed none.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folded = target.with_name(f"{target.name}.folded")
    logger = logging.getLogger()  # where onnxruntime recommends what is done here
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # A head that shares the embeddings' weights transposes them: folded, it has its own, and
        # can be quantised
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        model = onnx.load(folded)
        products = [node.name for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
        # Shapes, which are inferred again: a Gemm's weights are about to be transposed
        del model.graph.value_info[:]
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul"] + ["Gather"] * ("embeddings" not in keep),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=products[-1:] if "head" in keep else [],
        )
    finally:
        logger.setLevel(level)
        folded.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------- measured


class OnnxModel(nn.Module):
    """An ONNX file, on one thread, in the place of the model that it was made from: it takes the
    same batches. `linear` is that of a classifier, whose evaluation asks for its width."""

    def __init__(self, path: Path, linear: nn.Module | None = None):
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(path, options, providers=providers)
        self.names = [one.name for one in self.session.get_inputs()]
        self.linear = linear

    def forward(self, batch: Batch) -> torch.Tensor:
        """The output, in the shape that the file gives it: logits or, of an encoder, states."""
        segments = torch.zeros_like(batch.inputs) if batch.segments is None else batch.segments
        values = {
            "input_ids": batch.inputs,
            "attention_mask": batch.kept.long(),
            "token_type_ids": segments,
        }
        inputs = {name: values[name].long().cpu().numpy() for name in self.names}
        return torch.from_numpy(self.session.run(None, inputs)[0])


def masked(folder: Path, corpus: Corpus) -> Iterator[Batch]:
    """Batches of the sequences of a corpus with masked words, for the model in `folder`."""
    # only the model and its text matter here
    values = {"teacher": str(folder), "corpus": str(corpus.folder), "learning_rate": 1}
    p = validate("teacher_continuation", values | {"batch_size": 32})
    return (batch for _, batch in probes.masked(p, corpus))


def compare_guesses(folder: Path, files: Sequence[Path], text: str) -> dict:
    """How the first guesses of masked words in unseen text agree, in percent, and how many are
    right, for the fp32 and the int8 file."""
    models = [OnnxModel(path) for path in files]
    labels, guesses = [], []
    with evidence.unseen_text(folder, text) as (name, corpus):
        for batch in masked(folder, corpus):
            chosen = batch.labels != IGNORE
            labels.append(batch.labels[chosen])
            guesses.append(torch.stack([model(batch)[chosen].argmax(-1) for model in models]))
    right = torch.cat(labels)
    fp32, int8 = torch.cat(guesses, dim=1)
    hits = {"fp32": fp32 == right, "int8": int8 == right}
    parts = {key: 100.0 * own.numpy() for key, own in hits.items()}
    row = score_row(f"right guesses of masked tokens in {name}", parts)
    return {"scores": [row], "agreement": 100 * float((fp32 == int8).double().mean())}


def compare_scores(folder: Path, files: Sequence[Path], task: str) -> dict:
    """The scores of a fine-tuned model's fp32 and int8 file on the validation data of its task; of
    all tasks that it was trained for unless `task` names one."""
    evaluate, parts = evaluation(folder, task), {}
    for key, path in zip(("fp32", "int8"), files):
        _, predictions = evaluate(path)
        for identity, own in predictions.groupby(["task", "language", "metric"], sort=False):
            parts.setdefault(", ".join(identity), {})[key] = own["score"].to_numpy(float)
    return {"scores": [score_row(name, own) for name, own in parts.items()]}


def compare_embeddings(folder: Path, files: Sequence[Path], text: str) -> dict:
    """What the embeddings of the fp32 and the int8 file score, see lib.runner.embeddings, and the
    least cosine of the two files' embeddings of one text. `folder` lies in that of its model."""
    pairs = embeddings.pairs_for(folder.parent, text)
    encoders = dict(zip(("fp32", "int8"), map(OnnxModel, files)))
    parts, cosine, _ = embeddings.compare(pairs, load_tokenizer(str(folder)), encoders)
    return {"scores": [score_row(pairs.score, parts)], "cosine": cosine}


def score_row(name: str, parts: dict[str, np.ndarray]) -> dict:
    """A score by what each example contributes to it, for the fp32 and the int8 file: the means,
    and the ends of their 95 % intervals and of that of the loss, over examples."""
    own = {"score": name, "examples": len(parts["fp32"])}
    for key, values in {**parts, "loss": parts["fp32"] - parts["int8"]}.items():
        mean, *ends = interval(values)
        own |= {key: mean, f"{key}_ends": ends}
    return own


def evaluation(folder: Path, task: str = "") -> Callable[[Path], tuple[list[dict], pd.DataFrame]]:
    """What scores an ONNX file of the fine-tuned model in `folder`: `finetune.evaluate` of the file
    on the validation data of the model's task, of all that it was trained for unless `task` names
    one."""
    p, names = evidence.finetuning(folder, task)
    classifier = classifiers.load(folder)
    tokenizer, segments = load_tokenizer(str(folder)), p.segments and classifier.tells_segments
    sets = finetune.validation_examples(p, names)
    validation = finetune.encode_sets(p, sets, tokenizer, segments)
    tasks = {name: TaskSource.of(p).task(name) for name in names}
    return lambda path: finetune.evaluate(
        OnnxModel(path, classifier.linear), validation, tasks, p.max_answer_length
    )


def compare_costs(files: Sequence[Path], vocabulary: int, length: int) -> dict:
    """MiB and latency of the fp32 and the int8 file: seconds of one thread for one sequence of
    random tokens, with the ends of the 95 % interval; None where the machine was busy. Two sessions
    of each file take turns, see lib.report.latency."""
    ids = torch.randint(0, vocabulary, (1, length))
    batch = Batch(ids, torch.ones_like(ids, dtype=torch.bool), ids)
    models = [OnnxModel(path) for path in files for _ in range(2)]
    seconds = take_turns([partial(model, batch) for model in models])
    costs = {}
    for place, (key, path) in enumerate(zip(("fp32", "int8"), files)):
        latency = of_turns(seconds[:, 2 * place : 2 * place + 2])
        measured = None if isnan(latency.seconds) else latency.seconds
        costs[key] = {
            "mib": path.stat().st_size / 2**20,
            "latency_s": measured,
            "latency_low_s": latency.low,
            "latency_high_s": latency.high,
        }
    return {"costs": costs, "tokens": length}


# -------------------------------------------------------------------------------------- handed out


def export(
    folder: Path,
    fp32: Path,
    *,
    task: str = "",
    text: str = "",
    keep: Sequence[str] = (),
    max_loss: float = MAX_LOSS,
) -> tuple[Path, dict]:
    """Write model_int8.onnx beside the ONNX file `fp32` of the model in `folder`, its figures to
    model_int8.json and into the model card. Returns its path and the figures.

    Raises TooLossy, and leaves no int8 file, if it lost more than `max_loss` points, agrees in less
    than LEAST_AGREEMENT, or gives a text an embedding further away than LEAST_COSINE.
    """
    path = fp32.with_name("model_int8.onnx")
    unfinished = path.with_name(f"{path.name}.writing")
    path.unlink(missing_ok=True)  # one that was measured under other terms
    path.with_suffix(".json").unlink(missing_ok=True)
    card.write_files(folder)
    try:
        quantise(fp32, unfinished, keep)
        files = fp32, unfinished
        if evidence.is_finetuned(folder):
            figures = compare_scores(folder, files, task)
        elif evidence.is_encoder(folder):
            figures = compare_embeddings(folder, files, text)
        else:
            figures = compare_guesses(folder, files, text)
        figures |= {"max_loss": max_loss, "fp32_parts": list(keep)}
        refuse(folder, figures)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        length = min(TOKENS, longest_sequence(config))
        figures |= compare_costs(files, config["vocab_size"], length)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    write_json(path.with_suffix(".json"), figures)
    card.write_files(folder)
    return path, figures


def refuse(folder: Path, figures: dict) -> None:
    """Raises TooLossy if the figures are worse than allowed, or no numbers."""
    max_loss = figures["max_loss"]
    losses = [row["fp32"] - row["int8"] for row in figures["scores"]]
    most = int(np.argmax(losses))  # the first that is no number, if there is one
    agreement, cosine = figures.get("agreement", 100.0), figures.get("cosine", 1.0)
    if losses[most] <= max_loss and agreement >= LEAST_AGREEMENT and cosine >= LEAST_COSINE:
        return
    worst = figures["scores"][most]
    lost = f"{worst['score']}: fp32 {worst['fp32']:.1f} %, int8 {worst['int8']:.1f} %"
    lost += f", a loss of {losses[most]:.1f} points (allowed: {max_loss:g})"
    if "agreement" in figures:
        lost += f"; first guesses agree in {agreement:.1f} % (needed: {LEAST_AGREEMENT:g})"
    if "cosine" in figures:
        lost += f"; embeddings of a text have a cosine of {cosine:.2f} (needed: {LEAST_COSINE:g})"
    able = PARTS[:1] if evidence.is_encoder(folder) else PARTS
    parts = [part for part in able if part not in figures["fp32_parts"]]
    less = f'fewer layers in int8 (KEEP="{" ".join(able)}"), ' if parts else ""
    raise TooLossy(
        f"MODEL={folder}: int8 was not written: {lost}; try {less}the fp32 file, or another model"
    )


def summary(figures: dict) -> str:
    """The figures in one line: fp32 → int8."""
    rows = [f"{row['score']} {row['fp32']:.1f} → {row['int8']:.1f} %" for row in figures["scores"]]
    if "agreement" in figures:
        rows.append(f"first guesses agree in {figures['agreement']:.1f} %")
    if "cosine" in figures:
        rows.append(f"embeddings of a text have a cosine of {figures['cosine']:.3f} or more")
    costs = [figures["costs"][key] for key in ("fp32", "int8")]
    rows.append(" → ".join(f"{cost['mib']:.2f}" for cost in costs) + " MiB")
    rows.append(" → ".join(card.latency_in_words(cost) for cost in costs) + " ms")
    return "; ".join(rows)
