"""A table of bad inputs and faults, each with the message that the user should read.

`python -m tests.helpers.fault_table` runs them all and prints a table of the messages.
"""

import gzip
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from lib.training import checkpoints
from tests.helpers import faults
from tests.helpers.faults import (
    Workspace,
    check_plan,
    edit_json,
    resume_training,
    run_cascade,
    run_data_prep,
    run_distillation,
    run_finetuning,
    run_teacher,
    truncate,
    write_records,
    zero_out,
)

LINES = "\n".join(faults.SENTENCES) + "\n"
HOSTILE = "a\0b \x1b[31m <script>alert(1)</script> \u202e x\n"


@dataclass(frozen=True)
class Fault:
    """One row of the table. run: tries the fault and returns the message that the user reads;
    expected: a regular expression for it."""

    area: str
    description: str
    run: Callable[[Workspace], str]
    expected: str


def parameter(description: str, key: str, value, expected: str) -> Fault:
    """A wrong value in params/herbert/smoke.yaml."""
    return Fault(
        "parameters",
        description,
        partial(check_plan, edit={f"herbert/smoke.yaml {key}": value}),
        expected,
    )


def scenario(description: str, name: str, expected: str) -> Fault:
    """A wrong name of a scenario."""
    edit = {"herbert/scenarios.yaml scenarios": {name: {"init": "random"}}}
    return Fault("parameters", description, partial(check_plan, edit=edit), expected)


def file(
    description: str, content: str | bytes, expected: str, path: str = "herbert/smoke.yaml"
) -> Fault:
    """A wrong file in params/."""
    return Fault("parameters", description, partial(check_plan, write={path: content}), expected)


def make(expected: str, **given: str) -> Fault:
    """Wrong arguments of `make report`."""
    description = " ".join(f"{name.upper()}={value}" for name, value in given.items())
    return Fault("make report", description, partial(check_plan, **given), expected)


CIRCLE = {
    "a/scenarios.yaml": "scenarios: {x: {init: random}}",
    "a/smoke.yaml": "uses: b",
    "b/scenarios.yaml": "scenarios: {y: {init: random}}",
    "b/smoke.yaml": "uses: a",
}
SAME_NAME_TWICE = "scenarios: {S1: {init: random}, S1: {init: truncated}}"
BAD_NAME = "has to begin with a letter or digit"

