"""What students are once they are shipped, for the report: the ONNX files of models that
fine-tunings have kept, in fp32 and in int8."""

import json
import logging
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lib.common import places
from lib.plan.stages import validate
from lib.report.results import EXAMPLES
from lib.runner import evidence, export, int8
from lib.tasks import finetune
from lib.tasks.classifier import Classifier
from lib.tasks.examples import settled
from lib.training.architectures import longest_sequence

KEY = ["task", "language", "metric"]


def in_int8(
    finetunings: Sequence[tuple[dict, Collection[str]]],
) -> list[tuple[pd.DataFrame, dict] | None]:
    """What models score in int8 that fine-tunings have kept of their first seeds; and what the
    files cost. Of each fine-tuning its result.json, and the tasks that matter.

    Returns rows of seed, task, language, metric, value (percent) and what every example contributes
    to it (the column EXAMPLES); and MiB and seconds of both files of the first of the models, as
    `lib.runner.int8.compare_costs` has them. None where a model is missing.
    """
    measured: list[tuple[pd.DataFrame, dict] | None] = []
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    template = None
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch, "fp32.onnx"), Path(scratch, "int8.onnx")
        for finetuning, tasks in finetunings:
            frames, costs = [], {}
            for folder in _folders(finetuning, tasks):
                model, names = export.load(folder)
                if template is None or not fill(template, model, names, files[0]):
                    export.write(model, names, files[0])
                    template = template_of(files[0], model, names)
                int8.quantise(*files)
                rows, predictions = int8.evaluation(folder)(files[1])
                examples = predictions.groupby(KEY)["score"].agg(lambda s: s.to_numpy(float))
                frame = pd.DataFrame(rows).set_index(KEY).assign(**{EXAMPLES: examples})
                seed = int(folder.name.rpartition("-")[2])
                frames.append(frame.reset_index().assign(seed=seed))
                if not costs:
                    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
                    length = min(int8.TOKENS, longest_sequence(config))
                    costs = int8.compare_costs(files, config["vocab_size"], length)["costs"]
            scores = pd.concat(frames, ignore_index=True) if frames else None
            kept = scores is not None
            measured.append((scores[scores["task"].isin(tasks)], costs) if kept else None)
    return measured


def _folders(finetuning: dict, tasks: Collection[str]) -> list[Path]:
    """The models of the first seed, one for each of the tasks or for several; none if any is
    missing."""
    p = settled(validate("finetune", finetuning["parameters"]))
    place, groups = places.ROOT / p.output_dir / finetune.MODELS, finetune.shared_training(p)
    names = [name for name, own in groups.items() if {*own} & {*tasks}]
    folders = [place / f"{name}-{p.seeds[0]}" for name in names]
    return folders if all(map(evidence.is_finetuned, folders)) else []


# ------------------------------------------------------------------- one file for models of a kind

# Writing an ONNX file takes seconds, most of them to follow a model's computation, which is the
# same for all models of a kind: their weights are put into the first one's file.


class Template(NamedTuple):
    """The ONNX file of a model, and of its tensors which weight of the model each is, and whether
    it is transposed."""

    file: Any
    weights: dict[str, tuple[str, bool]]


def template_of(path: Path, model: Classifier, names: tuple[str, ...]) -> Template:
    """The template that the ONNX file of a model is."""
    import onnx

    file, weights = onnx.load(path), {}
    own = _weights(model, names)
    for tensor in file.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        turned = [
            name for name, one in own.items() if value.ndim == 2 and one.shape == value.T.shape
        ]
        if tensor.name in own:
            weights[tensor.name] = tensor.name, False
        elif same := [name for name in turned if (own[name].T == value).all()]:
            weights[tensor.name] = same[0], True
    return Template(file, weights)


def fill(template: Template, model: Classifier, names: tuple[str, ...], path: Path) -> bool:
    """Write the ONNX file of a model of the template's kind, which may have another vocabulary and
    other outputs. Returns whether it does what the model does; else it is of another kind."""
    import onnx

    own, file = _weights(model, names), template.file
    inputs = tuple(one.name for one in file.graph.input)
    if inputs != names or not {name for name, _ in template.weights.values()} <= set(own):
        return False
    for tensor in file.graph.initializer:
        if tensor.name in template.weights:
            name, turned = template.weights[tensor.name]
            value = own[name].T if turned else own[name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(value.copy(), tensor.name))
    file.graph.output[0].type.tensor_type.shape.dim[-1].dim_value = model.linear.out_features
    del file.graph.value_info[:]
    onnx.save(file, path)
    differences = export.largest_differences(model, names, path, shapes=((5, 33),))
    return max(differences.values()) < export.TOLERANCE


def _weights(model: Classifier, names: tuple[str, ...]) -> dict:
    """The weights of a model by the names that they have in ONNX files."""
    weights = export.PositionalModel(model, names).state_dict()
    return {name: weight.numpy() for name, weight in weights.items()}
