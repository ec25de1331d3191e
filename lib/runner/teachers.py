"""The teachers of the toy languages, which come with the project; `make teachers` trains them
again.

params/<study>/<teacher>/recipe.yaml holds the parameters of two stages: `corpus`, of notebook 1,
and `teacher`, of notebook 2. The trained teacher is stored beside its recipe, in half precision,
with a card.
"""

import hashlib
import json
import sys
from pathlib import Path

from lib.common import places
from lib.common.files import read_yaml
from lib.data.tokenizer import load_tokenizer
from lib.plan.plan import write_parameters
from lib.plan.stages import Stage, StagePath, validate
from lib.runner.run import run
from lib.training import models, pretraining, probes

CARD = """\
# {teacher} of {study}, a toy teacher

BERT of {layers} layers, {hidden} wide, {parameters:,} parameters, in half precision. Pretrained on
toy text by [recipe.yaml](recipe.yaml); `make teachers` does it again.

| | |
|---|---|
| tokens read | {tokens:,} |
| seconds of training, on one core of a busy machine | {seconds:,.0f} |
| MLM loss on held-out text, nats | {loss:.3f} |
| accuracy on its masked tokens | {accuracy:.1f} % |
| the same loss when cut to every second layer | {cut_loss:.3f} |
| sha256 of model.safetensors | `{sha256}` |
"""


def recipes() -> list[Path]:
    """The recipes of all teachers that come with the project."""
    return sorted((places.ROOT / "params").glob("*/*/recipe.yaml"))


def stages(recipe: Path) -> tuple[Stage, Stage]:
    """The two stages of a recipe: its corpus, and its teacher. Raises InputError."""
    teacher, study = recipe.parent.name, recipe.parent.parent.name
    parameters, made = read_yaml(recipe), []
    for kind, section in (("data_prep", "corpus"), ("teacher_continuation", "teacher")):
        name = f"corpus_{teacher}" if section == "corpus" else teacher
        path = StagePath("teachers", study, name, kind)
        values = {**parameters[section], "output_dir": str(path)}
        if made:
            values["corpus"] = made[0].folder
        checked = validate(kind, values, lambda key: f"{recipe}: {section}")
        needs = (made[0].folder,) if made else ()
        made.append(Stage(path, checked.model_dump(mode="json"), needs))
    return made[0], made[1]


def store(folder: Path, stage: Stage) -> None:
    """Store the teacher that a stage has trained in `folder`, in half precision, with a card."""
    from lib.data.prepared import open_corpus

    trained = places.ROOT / stage.folder
    result = json.loads((trained / "result.json").read_text(encoding="utf-8"))
    model, tokenizer = models.load(trained / "model"), load_tokenizer(trained / "model")
    pretraining.save(model.half(), tokenizer, folder)
    model = models.load(folder)  # what the card says is measured on what is stored
    held_out = open_corpus(stage.parameters["corpus"], "held_out")
    p = validate(stage.kind, stage.parameters)
    depth = model.config.num_hidden_layers
    cut = models.truncate(model, models.layer_choice("alternate", depth))
    knows = probes.probe(model, p, held_out)
    card = CARD.format(
        teacher=folder.name,
        study=folder.parent.name,
        layers=depth,
        hidden=model.config.hidden_size,
        parameters=models.parameter_count(model),
        tokens=result["summary"]["tokens_seen"],
        seconds=result["summary"]["train_seconds"],
        loss=knows["mlm_loss"],
        accuracy=knows["mlm_accuracy"],
        cut_loss=probes.probe(cut, p, held_out)["mlm_loss"],
        sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def main() -> int:
    """Train and store every teacher; returns the exit status."""
    for recipe in recipes():
        corpus, teacher = stages(recipe)
        for stage in (corpus, teacher):
            write_parameters([stage])
            if status := run(Path(stage.parameter_file)):
                return status
        store(recipe.parent, teacher)
        print(f"the teacher: {recipe.parent.relative_to(places.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