PARAMETERS = [
    parameter(
        "an unknown key",
        "distillation.temprature",
        2,
        r"^params/herbert/smoke.yaml: distillation: unknown key 'temprature'; allowed are ",
    ),
    parameter(
        "a word instead of a number",
        "distillation.learning_rate",
        "fast",
        r"learning_rate = 'fast': input should be a valid number",
    ),
    parameter(
        "a list instead of a number",
        "distillation.learning_rate",
        [1],
        r"learning_rate = \[1\]: input should be a valid number",
    ),
    parameter(
        "a negative number",
        "distillation.learning_rate",
        -1.0,
        r"learning_rate = -1.0: input should be greater than 0",
    ),
    parameter(
        "nan",
        "distillation.learning_rate",
        float("nan"),
        r"learning_rate = nan: input should be a finite number",
    ),
    parameter(
        "infinity",
        "distillation.temperature",
        float("inf"),
        r"temperature = inf: input should be a finite number",
    ),
    parameter(
        "nan for one task",
        "finetune.per_task",
        {"nkjp-ner": {"learning_rate": float("nan")}},
        r"per_task.nkjp-ner.learning_rate = nan: input should be a finite number",
    ),
    parameter(
        "a share above 1",
        "distillation.warmup",
        3,
        r"warmup = 3: input should be less than or equal to 1",
    ),
    parameter(
        "a fraction of a step",
        "distillation.steps",
        2.5,
        r"steps = 2.5: input should be a valid integer",
    ),
    parameter("a study that uses itself", "uses", "herbert", r"uses: a study cannot use itself"),
    parameter(
        "a corpus made from itself",
        "corpora.teacher.tokenizer",
        "same-as:transfer",
        r"teacher: is made from itself",
    ),
    parameter(
        "a teacher that starts from itself",
        "teachers.T1",
        {"start": "T2", "corpus": "teacher"},
        r"teachers.T[12]: is made from itself",
    ),
    parameter(
        "a layer that the teacher does not have",
        "distillation.student_layers",
        [9],
        r"student_layers: layer 9 is not there; the teacher T1 has layers 0 … 1",
    ),
    parameter(
        "another tokenizer for the student",
        "corpora.transfer.tokenizer",
        "train:wordpiece",
        r"teacher and student tokenizers differ",
    ),
    parameter("an unknown task", "finetune.tasks", ["nkjp"], r"unknown task 'nkjp'; known are "),
    parameter("the same seed twice", "finetune.seeds", [1, 1], r"seeds \[1, 1\] repeat one"),
    parameter(
        "an unknown tracker",
        "distillation.tracker",
        "excel",
        r"tracker = 'excel': input should be 'none' or 'tensorboard'",
    ),
    scenario("a scenario named as a path", "../../x", rf"scenarios: the name '../../x' {BAD_NAME}"),
    scenario(
        "a scenario named <script>",
        "<script>alert(1)</script>",
        rf"the name '<script>alert\(1\)</script>' {BAD_NAME}",
    ),
    scenario(
        "a scenario named as a teacher", "T1", r"scenarios.T1: the name is taken by a teacher"
    ),
    file(
        "two scenarios with the same name",
        SAME_NAME_TWICE,
        r"'S1' stands twice, again at line 1",
        "herbert/scenarios.yaml",
    ),
    file("invalid YAML", "a: [1, 2\nb: }", r"smoke.yaml: while parsing .* line 2"),
    file(
        "YAML that would run code",
        "a: !!python/object/apply:os.system [ls]",
        r"could not determine a constructor for the tag",
    ),
    file("an empty file", "", r"smoke.yaml: must hold keys and values"),
    file(
        "a file that is not UTF-8",
        "tytuł: źle".encode("iso8859-2"),
        r"smoke.yaml: 'utf-8' codec can't decode",
    ),
    file("a NUL character in a file", "a: \0", r"smoke.yaml: .*special characters are not allowed"),
    Fault(
        "parameters",
        "two studies that use each other",
        partial(check_plan, write=CIRCLE, studies="a"),
        r"params/b/smoke.yaml: uses: a study cannot use itself, directly or through others: a uses b uses a",
    ),
    Fault(
        "parameters",
        "a misspelt parameter in a notebook",
        partial(run_distillation, temprature=4),
        r"^notebooks/3_distillation.ipynb: unknown key 'temprature'",
    ),
    make(r"SCALE: the study herbert has no scale 'huge'; it has gpuday, ", scale="huge"),
    make(r"SCALE: the study herbert has no scale '../x'", scale="../x"),
    make(r"STUDIES: there is no study 'herbrt'; there are ", studies="herbrt"),
    make(r"STUDIES: there is no study '../../etc'", studies="../../etc"),
    make(r"name its folder, as in make report SCALE=local DATA_DIR=", scale="local"),
    make(r"DATA_DIR: there is no folder /no/such", scale="local", data_dir="/no/such"),
    make(r"DATA_DIR: there is no folder /etc/passwd", scale="local", data_dir="/etc/passwd"),
    make(r"CORES = '0'; allowed is a whole number, 1 or more", cores="0"),
    make(r"CORES = 'many'; allowed is a whole number, 1 or more", cores="many"),
    make(r"GPUS = '-1'; allowed is a whole number, 0 or more", gpus="-1"),
]


def text(
    description: str, content: str | bytes, expected: str, name: str = "text.txt", **values
) -> Fault:
    """A text file that notebook 1 reads."""
    return Fault(
        "text",
        description,
        lambda workspace: run_data_prep(workspace, workspace.text_file(content, name), **values),
        expected,
    )


