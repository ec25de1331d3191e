"""What notebooks 2 and 3 do: start a teacher or a student, train it on a prepared corpus, look at
what it knows. Notebook 4, whose own part is in lib.training.hops, loads its teacher and looks at it
by the same functions."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib.common import files
from lib.common.hub import ModelRef
from lib.data.prepared import Corpus
from lib.data.tokenizer import load_tokenizer, require_same
from lib.training import checkpoints, models, ranks
from lib.training.batches import IGNORE, batches
from lib.training.loop import COST, expense, recipe, train
from lib.training.objectives import Distillation, hidden_states
from lib.training.parameters import CascadeTA, StudentsOwn, TeacherContinuation, Training
from lib.training.parameters import Distillation as DistillationParameters

# ----------------------------------------------------------------------------------------- teachers


def starting_teacher(p: TeacherContinuation, corpus: Corpus) -> models.BertForMaskedLM:
    """The teacher as it is before this stage: a checkpoint, or random weights in the shape the
    parameters give."""
    tokenizer = corpus.tokenizer()
    if p.teacher:
        teacher = ModelRef(p.teacher, p.teacher_revision).require()
        require_same(
            load_tokenizer(teacher),
            tokenizer,
            f"teacher {p.teacher}",
            f"corpus {p.corpus}",
        )
        return models.load(teacher)
    return models.new_encoder(
        vocab_size=len(tokenizer),
        layers=p.grow_from_layers or p.layers,
        hidden=p.hidden,
        heads=p.heads,
        intermediate=p.intermediate,
        max_length=max(int(corpus.lengths.max()), 512),
        pad_id=tokenizer.pad_token_id,
        initializer_range=p.initializer_range,
        dropout=p.dropout,
        attention_init=p.attention_init,
        seed=p.seed,
    )


def train_teacher(
    p: TeacherContinuation, teacher: models.BertForMaskedLM, corpus: Corpus, folder: Path
):
    """MLM training; returns the teacher and its history.

    With `grow_from_layers`, a shallow teacher is trained first and its layers are copied: a narrow
    deep encoder trained from nothing can stay on a plateau that its shallow half leaves within a
    few hundred steps.
    """
    history: list[dict] = []
    if p.grow_from_layers and not p.teacher:
        grown = checkpoints.newest(folder / "grown")
        if grown is None:
            first = recipe(p.model_copy(update={"learning_rate": p.grow_learning_rate}))
            history = train(
                Distillation(teacher),
                batches(p, corpus, steps=p.grow_steps, seed=p.seed + 1),
                first,
                name=f"{p.grow_from_layers} layers",
                folder=folder / "shallow",
            )
            if ranks.leads():
                checkpoints.save(
                    folder / "grown", 0, {"model": teacher.state_dict(), "history": history}
                )
        else:
            with checkpoints.fitting(folder / "grown"):
                teacher.load_state_dict(grown["model"])
                history = grown["history"]
        teacher = models.grow(teacher, p.layers, p.grow_by)
    name = f"{teacher.config.num_hidden_layers} layers"
    more = train(
        Distillation(teacher), batches(p, corpus), recipe(p), name=name, folder=folder / "whole"
    )
    return teacher, continued(history, more)


def continued(before: list[dict], after: list[dict]) -> list[dict]:
    """One history from two trainings in a row: steps, tokens and seconds run on."""
    if not before:
        return after
    last = before[-1]
    return before + [
        {**row, **{key: row[key] + last[key] for key in ("step", *COST)}} for row in after
    ]


# ----------------------------------------------------------------------------------------- students


def starting_student(
    p: DistillationParameters, teacher: models.BertForMaskedLM
) -> models.BertForMaskedLM:
    """The student before training: the teacher's layers `student_layers`, or so many random ones
    (000 section 3.2)."""
    layers = models.layer_choice(p.student_layers, teacher.config.num_hidden_layers)
    student = models.truncate(teacher, layers)
    if p.init == "truncated":
        return student
    return models.random_encoder(
        teacher.config, len(layers), p.seed
    )  # of the same shape: only the weights differ


def load_teacher(p: DistillationParameters | CascadeTA, corpus: Corpus) -> models.BertForMaskedLM:
    """The teacher, which must read the corpus's token ids as the tokenizer that made them meant
    them."""
    teacher = ModelRef(p.teacher, p.teacher_revision).require()
    require_same(
        load_tokenizer(teacher),
        corpus.tokenizer(),
        f"teacher {p.teacher}",
        f"corpus {p.corpus}",
    )
    return models.load(teacher)


def objective(p: StudentsOwn, student, teacher) -> Distillation:
    """What a student minimises: the losses that have a weight; the teacher is left out where none
    of them needs it."""
    needed = teacher if p.weight_soft or p.weight_cosine else None
    return Distillation(
        student,
        needed,
        mlm=p.weight_mlm,
        soft=p.weight_soft,
        cosine=p.weight_cosine,
        temperature=p.temperature,
        positions=p.positions,
    )


def distil(p: DistillationParameters, student, teacher, corpus: Corpus, folder: Path) -> list[dict]:
    """Train the student by the losses that have a weight; returns the history (empty where none
    has)."""
    if not p.trains:
        return []
    return train(
        objective(p, student, teacher),
        batches(p, corpus),
        recipe(p),
        name="distillation",
        folder=folder,
    )


def save(model: models.BertForMaskedLM, tokenizer, folder: Path) -> None:
    """A complete checkpoint that plain transformers loads: weights (safetensors), configuration,
    and the tokenizer, which says how many tokens the model takes."""
    with files.writing(folder):
        model.save_pretrained(folder)
        tokenizer = copy.deepcopy(tokenizer)  # the caller's stays as it is
        tokenizer.model_max_length = min(
            tokenizer.model_max_length, model.config.max_position_embeddings
        )
        for how_it_was_loaded in ("is_local", "local_files_only"):
            tokenizer.init_kwargs.pop(how_it_was_loaded, None)
        tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):
            shutil.copymode(
                folder / "config.json", weights
            )  # the library lets nobody but their owner read them


@torch.inference_mode()
def probe(
    model: models.BertForMaskedLM, p: Training, held_out: Corpus, limit: int = 512
) -> dict[str, float]:
    """What the model knows: MLM loss (nats) and accuracy (percent) on masked positions of held-out
    text.

    Words are masked as often as the stage masks them while training, and BERT's 15 % where it masks
    none.
    """
    model.eval()
    known = {"masked": 0, "right": 0, "loss": 0.0}
    size = min(64, len(held_out))
    other = {
        "batch_size": size,
        "micro_batch_size": size,
        "mask_probability": p.mask_probability or 0.15,
    }
    data = batches(
        p.model_copy(update=other),
        held_out,
        seed=12345,
        steps=max(1, min(limit, len(held_out)) // size),
    )
    for step in range(data.steps):
        for batch in data.at(step):
            batch = batch.to(model.device)
            masked = batch.labels != IGNORE
            logits = model.cls(hidden_states(model, batch)[masked])
            labels = batch.labels[masked]
            known["loss"] += float(
                torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            )
            known["right"] += int((logits.argmax(-1) == labels).sum())
            known["masked"] += len(labels)
    masked = max(1, known["masked"])
    return {
        "mlm_loss": known["loss"] / masked,
        "mlm_accuracy": 100 * known["right"] / masked,
        "positions": known["masked"],
    }


@torch.inference_mode()
def fill_mask(
    model: models.BertForMaskedLM,
    tokenizer,
    corpus: Corpus,
    examples: int = 5,
    top: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Held-out sequences with one token hidden: what stood there, and the model's `top` guesses
    with probabilities."""
    model.eval()
    rng = np.random.default_rng(seed)
    rows = []
    for index in rng.choice(len(corpus), size=min(examples, len(corpus)), replace=False):
        ids = torch.from_numpy(corpus.rows([index])[0][0].astype(np.int64))[None, :40]
        inside = [place for place in range(1, ids.shape[1] - 1)]
        if not inside:
            continue
        place = int(rng.choice(inside))
        truth = int(ids[0, place])
        ids[0, place] = tokenizer.mask_token_id
        chances, found = (
            model(input_ids=ids.to(model.device)).logits[0, place].softmax(-1).topk(top)
        )
        guesses = "  ".join(
            f"{_token(tokenizer, int(i))} {float(c):.2f}" for c, i in zip(chances, found)
        )
        rows.append(
            {
                "text": tokenizer.decode(ids[0, 1:-1]),
                "hidden": _token(tokenizer, truth),
                "guesses": guesses,
            }
        )
    return pd.DataFrame(rows)


def _token(tokenizer, index: int) -> str:
    return tokenizer.convert_ids_to_tokens(index).removesuffix("</w>")


def summary(model: models.BertForMaskedLM, history: list[dict]) -> dict:
    """What a training cost and what came out: the figures of efficiency.csv."""
    last = history[-1] if history else {"step": 0}
    count, spent = models.parameter_count(model), expense(last)
    return {
        "layers": model.config.num_hidden_layers,
        "parameters": count,
        "size_mib": models.size_mib(model),
        "steps": last["step"],
        "tokens_per_parameter": spent["tokens_seen"] / count,
        **spent,
    }
