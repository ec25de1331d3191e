"""Bad inputs and faults, tried where a user meets them: in `make report`'s check of the plan, in a
notebook, in a training. What each answers is in tests/helpers/fault_table.py."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import nbformat
import pytest
import torch
import yaml

from lib.common import locks, places
from lib.common.errors import Diverged, InputError, Stopped
from lib.common.places import ROOT
from lib.data.prepared import open_corpus
from lib.plan import plan
from lib.plan.stages import KINDS, validate
from lib.runner import stage
from lib.training import batches, checkpoints, models, pretraining
from lib.training.loop import Recipe, train
from lib.training.objectives import Distillation
from tests.helpers import small

GOES_ON = "goes on: "
SHAPE = {"layers": 2, "hidden": 16, "heads": 2, "intermediate": 32, "dropout": 0.0}
TRAINED = {
    "learning_rate": 1e-3,
    "batch_size": 8,
    "micro_batch_size": 8,
    "steps": 2,
    "threads": 0,
    "tracker": "none",
}
SENTENCES = [
    f"{who} {what} {how}."
    for who in ("Anna", "the old king", "a child", "nobody")
    for what in ("reads", "walks", "sings")
    for how in ("slowly", "at night", "in the garden", "with joy")
]
NER = [
    {"sentence": text, "target": "persName" if number % 2 else "noEntity"}
    for number, text in enumerate(SENTENCES)
]


class World:
    """What faults happen to: a text, a prepared corpus and its teacher, task files; each made when
    it is first asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def fresh(self) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def corpus_by(self, tokenizer: str) -> Path:
        folder = self.folder / tokenizer.replace(":", "-")
        small.prepare_corpus(folder, tokenizer=tokenizer)
        return folder

    @cached_property
    def corpus(self) -> Path:
        return self.corpus_by("train:wordpiece")

    @cached_property
    def other_corpus(self) -> Path:
        return self.corpus_by("train:herbert_bpe")

    @cached_property
    def teacher(self) -> Path:
        p = validate("teacher_continuation", {"corpus": str(self.corpus), **SHAPE, **TRAINED})
        opened = open_corpus(self.corpus)
        pretraining.save(
            pretraining.starting_teacher(p, opened), opened.tokenizer(), self.folder / "teacher"
        )
        return self.folder / "teacher"

    def text(self, content: str | bytes, name: str = "text.txt") -> Path:
        path = self.fresh() / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def tasks(self, name: str = "", content: str | bytes | None = None) -> Path:
        """A folder of task files, one of which, if it is named, has other content; None: it is not
        there."""
        folder = self.fresh()
        place = folder / "klej" / "nkjp-ner"
        place.mkdir(parents=True)
        for split in ("train", "validation"):
            (place / f"{split}.jsonl").write_text(
                "".join(json.dumps(record) + "\n" for record in NER)
            )
        if name and content is None:
            (place / name).unlink()
        elif name:
            (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    def copy(self, folder: Path) -> Path:
        return Path(shutil.copytree(folder, self.fresh() / folder.name))


# ----------------------------------------------------------------------------- where faults are met


def line_of(act: Callable[[], object]) -> str:
    """What a user reads when `act` ends: the line of one of our errors, or the first words of any
    other."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            act()
    except (InputError, Diverged, Stopped) as error:
        return "\n".join(error._render_traceback_()).removeprefix("InputError: ")
    except Exception as error:
        return f"Traceback: {type(error).__name__}: {error}"
    return "; ".join(
        line for line in printed.getvalue().splitlines() if "damaged" in line or "resumed" in line
    )


def check(
    world: World, *, edit: dict | None = None, write: dict | None = None, **given: str
) -> str:
    """`make report`'s check of a plan, with params/ in which keys were edited ("herbert/smoke.yaml
    a.b" -> value) or files written."""
    folder = world.fresh()
    shutil.copytree(ROOT / "params", folder / "params")
    for path, content in (write or {}).items():
        (folder / "params" / path).parent.mkdir(exist_ok=True)
        (folder / "params" / path).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    for place, value in (edit or {}).items():
        file, _, keys = place.partition(" ")
        content = whole = yaml.safe_load((folder / "params" / file).read_text())
        *parents, last = keys.split(".")
        for key in parents:
            content = content[key]
        content[last] = value
        (folder / "params" / file).write_text(yaml.safe_dump(whole))
    if outputs := given.pop("outputs", None):
        (folder / "outputs").symlink_to(outputs)
    said = io.StringIO()
    arguments = {"scale": "smoke", "studies": "herbert"} | given
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(places, "ROOT", folder)
        try:
            plan.main(
                [
                    "--check",
                    *(f"--{key.replace('_', '-')}={value}" for key, value in arguments.items()),
                ]
            )
        except Exception as error:
            return f"Traceback: {type(error).__name__}: {error}"
    return said.getvalue().strip().removeprefix("error: ") or GOES_ON


def notebook(world: World, kind: str, **values) -> str:
    """A notebook run cell by cell with these parameters."""
    cells = [
        cell.source
        for cell in nbformat.read(ROOT / "notebooks" / f"{KINDS[kind].notebook}.ipynb", 4).cells
        if cell.cell_type == "code"
    ]
    namespace: dict = {}
    exec(cells[0], namespace)
    namespace |= {"output_dir": str(world.fresh() / "out"), "threads": 0} | values

    def run():
        try:
            for cell in cells[1:]:
                exec(cell, namespace)
        finally:
            for held in list(stage.HELD):
                locks.release(stage.HELD.pop(held))

    return line_of(run) or GOES_ON + _outcome(namespace)


def _outcome(namespace: dict) -> str:
    if found := namespace.get("statistics"):
        return (
            f"{found['lines']} lines, {found['sequences']} sequences, longest "
            f"{found['tokens_per_sequence']['max']} tokens"
        )
    return ", ".join(
        f"{row['task']} {row['metric']} {row['value']:.0f}" for row in namespace.get("rows", [])
    )


def prepared(world: World, path: Path | str = "", **values) -> str:
    """Notebook 1 on a text."""
    source = {"kind": "files", "path": str(path)} | values.pop("source", {})
    given = {
        "sources": [source],
        "tokenizer": "train:wordpiece",
        "vocab_size": 300,
        "held_out_lines": 5,
        "max_length": 32,
    }
    return notebook(world, "data_prep", **given | values)


def taught(world: World, **values) -> str:
    """Notebook 2 from nothing."""
    return notebook(
        world,
        "teacher_continuation",
        **{"teacher": "", "corpus": str(world.corpus), **SHAPE, **TRAINED} | values,
    )


def distilled(world: World, **values) -> str:
    """Notebook 3."""
    given = {
        "teacher": str(world.teacher),
        "corpus": str(world.corpus),
        "student_layers": [0],
        **TRAINED,
    }
    return notebook(world, "distillation", **given | values)


def finetuned(world: World, files: Path | None = None, **values) -> str:
    """Notebook 5 on task files."""
    given = {
        "model": str(world.teacher),
        "tasks": ["nkjp-ner"],
        "task_source": "files",
        "task_folder": str(files or world.tasks()),
        "train_examples": 0,
        "seeds": [1],
        "epochs": 1,
        "learning_rate": 1e-3,
        "tracker": "none",
    }
    return notebook(world, "finetune", **given | values)


def trained(world: World, spoil: Callable[[Path], object]) -> str:
    """A training of six steps that was stopped after four, what was then done to its folder, and
    how it goes on."""
    folder, opened = world.fresh() / "checkpoints", open_corpus(world.corpus)
    p = validate(
        "teacher_continuation", {"corpus": str(world.corpus), **SHAPE, **TRAINED, "steps": 6}
    )

    def run(stop: int = 0):
        def after(done):
            if done == stop:
                raise KeyboardInterrupt

        train(
            Distillation(pretraining.starting_teacher(p, opened)),
            batches.batches(p, opened),
            Recipe(1e-3, checkpoint_seconds=1e-9),
            folder=folder,
            quiet=True,
            after_step=after,
        )

    with contextlib.suppress(KeyboardInterrupt):
        run(4)
    spoil(folder)
    return line_of(run)


# ---------------------------------------------------------------------------- what is done to files


def cut(path: Path, share: float = 0.5) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def zero(path: Path) -> None:
    """Overwrite a file with zeros."""
    path.write_bytes(bytes(path.stat().st_size))


def change(path: Path, **values) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def records(world: World, **files: list[dict]) -> Path:
    """A folder with files of records; two underscores in a name are a slash."""
    folder = world.fresh()
    for name, rows in files.items():
        path = folder / f"{name.replace('__', '/')}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


# ------------------------------------------------------------------------------ faults with a story


def signalled(number: int, world: World) -> str:
    """A training that gets a signal in its third step."""
    folder, opened = world.fresh(), open_corpus(world.corpus)
    p = validate(
        "teacher_continuation", {"corpus": str(world.corpus), **SHAPE, **TRAINED, "steps": 6}
    )
    return line_of(
        lambda: train(
            Distillation(pretraining.starting_teacher(p, opened)),
            batches.batches(p, opened),
            Recipe(1e-3),
            folder=folder,
            quiet=True,
            after_step=lambda done: done == 3 and os.kill(os.getpid(), number),
            name="distillation",
        )
    )


def of_another_model(folder: Path) -> None:
    """The newest checkpoint becomes that of a model whose weights have other names."""
    state = checkpoints.newest(folder)
    state["model"] = {f"other.{name}": value for name, value in state["model"].items()}
    checkpoints.save(folder, state.pop("step"), state)


def not_finite(folder: Path) -> None:
    """A model gets a weight that is no number."""
    model = models.load(folder)
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    model.save_pretrained(folder)


def pickled(folder: Path) -> None:
    """A model's weights become a pickle, which could run code."""
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def under_way_elsewhere(world: World) -> str:
    """Notebook 2 while another process has the same stage under way."""
    place = world.fresh() / "out"
    code = (
        f"import pathlib, time; from lib.common import locks; path = "
        f"pathlib.Path({str(place / 'scratch.lock')!r}); "
        "held = locks.take(path, 'the stage x', print); print(1, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    other.stdout.readline()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "PATIENCE", 0.0)
            return taught(world, output_dir=str(place))
    finally:
        other.kill()
        other.wait()


def on_a_small_disk(world: World) -> str:
    """Notebook 1 on a file system of 300 kB, where there is the right to mount one."""
    place = world.fresh()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True
    ).returncode:
        return "not tried: there is no right to mount a file system here"
    try:
        text = world.text(
            "\n".join(f"{number} {text}" for number in range(300) for text in SENTENCES)
        )
        return prepared(world, text, output_dir=str(place / "out"))
    finally:
        subprocess.run(["umount", "-l", str(place)])


def result_on_a_full_disk(world: World) -> str:
    """Notebook 2 where there is room for all but its result."""
    place = world.fresh() / "out"
    place.mkdir()
    (place / "result.json.writing").symlink_to("/dev/full")
    said = taught(world, output_dir=str(place))
    return said if not (place / "result.json").exists() else "half a result was left"


def published(world: World) -> str:
    """The last cell of a notebook, run twice."""
    given = {
        "teacher": "",
        "corpus": str(world.corpus),
        **SHAPE,
        **TRAINED,
        "output_dir": str(world.fresh() / "out"),
    }
    run = stage.begin("teacher_continuation", given)
    stage.finish(run, {})
    return line_of(lambda: stage.finish(run, {}))