def corpus(description: str, damage: Callable[[Path], object], expected: str) -> Fault:
    """A damaged prepared corpus that notebook 2 reads."""
    return Fault(
        "prepared corpus",
        description,
        lambda workspace: run_teacher(
            workspace, corpus=str(damaged_copy(workspace, "corpus", damage))
        ),
        expected,
    )


def damaged_copy(workspace: Workspace, name: str, damage: Callable[[Path], object]) -> Path:
    """Copy the corpus or teacher of the workspace and damage the copy."""
    copied = workspace.copy(getattr(workspace, name))
    damage(copied)
    return copied


def data_file(folder: Path) -> Path:
    """The Arrow file of a prepared corpus."""
    return next((folder / "data").glob("*.arrow"))


def run_with_empty_language(workspace: Workspace) -> str:
    """Prepare a corpus sampled by language from two languages, one of which has no text."""
    sources = [
        {"kind": "files", "path": str(workspace.text_file(content)), "language": language}
        for language, content in (("en", LINES), ("is", "\n"))
    ]
    return run_data_prep(workspace, sources=sources, sampling_exponent=0.5)


def run_with_truncated_tokenizer(workspace: Workspace) -> str:
    folder = damaged_copy(
        workspace, "corpus", lambda folder: truncate(folder / "tokenizer" / "tokenizer.json")
    )
    return run_data_prep(workspace, workspace.text_file(LINES), tokenizer=str(folder / "tokenizer"))


TEXT = [
    text("an empty file", "", r"no line of 0 is left \(nothing to read\)"),
    text("blank lines alone", "\n  \n\n", r"no line of 3 is left \(blank 3\)"),
    Fault(
        "text",
        "a missing file",
        lambda workspace: run_data_prep(workspace, workspace.new_folder() / "gone.txt"),
        r"gone.txt does not exist; allowed: a file, a folder or a glob",
    ),
    Fault(
        "text",
        "a folder without text",
        lambda workspace: run_data_prep(workspace, workspace.new_folder()),
        r"has no text file; allowed: .txt",
    ),
    text(
        "a file that is not UTF-8",
        "dobra\nzażółć\n".encode("iso8859-2"),
        r"text.txt, line 2: not UTF-8",
    ),
    text("a binary file", bytes(range(256)) * 9, r"text.txt, line \d: not UTF-8"),
    text(
        "a truncated gzip file",
        gzip.compress(LINES.encode())[:-9],
        r"a.txt.gz, after line \d+: cannot be read",
        "a.txt.gz",
    ),
    text("plain text named .gz", LINES, r"a.txt.gz, after line 0: cannot be read", "a.txt.gz"),
    text("truncated records", '{"text": "one"}\n{"te', r"a.jsonl, line 2: not JSON", "a.jsonl"),
    text(
        "records without the column",
        '{"body": "one"}\n',
        r"line 1: no text in column 'text'; it has: body",
        "a.jsonl",
    ),
    text(
        "a number instead of a text",
        '{"text": 5}\n',
        r"line 1: no text in column 'text'",
        "a.jsonl",
    ),
    text(
        "half a surrogate pair",
        '{"text": "\\ud800"}\n',
        r"line 1: half a surrogate pair in 'text'",
        "a.jsonl",
    ),
    text(
        "NUL, control characters, <script>",
        LINES + HOSTILE,
        r"no error: 44 lines, 44 seq",
        cleaning="careful",
    ),
    text("the same, uncleaned", LINES + HOSTILE, r"no error: 44 lines, 44 sequences"),
    text(
        "a line of a million characters",
        LINES + "ab " * 333_333,
        r"no error: 44 lines, \d+ sequences, longest 32 tokens",
    ),
    text("a word of 10,000 characters", LINES + "a" * 10_000, r"no error: 44 lines"),
    text(
        "sequences of one token",
        "\n".join("abcdefgh"),
        r"no error: 6 lines, 6 sequences, longest 3 tokens",
        min_tokens=1,
        held_out_lines=2,
    ),
    text(
        "more lines held out than there are",
        LINES,
        r"held_out_lines: 500 of 48 different lines",
        held_out_lines=500,
    ),
    text("no line long enough", LINES, r"no line of 48 is left \(too_few_words 48\)", min_words=99),
    text(
        "a vocabulary smaller than the alphabet",
        LINES,
        r"vocab_size: 9 has no room for the characters",
        vocab_size=9,
    ),
    Fault(
        "text",
        "a language without text",
        run_with_empty_language,
        r"no line of is is left to sample; allowed: text in every language",
    ),
    text(
        "a target for a language without a source",
        LINES,
        r"sampling_target names is, of which there is no source",
        source={"language": "en"},
        sampling_target="en = 100 is",
    ),
    text(
        "a missing tokenizer",
        LINES,
        r"the folder no/such/folder does not exist",
        tokenizer="no/such/folder",
    ),
    Fault(
        "text",
        "a truncated tokenizer",
        run_with_truncated_tokenizer,
        r"tokenizer: .* cannot be loaded",
    ),
    Fault(
        "prepared corpus",
        "missing",
        lambda workspace: run_teacher(workspace, corpus=str(workspace.new_folder())),
        r"no prepared corpus; run notebook 1_data_prep first",
    ),
    corpus(
        "its data missing",
        lambda folder: data_file(folder).unlink(),
        r"is not whole \(.*\); run notebook 1_data_prep again",
    ),
    corpus(
        "its data truncated",
        lambda folder: truncate(data_file(folder), 0.6),
        r"the corpus is not whole",
    ),
    corpus(
        "its data overwritten with zeros",
        lambda folder: zero_out(data_file(folder)),
        r"the corpus is not whole",
    ),
    corpus(
        "its tokenizer missing",
        lambda folder: shutil.rmtree(folder / "tokenizer"),
        r"tokenizer: the folder .* does not exist",
    ),
    Fault(
        "prepared corpus",
        "a section that does not exist",
        partial(run_cascade, section=3),
        r"section = 3: the corpus .* has 1 sections; allowed is 0",
    ),
]


