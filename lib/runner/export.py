"""A published model as ONNX, compared with PyTorch when it is made:
`make export MODEL=outputs/tiny/herbert/S3/distillation`."""

import argparse
import logging
import sys
from pathlib import Path

import torch

from lib.common import places
from lib.common.errors import InputError
from lib.training import models
from lib.training.architectures import longest_sequence

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SHAPES = ((1, 1), (1, 9), (2, 16), (5, 33), (16, 64), (2, 0))
"""The (sequences, tokens) of the batches on which both are compared; 0: the model's maximum."""
TOLERANCE = 1e-4
"""A logit has to differ by less than this."""
TWO_GB = 2**31
"""The size limit of a single ONNX file."""


class PositionalModel(torch.nn.Module):
    """A masked language model that takes the inputs `names` by position and returns the logits
    [sequences, tokens, vocabulary]."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def model_folder(name: str) -> Path:
    """A model's folder, by its name or by that of its stage. Raises InputError if there is none."""
    path = places.ROOT / Path(name).expanduser()
    for folder in (path, path / "model") if name else ():
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            return folder
    raise InputError(
        f"MODEL={name}: no model there; give the folder of a stage that made one, or the model "
        f"folder in it, as in make export MODEL=outputs/tiny/herbert/S3/distillation"
    )


def load(folder: Path) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The masked language model in a folder, in fp32, and the names of the inputs that its
    tokenizer gives, which ONNX will take. Raises InputError."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    try:
        # eager: attention as products and a softmax, which every runtime has
        model = AutoModelForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", use_safetensors=True
        )
        names = AutoTokenizer.from_pretrained(folder).model_input_names
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"MODEL={folder}: cannot be loaded as a masked language model: {reason}"
        ) from None
    models.load(folder, device="meta")  # raises for a head that is missing and was made up
    if sum(weights.numel() for weights in model.parameters()) * 4 > TWO_GB:
        raise InputError(
            f"MODEL={folder}: its weights need more than the 2 GB that one ONNX file holds"
        )
    return model.eval(), tuple(name for name in INPUTS if name in names)


def batch(
    model: torch.nn.Module, names: tuple[str, ...], sequences: int, tokens: int, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random inputs, each [sequences, tokens]. The first sequence has all tokens, the others are
    padded to different lengths."""
    random = torch.Generator().manual_seed(seed)
    types = getattr(model.config, "type_vocab_size", 1)
    ids = torch.randint(0, model.config.vocab_size, (sequences, tokens), generator=random)
    lengths = torch.linspace(tokens, 1, sequences).long()
    mask = torch.arange(tokens)[None] < lengths[:, None]
    ids[~mask] = model.config.pad_token_id or 0
    token_types = torch.randint(0, types, ids.shape, generator=random)
    inputs = dict(zip(INPUTS, (ids, mask.long(), token_types)))
    return {name: inputs[name] for name in names}


def write(model: torch.nn.Module, names: tuple[str, ...], path: Path) -> None:
    """Write a model as ONNX, with the int64 inputs `names` and the output `logits`, for any number
    of sequences and tokens."""
    dynamic = {
        0: torch.export.Dim("batch", min=1),
        1: torch.export.Dim("length", min=1, max=longest_sequence(model.config.to_dict())),
    }
    torch.onnx.export(
        PositionalModel(model, names).eval(),
        tuple(batch(model, names, 2, 12).values()),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=((dict(dynamic),) * len(names),),
    )


@torch.inference_mode()
def largest_differences(
    model: torch.nn.Module, names: tuple[str, ...], path: Path
) -> dict[tuple[int, int], float]:
    """The largest absolute difference of a logit between PyTorch and ONNX, padding included, for
    each shape in SHAPES."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = {}
    for sequences, tokens in SHAPES:
        tokens = tokens or longest_sequence(model.config.to_dict())
        inputs = batch(model, names, sequences, tokens, seed=sequences + tokens)
        expected = model(**inputs).logits
        (logits,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        difference = float("inf")
        if logits.shape == expected.shape:
            difference = float((expected - torch.from_numpy(logits)).abs().max())
        differences[sequences, tokens] = difference
    return differences


def export(folder: Path) -> tuple[Path, dict[tuple[int, int], float]]:
    """Write `folder`/onnx/model.onnx, checked and complete, or nothing. Returns its path and its
    differences from PyTorch.

    Raises InputError if ONNX's packages are missing or a logit differs by TOLERANCE or more.
    """
    model, names = load(folder)
    path = folder / "onnx" / "model.onnx"
    unfinished = path.with_name("model.onnx.writing")
    try:
        path.parent.mkdir(exist_ok=True)
        write(model, names, unfinished)
        differences = largest_differences(model, names, unfinished)
        largest = max(differences.values())
        if not largest < TOLERANCE:  # also if it is not a number
            raise InputError(
                f"MODEL={folder}: ONNX and PyTorch differ by {largest:.1e} in a logit; allowed is "
                f"less than {TOLERANCE:g}. Nothing was written"
            )
        unfinished.replace(path)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; make export installs what it needs"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return path, differences


def main(arguments: list[str] | None = None) -> int:
    """Export one model and print its differences from PyTorch, or one line that says what is
    wrong."""
    from transformers.utils import logging as transformers_logging

    parser = argparse.ArgumentParser(prog="python -m lib.runner.export", description=__doc__)
    parser.add_argument("model", help="the folder of a stage, or of its model")
    name = parser.parse_args(arguments).model
    transformers_logging.disable_progress_bar()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    try:
        path, differences = export(model_folder(name))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for (sequences, tokens), difference in differences.items():
        print(f"{sequences:3} × {tokens:3} tokens: largest difference of a logit {difference:.1e}")
    shown = path.relative_to(places.ROOT) if path.is_relative_to(places.ROOT) else path
    print(
        f"{shown}: {path.stat().st_size / 2**20:.1f} MiB, within {max(differences.values()):.1e} "
        f"of PyTorch (allowed: {TOLERANCE:g})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
