"""What notebooks 2 and 3 do: start a teacher or a student, train a teacher, show a model's guesses.
Notebook 4 (lib.training.hops) loads its teacher by the same functions."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from lib.common import files
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.data.prepared import Corpus
from lib.data.tokenizer import load_tokenizer, require_same, spell_tokens
from lib.data.vocabulary import cut_vocabulary, tokens_to_keep
from lib.fast.quicken import quicken
from lib.training import checkpoints, models, ranks
from lib.training.architectures import longest_sequence
from lib.training.batches import batches
from lib.training.loop import COST, expense, recipe, train
from lib.training.losses import logits_of
from lib.training.objectives import Distillation
from lib.training.parameters import (
    CascadeTA,
    DistillationParameters,
    StudentParameters,
    TeacherContinuation,
)

# ----------------------------------------------------------------------------------------- teachers


def starting_teacher(p: TeacherContinuation, corpus: Corpus) -> PreTrainedModel:
    """The teacher before this stage: a checkpoint, or random weights in the shape that the
    parameters give."""
    if p.teacher:
        return load_teacher(p, corpus)
    tokenizer = corpus.tokenizer()
    return models.new_encoder(
        vocab_size=len(tokenizer),
        layers=p.grow_from_layers or p.layers,
        hidden=p.hidden,
        heads=p.heads,
        intermediate=p.intermediate,
        max_length=512,
        pad_id=tokenizer.pad_token_id,
        initializer_range=p.initializer_range,
        dropout=p.dropout,
        attention_init=p.attention_init,
        seed=p.seed,
    )


def load_teacher(
    p: TeacherContinuation | DistillationParameters | CascadeTA, corpus: Corpus
) -> PreTrainedModel:
    """The teacher; its tokenizer must be that of the corpus, whose token ids it reads. It needs an
    MLM head only where a loss compares logits, or MLM trains one."""
    teacher = ModelRef(p.teacher, p.teacher_revision).require()
    names = f"teacher {p.teacher}", f"corpus {p.corpus}"
    require_same(load_tokenizer(teacher), corpus.tokenizer(), *names)
    return models.load(teacher, head=getattr(p, "uses_head", True))


def train_teacher(
    p: TeacherContinuation, teacher: PreTrainedModel, corpus: Corpus, folder: Path
) -> tuple[PreTrainedModel, list[dict]]:
    """MLM training; returns the teacher and its history.

    With `grow_from_layers`, a shallow teacher is trained first and its layers are copied: a narrow
    deep encoder trained from nothing can stay on a plateau that a shallower one leaves within a few
    hundred steps.
    """
    history: list[dict] = []
    if p.grow_from_layers and not p.teacher:
        history = _train_shallow(p, teacher, corpus, folder)
        teacher = models.grow(teacher, p.layers, p.grow_by)
    objective, data = quicken(mlm_objective(teacher)), batches(p, corpus)
    name = f"{teacher.config.num_hidden_layers} layers"
    more = train(objective, data, recipe(p), name=name, folder=folder / "whole")
    return teacher, joined(history, more)


def mlm_objective(model: PreTrainedModel) -> Distillation:
    """MLM alone: a student without a teacher."""
    return Distillation(model, mlm=1.0)


def _train_shallow(p: TeacherContinuation, teacher, corpus: Corpus, folder: Path) -> list[dict]:
    """Train the shallow teacher in place, or load it if an interrupted run has trained it; returns
    the history. `folder`/grown keeps it when it is done, `folder`/shallow while it trains."""
    finished = checkpoints.newest(folder / "grown")
    if finished is not None:
        with checkpoints.fitting(folder / "grown"):
            teacher.load_state_dict(finished["model"])
            return finished["history"]
    objective = quicken(mlm_objective(teacher))
    data = batches(p, corpus, steps=p.grow_steps, seed=p.seed + 1)
    own_recipe = recipe(p.model_copy(update={"learning_rate": p.grow_learning_rate}))
    name = f"{p.grow_from_layers} layers"
    history = train(objective, data, own_recipe, name=name, folder=folder / "shallow")
    if ranks.leads():
        state = {"model": teacher.state_dict(), "history": history}
        checkpoints.save(folder / "grown", 0, state)
    return history


def joined(before: list[dict], after: list[dict]) -> list[dict]:
    """One history from two trainings in a row: steps, tokens and seconds run on."""
    if not before:
        return after
    last, cumulative = before[-1], ("step", *COST)
    return before + [row | {key: row[key] + last[key] for key in cumulative} for row in after]


# ----------------------------------------------------------------------------------------- students


def starting_student(p: DistillationParameters, teacher: PreTrainedModel) -> PreTrainedModel:
    """The student before training: the teacher's layers `student_layers`, or their leading
    dimensions, or as many random ones (000 section 3.2). Raises InputError if the teacher cannot
    have such a student: for example if `mlm_head` is False, and its hidden states and its
    embeddings differ in width."""
    p.require_fit(teacher.config.to_dict(), p.teacher)
    hidden, words = teacher.config.hidden_size, teacher.get_input_embeddings().embedding_dim
    if not p.mlm_head and hidden != words:
        raise InputError(
            f"mlm_head = False: hidden states of {hidden} dimensions cannot be multiplied by "
            f"embeddings of {words}; for this {teacher.config.model_type} allowed is True"
        )
    layers = models.layer_choice(p.student_layers, teacher.config.num_hidden_layers)
    student = models.truncate(teacher, layers)
    other_width = p.hidden_size not in (0, hidden)
    if p.init == "truncated":
        return models.narrow(student, p.hidden_size) if other_width else student
    shape = models.of_width(student, p.hidden_size) if other_width else student
    return models.random_like(shape, p.seed)


def objective(p: StudentParameters, student, teacher) -> Distillation:
    """What a student minimises, as notebook 3 makes it, ready to train."""
    return quicken(Distillation(student, teacher, **p.losses))


# ----------------------------------------------------------------------------------- trained models


def cut_to_text(
    p: DistillationParameters | CascadeTA, model: PreTrainedModel, tokenizer, corpus: Corpus
) -> tuple:
    """A trained model and its tokenizer with the `vocabulary` that the parameters say: all of it,
    or the tokens that the corpus needs, or its most frequent ones. Until then a student has its
    teacher's, since a soft loss compares the two token by token."""
    if not p.vocabulary:
        return model, tokenizer
    first = 0
    if models.architecture_of(model).offset:  # positions are counted from the padding token's id
        first = model.config.pad_token_id + 1
    most = 0 if p.vocabulary == "corpus" else p.vocabulary
    ids = tokens_to_keep(tokenizer, corpus.token_counts(len(tokenizer)), most, first)
    return models.cut_vocabulary(model, ids), cut_vocabulary(tokenizer, ids)