def task(
    description: str, content: str | bytes | None, expected: str, name: str = "train.jsonl"
) -> Fault:
    """A wrong file of the task nkjp-ner, which notebook 5 reads."""
    return Fault(
        "task",
        description,
        lambda workspace: run_finetuning(workspace, workspace.task_files(name, content)),
        expected,
    )


def other_task(
    description: str, name: str, make_files: Callable[[Workspace], Path], expected: str, **values
) -> Fault:
    """Wrong files of another task, which notebook 5 reads."""
    return Fault(
        "task",
        description,
        lambda workspace: run_finetuning(workspace, make_files(workspace), tasks=[name], **values),
        expected,
    )


def squad_files(start: list[int]) -> Callable[[Workspace], Path]:
    answers = {"text": ["king"], "answer_start": start}
    rows = [{"question": "who reads?", "context": "the old king reads", "answers": answers}]
    return lambda workspace: write_records(workspace, squad__train=rows, squad__validation=rows)


def stsb_files(label) -> Callable[[Workspace], Path]:
    rows = [{"sentence1": "a", "sentence2": "b", "label": label}]
    return lambda workspace: write_records(
        workspace, glue__stsb__train=rows, glue__stsb__validation=rows
    )


def xnli_files(workspace: Workspace) -> Path:
    rows = [{"premise": "a", "hypothesis": "b", "label": index} for index in range(3)]
    return write_records(workspace, glue__mnli__train=rows, xnli__en__test=rows)


ODD_TEXTS = [
    "",
    " ",
    "\0",
    "<script>alert('x')</script>",
    "\u202e\u200b",
    "a" * 5000,
    "a\tb\r\nc",
    "'; DROP TABLE --",
]
ODD_ROWS = "".join(
    f'{{"sentence": {faults.json.dumps(odd)}, "target": {index % 2}}}\n'
    for index, odd in enumerate(ODD_TEXTS)
)

