"""A published or fine-tuned model as ONNX, compared with PyTorch when it is made:
`make export MODEL=outputs/tiny/herbert/S3/distillation`; with INT8=yes also in int8, see
lib.runner.int8; with EMBEDDINGS=yes its encoder alone, see lib.runner.embeddings."""

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from lib.common import places
from lib.common.errors import InputError
from lib.common.files import write_json
from lib.data.tokenizer import load_tokenizer
from lib.report import card
from lib.report.statistics import interval
from lib.runner import embeddings, evidence, int8
from lib.tasks import classifier as classifiers
from lib.tasks.classifier import Classifier
from lib.tasks.finetune import MODELS
from lib.training import models
from lib.training.architectures import longest_sequence
from lib.training.batches import Batch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SHAPES = ((1, 1), (1, 9), (2, 16), (5, 33), (16, 64), (2, 0))
"""The (sequences, tokens) of the batches on which both are compared; 0: the model's maximum."""
TOLERANCE = 1e-4
"""A logit, or a number of a hidden state, has to differ by less than this."""
TWO_GB = 2**31
"""The size limit of a single ONNX file."""


class PositionalModel(torch.nn.Module):
    """A model that takes the inputs `names` by position. It returns the logits of a masked language
    model, [sequences, tokens, vocabulary], or those of `Classifier`; of an encoder the last hidden
    states, [sequences, tokens, hidden]."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        values = dict(zip(self.names, inputs, strict=True))
        if not isinstance(self.model, Classifier):
            outputs = self.model(**values)
            return outputs.logits if "logits" in outputs else outputs.last_hidden_state
        ids, segments = values["input_ids"], values.get("token_type_ids")
        return self.model(Batch(ids, values["attention_mask"].bool(), ids, segments))


def model_folder(name: str, task: str = "") -> Path:
    """A model's folder, by its name or by that of its stage; of a fine-tuning that kept its models,
    that of the first seed of `task`. Raises InputError if there is none."""
    path = places.ROOT / Path(name).expanduser()
    kept = sorted(path.glob(f"{MODELS}/*/{classifiers.HEAD}.json")) if name else []
    if kept:
        by_task: dict[str, list[Path]] = {}
        for folder in (one.parent for one in kept):
            by_task.setdefault(folder.name.rpartition("-")[0], []).append(folder)
        if task not in by_task and (task or len(by_task) > 1):
            raise InputError(f"TASK={task}: allowed for {name} are {', '.join(by_task)}")
        folders = by_task[task or min(by_task)]
        return min(folders, key=lambda folder: int(folder.name.rpartition("-")[2]))
    for folder in (path, path / "model") if name else ():
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            if task and not evidence.is_finetuned(folder):
                raise InputError(f"TASK={task}: {folder} is fine-tuned on no task; leave TASK out")
            return folder
    raise InputError(
        f"MODEL={name}: no model there; give the folder of a stage that made one, or the model "
        f"folder in it, as in make export MODEL=outputs/tiny/herbert/S3/distillation"
    )


def load(folder: Path) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The masked language model, the classifier or the encoder in a folder, in fp32, and the names
    of the inputs that its tokenizer gives, which ONNX will take. Raises InputError."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    if evidence.is_finetuned(folder):
        model = classifiers.load(folder, quick=False)
        model.trunk.set_attn_implementation("eager")
        given = set(load_tokenizer(str(folder)).model_input_names)
        given -= {"token_type_ids"} if not model.tells_segments else set()
        return _checked(model, folder, tuple(name for name in INPUTS if name in given))
    if evidence.is_encoder(folder):
        model = models.load_trunk(folder)
        model.set_attn_implementation("eager")
        given = load_tokenizer(str(folder)).model_input_names
        return _checked(model, folder, tuple(name for name in INPUTS if name in given))
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
    return _checked(model, folder, tuple(name for name in INPUTS if name in names))


def _checked(model: torch.nn.Module, folder: Path, names: tuple[str, ...]) -> tuple:
    """A model, ready to use, and its inputs. Raises InputError if it is too large."""
    if sum(weights.numel() for weights in model.parameters()) * 4 > TWO_GB:
        raise InputError(
            f"MODEL={folder}: its weights need more than the 2 GB that one ONNX file holds"
        )
    return model.eval(), names


def config_of(model: torch.nn.Module):
    """The configuration of a masked language model, or of a classifier's encoder."""
    return model.trunk.config if isinstance(model, Classifier) else model.config


