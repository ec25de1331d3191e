"""A published model as ONNX: `make export MODEL=outputs/tiny/herbert/S3/distillation`, checked
against PyTorch as it is made."""

import argparse
import logging
import os
import sys
from pathlib import Path

import torch

from lib.common import places
from lib.common.errors import InputError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SHAPES = ((1, 1), (1, 9), (2, 16), (5, 33), (16, 64), (2, 0))
"""Sequences and tokens of the batches on which both are compared; 0: as many tokens as the model
takes."""
LARGEST = 1e-4
"""A logit may differ by less than this."""
TWO_GB = 2**31
"""What a single file of the format can hold."""


class Named(torch.nn.Module):
    """A masked language model that takes the inputs of `names` by place, and gives the logits
    alone."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits, [sequences, tokens, vocabulary]."""
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def model_folder(given: str) -> Path:
    """The folder of a model: the one given, or `model` in the stage folder given. Raises InputError
    where there is none."""
    place = places.ROOT / Path(given).expanduser() if given else None
    for folder in (place, place and place / "model"):
        if folder and (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            return folder
    raise InputError(
        f"MODEL={given}: no model there; give the folder of a stage that made one, or the model "
        f"folder in it, "
        "as in make export MODEL=outputs/tiny/herbert/S3/distillation"
    )


def load(folder: Path) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The masked language model of a folder, in fp32, and the inputs that its tokenizer gives:
    those that ONNX will take."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    try:
        # eager: attention as products and a softmax, operators that every runtime has
        model = AutoModelForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", use_safetensors=True
        )
        given = AutoTokenizer.from_pretrained(folder).model_input_names
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"MODEL={folder}: cannot be loaded as a masked language model: {reason}"
        ) from None
    if sum(weights.numel() for weights in model.parameters()) * 4 > TWO_GB:
        raise InputError(
            f"MODEL={folder}: its weights need more than the 2 GB that one ONNX file holds"
        )
    return model.eval(), tuple(name for name in INPUTS if name in given)


def batch(
    model: torch.nn.Module, names: tuple[str, ...], sequences: int, tokens: int, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random inputs of a shape, [sequences, tokens] each; all sequences but the longest are padded,
    each to another length."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, model.config.vocab_size, (sequences, tokens), generator=random)
    lengths = torch.linspace(tokens, 1, sequences).long()
    kept = torch.arange(tokens)[None] < lengths[:, None]
    ids[~kept] = model.config.pad_token_id or 0
    kinds = torch.randint(
        0, getattr(model.config, "type_vocab_size", 1), ids.shape, generator=random
    )
    return {name: value for name, value in zip(INPUTS, (ids, kept.long(), kinds)) if name in names}


def write(model: torch.nn.Module, names: tuple[str, ...], path: Path) -> None:
    """Write a model as ONNX: inputs `names`, int64, and `logits`; numbers of sequences and tokens
    are free."""
    free = {
        0: torch.export.Dim("batch", min=1),
        1: torch.export.Dim("length", min=1, max=model.config.max_position_embeddings),
    }
    example = tuple(batch(model, names, 2, 12).values())
    torch.onnx.export(
        Named(model, names).eval(),
        example,
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=((dict(free),) * len(names),),
    )


@torch.inference_mode()
def largest_difference(
    model: torch.nn.Module, names: tuple[str, ...], path: Path
) -> dict[tuple[int, int], float]:
    """The largest absolute difference of a logit between PyTorch and ONNX, padding included, for
    every shape of SHAPES."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = {}
    for sequences, tokens in SHAPES:
        inputs = batch(
            model,
            names,
            sequences,
            tokens or model.config.max_position_embeddings,
            seed=sequences + tokens,
        )
        (theirs,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        ours, theirs = model(**inputs).logits, torch.from_numpy(theirs)
        alike = ours.shape == theirs.shape
        found[tuple(inputs["input_ids"].shape)] = (
            float((ours - theirs).abs().max()) if alike else float("inf")
        )
    return found


def export(folder: Path) -> tuple[Path, dict[tuple[int, int], float]]:
    """Write `folder`/onnx/model.onnx; returns its path and the differences from PyTorch. Appears
    checked and whole, or not at all.

    Raises InputError where ONNX's packages are missing, and where a logit differs by LARGEST or
    more.
    """
    model, names = load(folder)
    path = folder / "onnx" / "model.onnx"
    aside = path.with_name("model.onnx.writing")
    there = path.parent.is_dir()
    try:
        path.parent.mkdir(exist_ok=True)
        write(model, names, aside)
        found = largest_difference(model, names, aside)
        if not max(found.values()) < LARGEST:  # not a number is no agreement
            raise InputError(
                f"MODEL={folder}: ONNX and PyTorch differ by {max(found.values()):.1e} in a "
                f"logit; allowed is less than "
                f"{LARGEST:g}. Nothing was written"
            )
        aside.replace(path)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; make export installs what it needs"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        aside.unlink(missing_ok=True)
        if not there and path.parent.is_dir() and not path.is_file():
            path.parent.rmdir()
    return path, found


def main(arguments: list[str] | None = None) -> int:
    """Export one model and say how far it is from PyTorch, or say in one line what is wrong."""
    from transformers.utils import logging as transformers_logging

    parser = argparse.ArgumentParser(prog="python -m lib.runner.export", description=__doc__)
    parser.add_argument("model", help="the folder of a stage, or of its model")
    given = parser.parse_args(arguments)
    transformers_logging.disable_progress_bar()
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # it misses torchvision, which nothing here needs
    try:
        path, found = export(model_folder(given.model))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for (sequences, tokens), difference in found.items():
        print(f"{sequences:3} × {tokens:3} tokens: largest difference of a logit {difference:.1e}")
    named = path.relative_to(places.ROOT) if path.is_relative_to(places.ROOT) else path
    print(
        f"{named}: {os.path.getsize(path) / 2**20:.1f} MiB, within {max(found.values()):.1e} of "
        f"PyTorch (allowed: {LARGEST:g})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