TASKS = [
    task(
        "a missing file",
        None,
        r"no train.jsonl and no train.tsv and no train.csv; put the task's train records there",
    ),
    Fault(
        "task",
        "a missing folder",
        lambda workspace: run_finetuning(workspace, workspace.new_folder() / "gone"),
        r"gone/klej/nkjp-ner: no train.jsonl",
    ),
    task("an empty file", "", r"train.jsonl: no records; the task nkjp-ner needs at least one"),
    task(
        "a truncated file",
        '{"sentence": "a", "target": 1}\n{"sent',
        r"train.jsonl, record 2: not JSON",
    ),
    task(
        "a file that is not UTF-8",
        '{"sentence": "zażółć", "target": 1}\n'.encode("iso8859-2"),
        r"train.jsonl: not UTF-8",
    ),
    task("a binary file", bytes(range(256)), r"train.jsonl: not UTF-8"),
    task("lists instead of records", "[1, 2]\n", r"record 1: not a JSON object with columns"),
    task(
        "a missing column",
        '{"sentence": "a"}\n',
        r"record 1: no column 'target'; nkjp-ner needs sentence, target, found sentence",
    ),
    task(
        "a null label",
        '{"sentence": "a", "target": null}\n',
        r"record 1: an empty cell in column 'target'",
    ),
    task(
        "an unknown label",
        '{"sentence": "a", "target": "river"}\n',
        r"record 1: label 'river' is not one of geogName, ",
    ),
    task(
        "a label out of range",
        '{"sentence": "a", "target": 6}\n',
        r"record 1: label 6 is not one of .*, or 0 … 5",
    ),
    task(
        "a label -1, as in hidden tests",
        '{"sentence": "a", "target": -1}\n',
        r"label -1 marks a record without a label",
    ),
    task(
        "a list instead of a label",
        '{"sentence": "a", "target": ["time"]}\n',
        r"record 1: label \['time'\] is not one of",
    ),
    task(
        "an object instead of a text",
        '{"sentence": {"a": 1}, "target": 1}\n',
        r"record 1: sentence is not text: \{'a': 1\}",
    ),
    task(
        "only one class",
        '{"sentence": "a", "target": 1}\n{"sentence": "b", "target": 1}\n',
        r"train.jsonl: all 2 records have the label noEntity; training for nkjp-ner needs at least two classes",
    ),
    task(
        "empty, hostile and very long texts",
        ODD_ROWS,
        r"no error: nkjp-ner accuracy \d+",
        "validation.jsonl",
    ),
    other_task(
        "an answer that is not in its text",
        "squad",
        squad_files([7]),
        r"record 1: the answer 'king' is not at character 7 of the context",
        max_length=128,
        doc_stride=32,
    ),
    other_task(
        "answers without their starts",
        "squad",
        squad_files([]),
        r"answers need text and answer_start, two lists of the same length",
        max_length=128,
        doc_stride=32,
    ),
    other_task(
        "a similarity of nan", "stsb", stsb_files("nan"), r"label 'nan' is not a number from 0 to 5"
    ),
    other_task(
        "a language without a file",
        "xnli",
        xnli_files,
        r"xnli/ur: no test.jsonl and no test.tsv",
        languages=["en", "ur"],
    ),
]


def model(
    description: str,
    damage: Callable[[Path], object],
    expected: str,
    run: Callable = run_distillation,
) -> Fault:
    """A damaged model: the teacher of notebook 3 or 4, or the model of notebook 5."""
    key = "model" if run is run_finetuning else "teacher"
    return Fault(
        "model",
        description,
        lambda workspace: run(workspace, **{key: str(damaged_copy(workspace, "teacher", damage))}),
        expected,
    )


def remove_files(pattern: str) -> Callable[[Path], None]:
    """A function that removes the matching files of a folder."""
    return lambda folder: [path.unlink() for path in folder.glob(pattern)] and None


WEIGHTS, CONFIG = "model.safetensors", "config.json"
CUT_SHORT = r"model.safetensors is cut short or no safetensors file"
NOT_LOADED = r"model '.*' cannot be loaded as a masked language model \("
NO_VOCABULARY = r"tokenizer: .* has no vocabulary besides its special tokens; is its tokenizer.json or vocab.txt missing\?"

