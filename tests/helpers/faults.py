"""Run what a user would run (`make report`'s check of the plan, a notebook, a training) on bad
input or with a fault. tests/helpers/fault_table.py lists the faults and the expected messages."""

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

NO_ERROR = "no error: "
SHAPE = {"layers": 2, "hidden": 16, "heads": 2, "intermediate": 32, "dropout": 0.0}
TRAINING = {
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
NER_RECORDS = [
    {"sentence": text, "target": "persName" if number % 2 else "noEntity"}
    for number, text in enumerate(SENTENCES)
]


class Workspace:
    """A folder with the inputs that the faults need: texts, task files, and a prepared corpus and
    its teacher, which are made on first use."""

    def __init__(self, folder: Path):
        self.folder = folder

    def new_folder(self) -> Path:
        """Make an empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def prepare_corpus(self, tokenizer: str) -> Path:
        folder = self.folder / tokenizer.replace(":", "-")
        small.prepare_corpus(folder, tokenizer=tokenizer)
        return folder

    @cached_property
    def corpus(self) -> Path:
        return self.prepare_corpus("train:wordpiece")

    @cached_property
    def other_corpus(self) -> Path:
        return self.prepare_corpus("train:herbert_bpe")

    @cached_property
    def teacher(self) -> Path:
        p = validate("teacher_continuation", {"corpus": str(self.corpus), **SHAPE, **TRAINING})
        corpus = open_corpus(self.corpus)
        pretraining.save(
            pretraining.starting_teacher(p, corpus), corpus.tokenizer(), self.folder / "teacher"
        )
        return self.folder / "teacher"

    def text_file(self, content: str | bytes, name: str = "text.txt") -> Path:
        path = self.new_folder() / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def task_files(self, name: str = "", content: str | bytes | None = None) -> Path:
        """Write the files of the task nkjp-ner; the file `name` gets other content, or is left out
        if that is None. Returns the task folder."""
        folder = self.new_folder()
        task = folder / "klej" / "nkjp-ner"
        task.mkdir(parents=True)
        for split in ("train", "validation"):
            (task / f"{split}.jsonl").write_text(
                "".join(json.dumps(record) + "\n" for record in NER_RECORDS)
            )
        if name and content is None:
            (task / name).unlink()
        elif name:
            (task / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    def copy(self, folder: Path) -> Path:
        return Path(shutil.copytree(folder, self.new_folder() / folder.name))


# ---------------------------------------------------------------------------- what a user would run


def capture_message(action: Callable[[], object]) -> str:
    """Run `action`; returns what the user reads: the message of one of our own errors, "Traceback"
    and the error for any other, else the printed lines about damaged and resumed checkpoints."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            action()
    except (InputError, Diverged, Stopped) as error:
        return "\n".join(error._render_traceback_()).removeprefix("InputError: ")
    except Exception as error:
        return f"Traceback: {type(error).__name__}: {error}"
    return "; ".join(
        line for line in printed.getvalue().splitlines() if "damaged" in line or "resumed" in line
    )


def check_plan(
    workspace: Workspace, *, edit: dict | None = None, write: dict | None = None, **arguments: str
) -> str:
    """Run `make report`'s check of the plan on a copy of params/; returns its message.

    edit: values to change ("herbert/smoke.yaml a.b" -> value); write: files to write (path ->
    content); arguments: those of the command line, and `outputs`, to which outputs/ is linked.
    """
    folder = workspace.new_folder()
    shutil.copytree(ROOT / "params", folder / "params")
    for path, content in (write or {}).items():
        (folder / "params" / path).parent.mkdir(exist_ok=True)
        (folder / "params" / path).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    for key_path, value in (edit or {}).items():
        file, _, keys = key_path.partition(" ")
        content = whole = yaml.safe_load((folder / "params" / file).read_text())
        *parents, last = keys.split(".")
        for key in parents:
            content = content[key]
        content[last] = value
        (folder / "params" / file).write_text(yaml.safe_dump(whole))
    if outputs := arguments.pop("outputs", None):
        (folder / "outputs").symlink_to(outputs)
    output = io.StringIO()
    arguments = {"scale": "smoke", "studies": "herbert"} | arguments
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(output):
        patch.setattr(places, "ROOT", folder)
        try:
            plan.main(
                [
                    "--check",
                    "--online",
                    *(f"--{key.replace('_', '-')}={value}" for key, value in arguments.items()),
                ]
            )
        except Exception as error:
            return f"Traceback: {type(error).__name__}: {error}"
    return output.getvalue().strip().removeprefix("error: ") or NO_ERROR


def run_notebook(workspace: Workspace, kind: str, **values) -> str:
    """Run a notebook cell by cell with these parameters; returns its message, or a summary of what
    it did after NO_ERROR."""
    cells = [
        cell.source
        for cell in nbformat.read(ROOT / "notebooks" / f"{KINDS[kind].notebook}.ipynb", 4).cells
        if cell.cell_type == "code"
    ]
    namespace: dict = {}
    exec(cells[0], namespace)
    namespace |= {"output_dir": str(workspace.new_folder() / "out"), "threads": 0} | values

    def run():
        try:
            for cell in cells[1:]:
                exec(cell, namespace)
        finally:
            for held in list(stage.HELD):
                locks.release(stage.HELD.pop(held))

    return capture_message(run) or NO_ERROR + _summarise(namespace)


def _summarise(namespace: dict) -> str:
    if statistics := namespace.get("statistics"):
        return (
            f"{statistics['lines']} lines, {statistics['sequences']} sequences, longest "
            f"{statistics['tokens_per_sequence']['max']} tokens"
        )
    return ", ".join(
        f"{row['task']} {row['metric']} {row['value']:.0f}" for row in namespace.get("rows", [])
    )


def run_data_prep(workspace: Workspace, path: Path | str = "", **values) -> str:
    """Run notebook 1 on a text file."""
    source = {"kind": "files", "path": str(path)} | values.pop("source", {})
    arguments = {
        "sources": [source],
        "tokenizer": "train:wordpiece",
        "vocab_size": 300,
        "held_out_lines": 5,
        "max_length": 32,
    }
    return run_notebook(workspace, "data_prep", **arguments | values)


def run_teacher(workspace: Workspace, **values) -> str:
    """Run notebook 2, from random weights."""
    return run_notebook(
        workspace,
        "teacher_continuation",
        **{"teacher": "", "corpus": str(workspace.corpus), **SHAPE, **TRAINING} | values,
    )


def run_distillation(workspace: Workspace, **values) -> str:
    """Run notebook 3."""
    arguments = {
        "teacher": str(workspace.teacher),
        "corpus": str(workspace.corpus),
        "student_layers": [0],
        **TRAINING,
    }
    return run_notebook(workspace, "distillation", **arguments | values)


def run_cascade(workspace: Workspace, **values) -> str:
    """Run notebook 4."""
    arguments = {
        "teacher": str(workspace.teacher),
        "corpus": str(workspace.corpus),
        "layers": 1,
        "section": 0,
        **TRAINING,
    }
    return run_notebook(workspace, "cascade_ta", **arguments | values)


def run_finetuning(workspace: Workspace, files: Path | None = None, **values) -> str:
    """Run notebook 5 on task files."""
    arguments = {
        "model": str(workspace.teacher),
        "tasks": ["nkjp-ner"],
        "task_source": "files",
        "task_folder": str(files or workspace.task_files()),
        "train_examples": 0,
        "seeds": [1],
        "epochs": 1,
        "learning_rate": 1e-3,
        "tracker": "none",
    }
    return run_notebook(workspace, "finetune", **arguments | values)


def resume_training(workspace: Workspace, damage: Callable[[Path], object]) -> str:
    """Stop a training of six steps after four, damage the folder of its checkpoints, and start it
    again; returns the message of the second run."""
    folder, corpus = workspace.new_folder() / "checkpoints", open_corpus(workspace.corpus)
    p = validate(
        "teacher_continuation", {"corpus": str(workspace.corpus), **SHAPE, **TRAINING, "steps": 6}
    )

    def run(stop: int = 0):
        def after(done):
            if done == stop:
                raise KeyboardInterrupt

        train(
            Distillation(pretraining.starting_teacher(p, corpus)),
            batches.batches(p, corpus),
            Recipe(1e-3, checkpoint_seconds=1e-9),
            folder=folder,
            quiet=True,
            after_step=after,
        )

    with contextlib.suppress(KeyboardInterrupt):
        run(4)
    damage(folder)
    return capture_message(run)


# ---------------------------------------------------------------------------------- damage to files


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file short."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def zero_out(path: Path) -> None:
    """Overwrite a file with zeros."""
    path.write_bytes(bytes(path.stat().st_size))


def edit_json(path: Path, **values) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def write_records(workspace: Workspace, **files: list[dict]) -> Path:
    """Write files of records to a new folder; two underscores in a name stand for a slash."""
    folder = workspace.new_folder()
    for name, rows in files.items():
        path = folder / f"{name.replace('__', '/')}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


# ------------------------------------------------------------------------ faults of several steps


def interrupt_training(number: int, workspace: Workspace) -> str:
    """Send a signal to a training in its third step."""
    folder, corpus = workspace.new_folder(), open_corpus(workspace.corpus)
    p = validate(
        "teacher_continuation", {"corpus": str(workspace.corpus), **SHAPE, **TRAINING, "steps": 6}
    )
    return capture_message(
        lambda: train(
            Distillation(pretraining.starting_teacher(p, corpus)),
            batches.batches(p, corpus),
            Recipe(1e-3),
            folder=folder,
            quiet=True,
            after_step=lambda done: done == 3 and os.kill(os.getpid(), number),
            name="distillation",
        )
    )


def rename_weights(folder: Path) -> None:
    """Rename the weights in the newest checkpoint, as if it were another model's."""
    state = checkpoints.newest(folder)
    state["model"] = {f"other.{name}": value for name, value in state["model"].items()}
    checkpoints.save(folder, state.pop("step"), state)


def put_nan_in_weights(folder: Path) -> None:
    """Set one weight of a saved model to nan."""
    model = models.load(folder)
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    model.save_pretrained(folder)


def remove_head(folder: Path) -> None:
    """Leave the encoder of a saved model alone."""
    models.load(folder).base_model.save_pretrained(folder)


def pickle_weights(folder: Path) -> None:
    """Replace a model's safetensors file by a pickle, which could run code."""
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def start_stage_twice(workspace: Workspace) -> str:
    """Run notebook 2 while another process holds the lock of the same stage."""
    folder = workspace.new_folder() / "out"
    code = (
        f"import pathlib, time; from lib.common import locks; path = "
        f"pathlib.Path({str(folder / 'scratch.lock')!r}); "
        "held = locks.take(path, 'the stage x', print); print(1, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    other.stdout.readline()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "PATIENCE", 0.0)
            return run_teacher(workspace, output_dir=str(folder))
    finally:
        other.kill()
        other.wait()


def fill_small_disk(workspace: Workspace) -> str:
    """Run notebook 1 on a file system of 300 kB; not tried where mounting one is not allowed."""
    folder = workspace.new_folder()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        return "not tried: mounting a file system is not allowed here"
    try:
        text = workspace.text_file(
            "\n".join(f"{number} {text}" for number in range(300) for text in SENTENCES)
        )
        return run_data_prep(workspace, text, output_dir=str(folder / "out"))
    finally:
        subprocess.run(["umount", "-l", str(folder)])


def fill_disk_at_result(workspace: Workspace) -> str:
    """Run notebook 2 with a full disk when it writes result.json."""
    folder = workspace.new_folder() / "out"
    folder.mkdir()
    (folder / "result.json.writing").symlink_to("/dev/full")
    output = run_teacher(workspace, output_dir=str(folder))
    return output if not (folder / "result.json").exists() else "result.json was written"


def publish_twice(workspace: Workspace) -> str:
    """Run the last cell of a notebook twice."""
    arguments = {
        "teacher": "",
        "corpus": str(workspace.corpus),
        **SHAPE,
        **TRAINING,
        "output_dir": str(workspace.new_folder() / "out"),
    }
    run = stage.begin("teacher_continuation", arguments)
    stage.finish(run, {})
    return capture_message(lambda: stage.finish(run, {}))