def save(model: PreTrainedModel, tokenizer, folder: Path) -> None:
    """A complete checkpoint that plain transformers loads: weights (safetensors), configuration,
    and the tokenizer, which says how many tokens the model takes."""
    tokenizer = copy.deepcopy(tokenizer)  # the caller's stays as it is
    longest = longest_sequence(model.config.to_dict())
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    for key in ("is_local", "local_files_only"):  # how it was loaded is nobody's business
        tokenizer.init_kwargs.pop(key, None)
    with files.writing(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):  # which the library lets only the owner read
            shutil.copymode(folder / "config.json", weights)


@torch.inference_mode()
def fill_mask(
    model: PreTrainedModel,
    tokenizer,
    corpus: Corpus,
    examples: int = 5,
    mlm_head: bool = True,
) -> pd.DataFrame:
    """Held-out sequences, or their first 40 tokens, with one token masked: columns `text`, `hidden`
    (the token) and `guesses` (the model's five best, with probabilities)."""
    model.eval()
    rng = np.random.default_rng(0)
    rows = []
    for index in rng.choice(len(corpus), size=min(examples, len(corpus)), replace=False):
        ids = torch.from_numpy(corpus.rows([index])[0][0].astype(np.int64))[None, :40]
        if ids.shape[1] < 3:
            continue
        position = int(rng.choice(np.arange(1, ids.shape[1] - 1)))
        token = int(ids[0, position])
        ids[0, position] = tokenizer.mask_token_id
        hidden = model.base_model(input_ids=ids.to(model.device)).last_hidden_state
        probabilities = logits_of(model, hidden[:, position], mlm_head)[0].softmax(-1)
        shares, guesses = (part.tolist() for part in probabilities.topk(5))
        shown, *guesses = spell_tokens(tokenizer, [token, *guesses])
        guesses = "  ".join(f"{guess} {share:.2f}" for guess, share in zip(guesses, shares))
        text = tokenizer.decode(ids[0, 1:-1])
        rows.append({"text": text, "hidden": shown, "guesses": guesses})
    return pd.DataFrame(rows)


def summary(model: PreTrainedModel, history: list[dict]) -> dict:
    """The model's size and the cost of its training, in the columns of efficiency.csv."""
    last = history[-1] if history else {"step": 0}
    parameters, cost = models.parameter_count(model), expense(last)
    return {
        "layers": model.config.num_hidden_layers,
        "parameters": parameters,
        "size_mib": models.size_mib(model),
        "steps": last["step"],
        "tokens_per_parameter": cost["tokens_seen"] / parameters,
        **cost,
    }