MODELS = [
    Fault(
        "model",
        "missing",
        partial(run_distillation, teacher="outputs/none/model"),
        r"no model there; run the stage that makes it first",
    ),
    Fault(
        "model",
        "a hub id while offline",
        partial(run_distillation, teacher="no/where"),
        r"no/where at .* the hub is offline",
    ),
    model("no configuration", remove_files(CONFIG), r"no model there; run the stage"),
    model(
        "a truncated configuration", lambda folder: truncate(folder / CONFIG), r"cannot be loaded"
    ),
    model(
        "a configuration of other sizes",
        lambda folder: edit_json(folder / CONFIG, hidden_size=32),
        r"the weight bert.* is of the shape \[.*, and by its config.json it is \[",
    ),
    model("no weights", remove_files(WEIGHTS), r"has no model.safetensors and no other weights"),
    model("truncated weights", lambda folder: truncate(folder / WEIGHTS), CUT_SHORT),
    model(
        "weights overwritten with zeros",
        lambda folder: zero_out(folder / WEIGHTS),
        CUT_SHORT,
    ),
    model(
        "a weight that is nan",
        faults.put_nan_in_weights,
        r"the weight bert.embeddings.word_embeddings.weight is not finite",
    ),
    model(
        "an encoder alone",
        faults.remove_head,
        r"the checkpoint lacks cls.predictions.bias and 5 more; it needs an encoder and a masked-",
    ),
    model("an encoder alone, for a hop", faults.remove_head, r"no error", run_cascade),
    model(
        "pickled weights, which could run code",
        faults.pickle_weights,
        r"convert it, in its folder: python",
    ),
    model(
        "another architecture",
        lambda folder: edit_json(folder / CONFIG, model_type="gpt2"),
        r"is of the kind 'gpt2'; allowed are bert, roberta",
        run_finetuning,
    ),
    model(
        "code of its own",
        lambda folder: edit_json(folder / CONFIG, auto_map={"AutoConfig": "x.Y"}, model_type="x"),
        r"is of the kind 'x'; allowed are bert, roberta",
        run_finetuning,
    ),
    model("no tokenizer", remove_files("token*"), NO_VOCABULARY),
    model("no tokenizer, to fine-tune", remove_files("token*"), NO_VOCABULARY, run_finetuning),
    Fault(
        "model",
        "another vocabulary than the corpus",
        lambda workspace: run_distillation(workspace, corpus=str(workspace.other_corpus)),
        r"tokenizers of teacher .* and corpus .* differ: ",
    ),
    Fault(
        "model",
        "a layer it does not have",
        partial(run_distillation, student_layers=[5]),
        r"student_layers: \[5\], but the teacher has layers 0 … 1",
    ),
    Fault(
        "model",
        "an assistant as deep as its teacher",
        partial(run_cascade, layers=2),
        r"layers = 2: the teacher .* has 2; allowed are 1 … 1",
    ),
]


def checkpoint(description: str, damage: Callable[[Path], object], expected: str) -> Fault:
    """A training that is stopped in its fourth step and resumes from damaged checkpoints."""
    return Fault("checkpoint", description, partial(resume_training, damage=damage), expected)


def newest_checkpoint(folder: Path) -> Path:
    return checkpoints.every(folder)[-1]


def zero_some_weights(folder: Path) -> None:
    path = newest_checkpoint(folder)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(200) + content[middle + 200 :])


SKIPPED = r"step-000000003.pt is damaged; trying the checkpoint before it; resumed after step 2"

