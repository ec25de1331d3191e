"""A small prepared corpus and small models with random weights, for tests that need some."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertModel,
)

from lib.data import prepare
from lib.data.prepared import Corpus, open_corpus
from lib.data.tokenizer import train_tokenizer
from lib.plan.stages import validate
from lib.training import models, pretraining
from lib.training.batches import MaskedBatches, Schedule


def encoder(**changes) -> BertForMaskedLM:
    """A BERT of four narrow layers without dropout; `changes` are arguments of
    `models.new_encoder`."""
    shape = {
        "vocab_size": 99,
        "layers": 4,
        "hidden": 16,
        "heads": 2,
        "intermediate": 32,
        "max_length": 32,
        "pad_id": 1,
        "dropout": 0.0,
        "initializer_range": 0.1,
        "seed": 1,
    }
    return models.new_encoder(**shape | changes)


def encoder_for(tokenizer, **changes) -> BertForMaskedLM:
    """`encoder` with the vocabulary of `tokenizer`."""
    return encoder(vocab_size=len(tokenizer), pad_id=tokenizer.pad_token_id, **changes)


class Rows:
    """A corpus in memory of random sequences of these lengths."""

    def __init__(self, lengths):
        rng = np.random.default_rng(1)
        self.lengths = np.array(lengths)
        self.ids = [np.r_[0, rng.integers(5, 99, n - 2), 2].astype(np.int32) for n in lengths]

    def rows(self, indices):
        return [self.ids[i] for i in indices], [
            np.r_[False, np.ones(len(self.ids[i]) - 2, bool), False] for i in indices
        ]


LENGTHS = np.random.default_rng(3).integers(6, 24, 64)


def batches(batch=16, micro=16, steps=6, seed=0, corpus: Rows | None = None) -> MaskedBatches:
    """Batches of sequences of LENGTHS, with 30 % of their tokens masked."""
    return MaskedBatches(
        corpus or Rows(LENGTHS),
        Schedule(LENGTHS, batch=batch, micro=micro, epochs=1, steps=steps, seed=seed),
        specials=[0, 2],
        pad_id=1,
        mask_id=4,
        vocab_size=99,
        probability=0.3,
    )


def prepare_corpus(folder: Path, **changes) -> Corpus:
    """Prepare about a hundred sequences of toy Polish in `folder`; `changes` are parameters of
    notebook 1."""
    values = {
        "sources": [{"kind": "toy", "language": "toy-pl", "corpus": "web", "lines": 130}],
        "tokenizer": "train:wordpiece",
        "vocab_size": 300,
        "held_out_lines": 20,
        "max_length": 48,
    }
    prepare.prepare(validate("data_prep", values | changes), folder, say=lambda line: None)
    return open_corpus(folder)


def save_teacher(corpus: Corpus, folder: Path) -> None:
    """Save a teacher of four layers with dropout and the tokenizer of `corpus`."""
    tokenizer = corpus.tokenizer()
    pretraining.save(encoder_for(tokenizer, max_length=64, dropout=0.2), tokenizer, folder)


def save_bert(lines: Iterable[str], folder: Path, layers: int) -> None:
    """Save a BERT as plain transformers does, with dropout and a tokenizer of 600 words of
    `lines`."""
    words = train_tokenizer(lines, "wordpiece", 600)
    shape = {"hidden": 32, "intermediate": 64, "max_length": 64, "initializer_range": 0.02}
    encoder_for(words, layers=layers, dropout=0.1, seed=0, **shape).save_pretrained(folder)
    words.save_pretrained(folder)


def save_trunk(
    kind: str, tokenizer, folder: Path, *, layers: int, hidden: int, max_length: int, dropout=0.1
) -> None:
    """Save a model to fine-tune, "bert" or "distilbert", with its tokenizer."""
    if kind == "bert":
        model = encoder_for(
            tokenizer,
            layers=layers,
            hidden=hidden,
            intermediate=2 * hidden,
            max_length=max_length,
            dropout=dropout,
            seed=0,
        )
    else:
        torch.manual_seed(0)
        config = DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=hidden,
            n_layers=layers,
            n_heads=2,
            hidden_dim=2 * hidden,
            dropout=dropout,
            attention_dropout=dropout,
            max_position_embeddings=max_length,
            initializer_range=0.1,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = DistilBertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def of_kind(kind: str, *, layers: int = 4, vocab_size: int = 99, pad_id: int = 1, **changes):
    """A masked language model of a kind in lib.training.architectures, narrow, without dropout, all
    weights random. `changes`: of its configuration, by BERT's names."""
    torch.manual_seed(0)
    shape = {
        "vocab_size": vocab_size,
        "num_hidden_layers": layers,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "pad_token_id": pad_id,
        "initializer_range": 0.1,
    }
    own = {
        "distilbert": {"dropout": 0.0, "attention_dropout": 0.0, "hidden_dim": 32},
        "modernbert": {"global_attn_every_n_layers": 3, "local_attention": 8}
        | dict.fromkeys(("bos_token_id", "cls_token_id"), 0)
        | dict.fromkeys(("eos_token_id", "sep_token_id"), 2),
        "electra": {"embedding_size": 8},
    }
    if kind not in ("distilbert", "modernbert"):
        shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        shape |= {"type_vocab_size": 2 if kind in ("bert", "electra") else 1}
    config = AutoConfig.for_model(kind, **shape | own.get(kind, {}) | changes)
    model = AutoModelForMaskedLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and LayerNorms too, which start at 0 and 1
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()