def batch(
    model: torch.nn.Module, names: tuple[str, ...], sequences: int, tokens: int, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random inputs, each [sequences, tokens]. The first sequence has all tokens, the others are
    padded to different lengths."""
    random = torch.Generator().manual_seed(seed)
    config = config_of(model)
    types = getattr(config, "type_vocab_size", 1)
    ids = torch.randint(0, config.vocab_size, (sequences, tokens), generator=random)
    lengths = torch.linspace(tokens, 1, sequences).long()
    mask = torch.arange(tokens)[None] < lengths[:, None]
    ids[~mask] = config.pad_token_id or 0
    token_types = torch.randint(0, types, ids.shape, generator=random)
    inputs = dict(zip(INPUTS, (ids, mask.long(), token_types)))
    return {name: inputs[name] for name in names}


def write(model: torch.nn.Module, names: tuple[str, ...], path: Path) -> None:
    """Write a model as ONNX, with the int64 inputs `names` and the output `logits`, of an encoder
    `last_hidden_state`, for any number of sequences and tokens."""
    import onnx

    encodes = not isinstance(model, Classifier) and model.base_model is model
    dynamic = {
        0: torch.export.Dim("batch", min=1),
        1: torch.export.Dim("length", min=1, max=longest_sequence(config_of(model).to_dict())),
    }
    torch.onnx.export(
        PositionalModel(model, names).eval(),
        tuple(batch(model, names, 2, 12).values()),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=names,
        output_names=["last_hidden_state" if encodes else "logits"],
        dynamic_shapes=((dict(dynamic),) * len(names),),
    )
    file = onnx.load(path)
    for node in file.graph.node:  # which lines of code it comes from, with paths of this machine
        node.ClearField("metadata_props")
    onnx.save(file, path)


@torch.inference_mode()
def largest_differences(
    model: torch.nn.Module,
    names: tuple[str, ...],
    path: Path,
    shapes: Sequence[tuple[int, int]] = SHAPES,
) -> dict[tuple[int, int], float]:
    """The largest absolute difference of an output between PyTorch and ONNX, padding included, for
    each of the shapes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = {}
    for sequences, tokens in shapes:
        tokens = tokens or longest_sequence(config_of(model).to_dict())
        inputs = batch(model, names, sequences, tokens, seed=sequences + tokens)
        expected = PositionalModel(model, names)(*inputs.values())
        (logits,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        difference = float("inf")
        if logits.shape == expected.shape:
            difference = float((expected - torch.from_numpy(logits)).abs().max())
        differences[sequences, tokens] = difference
    return differences


def export(folder: Path) -> tuple[Path, dict[tuple[int, int], float]]:
    """Write `folder`/onnx/model.onnx, checked and complete, or nothing; what was measured goes to
    model.json beside it. Returns its path and its differences from PyTorch.

    Raises InputError if ONNX's packages are missing or an output differs by TOLERANCE or more.
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
                f"MODEL={folder}: ONNX and PyTorch differ by {largest:.1e} in an output; allowed "
                f"is less than {TOLERANCE:g}. Nothing was written"
            )
        unfinished.replace(path)
        about = {"mib": path.stat().st_size / 2**20, "difference": largest}
        write_json(path.with_suffix(".json"), about)
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


def export_encoder(folder: Path, text: str) -> tuple[Path, dict[tuple[int, int], float], dict]:
    """Write the encoder of the model in `folder` to `folder`/embeddings, with an ONNX file, checked
    and complete, or nothing. Returns the path of the ONNX file, its differences from PyTorch, and
    the figures, which go to embeddings.json and into the cards. Raises InputError."""
    target = folder / embeddings.FOLDER
    unfinished = folder / f"{embeddings.FOLDER}.writing"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        pairs = embeddings.pairs_for(folder, text)
        embeddings.write(folder, unfinished)
        path, differences = export(unfinished)
        (model, names), tokenizer = load(unfinished), load_tokenizer(str(unfinished))
        positional = PositionalModel(model, names)

        def states(batch: Batch) -> torch.Tensor:
            segments = torch.zeros_like(batch.inputs) if batch.segments is None else batch.segments
            inputs = dict(zip(INPUTS, (batch.inputs, batch.kept.long(), segments)))
            return positional(*(inputs[name] for name in names))

        encoders = {"pytorch": states, "onnx": int8.OnnxModel(path)}
        parts, cosine, difference = embeddings.compare(pairs, tokenizer, encoders)
        score, *ends = interval(parts["pytorch"])
        figures = {"score": pairs.score, "examples": len(pairs.first), "value": score}
        figures |= {"ends": ends, "dimensions": model.config.hidden_size}
        figures |= {"onnx_cosine": cosine, "onnx_difference": difference}
        write_json(unfinished / f"{embeddings.FOLDER}.json", figures)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    card.write_files(target)
    card.write_files(folder)
    return target / path.relative_to(unfinished), differences, figures


def main(arguments: list[str] | None = None) -> int:
    """Export one model and print its differences from PyTorch, what its embeddings are worth and
    what int8 costs, or one line that says what is wrong. Returns 1 where int8 lost too much, 2 for
    an error."""
    from transformers.utils import logging as transformers_logging

    parser = argparse.ArgumentParser(prog="python -m lib.runner.export", description=__doc__)
    parser.add_argument("model", help="the folder of a stage, or of its model")
    parser.add_argument("--embeddings", default="", help="yes: the encoder alone, for sentences")
    parser.add_argument("--int8", default="", help="yes: also in int8")
    parser.add_argument("--task", default="", help="of a fine-tuning that kept its models")
    parser.add_argument(
        "--text", default="", help="to measure on: text that the model has not seen"
    )
    parser.add_argument("--keep", default="", help="what stays fp32: embeddings, head, or both")
    parser.add_argument("--max-loss", default="", help="points that int8 may lose, 1 by default")
    options = parser.parse_args(arguments)
    transformers_logging.disable_progress_bar()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    try:
        in_int8, figures = int8_options(options), {}
        folder = model_folder(options.model, options.task)
        if options.embeddings == "yes":
            path, differences, figures = export_encoder(folder, options.text)
            folder /= embeddings.FOLDER
        else:
            if in_int8:
                evidence.require_data(folder, options.task, options.text)
            path, differences = export(folder)
            card.write_files(folder)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for (sequences, tokens), difference in differences.items():
        print(f"{sequences:3} × {tokens:3} tokens: largest difference {difference:.1e}")
    print(
        f"{_shown(path)}: {path.stat().st_size / 2**20:.1f} MiB, within "
        f"{max(differences.values()):.1e} of PyTorch (allowed: {TOLERANCE:g})"
    )
    if figures:
        print(f"{_shown(folder)}: {figures['score']} {figures['value']:.1f} %")
    if in_int8 is None:
        return 0
    try:
        path, measured = int8.export(folder, path, **in_int8)
    except (InputError, int8.TooLossy) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, int8.TooLossy) else 2
    print(f"{_shown(path)}: {int8.summary(measured)}")
    return 0


def int8_options(options: argparse.Namespace) -> dict | None:
    """The arguments of lib.runner.int8.export, None if it is not asked for. Raises InputError."""
    for name, value in (("INT8", options.int8), ("EMBEDDINGS", options.embeddings)):
        if value not in ("", "no", "yes"):
            raise InputError(f"{name}={value}: allowed are yes and no")
    keep, parts = options.keep.split(), int8.PARTS
    if options.embeddings == "yes":  # an encoder has no head
        parts = int8.PARTS[:1]
    for part in keep:
        if part not in parts:
            raise InputError(f"KEEP={options.keep}: allowed are {' and '.join(parts)}")
    try:
        max_loss = float(options.max_loss or int8.MAX_LOSS)
        if not 0 <= max_loss <= 100:
            raise ValueError
    except ValueError:
        raise InputError(f"MAX_LOSS={options.max_loss}: allowed are 0 to 100 points") from None
    given = {"task": options.task, "text": options.text, "keep": keep, "max_loss": max_loss}
    return given if options.int8 == "yes" else None


def _shown(path: Path) -> Path:
    return path.relative_to(places.ROOT) if path.is_relative_to(places.ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