CHECKPOINTS = [
    checkpoint("truncated", lambda folder: truncate(newest_checkpoint(folder)), SKIPPED),
    checkpoint(
        "overwritten with zeros", lambda folder: zero_out(newest_checkpoint(folder)), SKIPPED
    ),
    checkpoint("some weights overwritten with zeros", zero_some_weights, SKIPPED),
    checkpoint(
        "a pickle that would run code",
        lambda folder: torch.save({"step": 3, "x": os.system}, newest_checkpoint(folder)),
        SKIPPED,
    ),
    checkpoint(
        "both damaged",
        lambda folder: [truncate(path) for path in checkpoints.every(folder)],
        r"^step.*3.pt is damaged.*2.pt is damaged; trying the checkpoint before it$|damaged.*damaged",
    ),
    checkpoint(
        "half written after a power failure",
        lambda folder: (folder / "step-000000009.pt.writing").write_bytes(b"x"),
        r"^resumed after step 3$",
    ),
    checkpoint(
        "of another model",
        faults.rename_weights,
        r"the checkpoint there belongs to another training .*; remove the folder",
    ),
    checkpoint(
        "a full disk",
        lambda folder: (folder / "step-000000004.pt.writing").symlink_to("/dev/full"),
        r"step-000000004.pt cannot be written: the disk is full",
    ),
]

DIVERGING = {"learning_rate": 1e30, "steps": 6, "clip_norm": 0.0, "warmup": 0.0}
STOPPED = "Stopped: distillation after step 3 of 6; start it again to go on from there"

RUNNING = [
    Fault(
        "disk",
        "full when the result is written",
        faults.fill_disk_at_result,
        r"result.json cannot be written: the disk is full",
    ),
    Fault(
        "disk",
        "full during data preparation",
        faults.fill_small_disk,
        r"cannot be written: the disk is full|not tried",
    ),
    Fault(
        "disk",
        "read-only results",
        partial(check_plan, outputs="/sys"),
        r"outputs/smoke cannot be written: (the file system is read-only|there is no right)",
    ),
    Fault(
        "disk",
        "a file instead of the results folder",
        partial(check_plan, outputs="/etc/passwd"),
        r"outputs/smoke cannot be written: a file stands where a folder is needed",
    ),
    Fault(
        "disk",
        "a stage's read-only folder",
        partial(run_teacher, output_dir="/sys/out"),
        r"/sys/out cannot be written: ",
    ),
    Fault(
        "disk",
        "a stage's folder below a file",
        partial(run_teacher, output_dir="/etc/passwd/out"),
        r"cannot be written: a file stands where a folder is needed",
    ),
    Fault("running", "Ctrl-C", partial(faults.interrupt_training, signal.SIGINT), STOPPED),
    Fault(
        "running",
        "a cluster's cancel (SIGTERM)",
        partial(faults.interrupt_training, signal.SIGTERM),
        STOPPED,
    ),
    Fault(
        "running",
        "the terminal closed (SIGHUP)",
        partial(faults.interrupt_training, signal.SIGHUP),
        STOPPED,
    ),
    Fault(
        "running",
        "two processes on one stage",
        faults.start_stage_twice,
        r"is in use by the stage x, process \d+ on .*; wait for it, or end it",
    ),
    Fault(
        "running",
        "a learning rate at which the training diverges",
        partial(run_teacher, **DIVERGING),
        r"Diverged: 2 layers: .* (at|after) step \d.*checkpoint",
    ),
    Fault(
        "running",
        "a stage that is already published",
        faults.publish_twice,
        r"is published already; to make it again, run the notebook",
    ),
    Fault(
        "running",
        "fp16 without a GPU",
        partial(run_distillation, precision="fp16", weight_mlm=1.0),
        r"precision: fp16 needs a GPU",
    ),
]

FAULTS = PARAMETERS + TEXT + TASKS + MODELS + CHECKPOINTS + RUNNING


def markdown() -> str:
    """Try every fault; returns a table of the messages, with those that were not expected."""
    rows = ["| | area | fault | message |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for number, fault in enumerate(FAULTS, 1):
            output = fault.run(workspace)
            message = (
                re.sub(rf"{folder}(/tmp\w+)?", "…", output).replace("|", "\\|").replace("<", "&lt;")
            )
            wrong = "" if re.search(fault.expected, output) else " **unexpected**"
            rows.append(
                f"| {number} | {fault.area} | {fault.description.replace('<', '&lt;')} | "
                f"{message[:240]}{wrong} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown())
