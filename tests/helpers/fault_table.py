"""The table of bad inputs and faults: what is wrong, how it is tried, what answers. python -m
tests.helpers.fault_table prints it."""

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
    TRAINED,
    World,
    change,
    check,
    cut,
    distilled,
    finetuned,
    prepared,
    records,
    taught,
    trained,
    zero,
)

LINES = "\n".join(faults.SENTENCES) + "\n"
HOSTILE = "a\0b \x1b[31m <script>alert(1)</script> \u202e x\n"


@dataclass(frozen=True)
class Fault:
    """One row: what it is about, what is wrong, how it is tried, and a regular expression of the
    line that answers."""

    about: str
    what: str
    tried: Callable[[World], str]
    answer: str


def parameter(what: str, key: str, value, answer: str) -> Fault:
    """A value in params/herbert/smoke.yaml."""
    return Fault(
        "parameters", what, partial(check, edit={f"herbert/smoke.yaml {key}": value}), answer
    )


def scenario(what: str, name: str, answer: str) -> Fault:
    """A scenario's name."""
    edit = {"herbert/scenarios.yaml scenarios": {name: {"init": "random"}}}
    return Fault("parameters", what, partial(check, edit=edit), answer)


def file(what: str, content: str | bytes, answer: str, path: str = "herbert/smoke.yaml") -> Fault:
    """A file of params/."""
    return Fault("parameters", what, partial(check, write={path: content}), answer)


def make(answer: str, **given: str) -> Fault:
    """What follows `make report`."""
    words = " ".join(f"{name.upper()}={value}" for name, value in given.items())
    return Fault("make report", words, partial(check, **given), answer)


CIRCLE = {
    "a/scenarios.yaml": "scenarios: {x: {init: random}}",
    "a/smoke.yaml": "uses: b",
    "b/scenarios.yaml": "scenarios: {y: {init: random}}",
    "b/smoke.yaml": "uses: a",
}
TWICE = "scenarios: {S1: {init: random}, S1: {init: truncated}}"
NAMES = "has to begin with a letter or digit"

PARAMETERS = [
    parameter(
        "an unknown key",
        "distillation.temprature",
        2,
        r"^params/herbert/smoke.yaml: distillation: unknown key 'temprature'; allowed are ",
    ),
    parameter(
        "a word for a number",
        "distillation.learning_rate",
        "fast",
        r"learning_rate = 'fast': input should be a valid number",
    ),
    parameter(
        "a list for a number",
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
        "half a step", "distillation.steps", 2.5, r"steps = 2.5: input should be a valid integer"
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
        "a layer the teacher lacks",
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
    parameter("a seed twice", "finetune.seeds", [1, 1], r"seeds \[1, 1\] repeat one"),
    parameter(
        "an unknown tracker",
        "distillation.tracker",
        "excel",
        r"tracker = 'excel': input should be 'none' or 'tensorboard'",
    ),
    scenario("a scenario named as a path", "../../x", rf"scenarios: the name '../../x' {NAMES}"),
    scenario(
        "a scenario named <script>",
        "<script>alert(1)</script>",
        rf"the name '<script>alert\(1\)</script>' {NAMES}",
    ),
    scenario(
        "a scenario named as a teacher", "T1", r"scenarios.T1: the name is taken by a teacher"
    ),
    file(
        "two scenarios of one name",
        TWICE,
        r"'S1' stands twice, again at line 1",
        "herbert/scenarios.yaml",
    ),
    file("no YAML", "a: [1, 2\nb: }", r"smoke.yaml: while parsing .* line 2"),
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
    file("a NUL in a file", "a: \0", r"smoke.yaml: .*special characters are not allowed"),
    Fault(
        "parameters",
        "two studies that use each other",
        partial(check, write=CIRCLE, studies="a"),
        r"params/b/smoke.yaml: uses: a study cannot use itself, also not by way of others: a uses b uses a",
    ),
    Fault(
        "parameters",
        "a misspelt one in a notebook",
        partial(distilled, temprature=4),
        r"^notebooks/3_distillation.ipynb: unknown key 'temprature'",
    ),
    make(r"SCALE: the study herbert has no scale 'huge'; it has local, ", scale="huge"),
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


def text(what: str, content: str | bytes, answer: str, name: str = "text.txt", **values) -> Fault:
    """A text file, in notebook 1."""
    return Fault(
        "text", what, lambda world: prepared(world, world.text(content, name), **values), answer
    )


def corpus(what: str, spoil: Callable[[Path], object], answer: str) -> Fault:
    """A prepared folder, in notebook 2."""
    return Fault(
        "prepared corpus",
        what,
        lambda world: taught(world, corpus=str(spoiled(world, "corpus", spoil))),
        answer,
    )


def spoiled(world: World, what: str, spoil: Callable[[Path], object]) -> Path:
    """A copy of a folder of the world, to which something was done."""
    copied = world.copy(getattr(world, what))
    spoil(copied)
    return copied


def data(folder: Path) -> Path:
    """The file of a prepared corpus."""
    return next((folder / "data").glob("*.arrow"))


def two_languages(world: World) -> str:
    """A corpus sampled by language, one of which has no text."""
    sources = [
        {"kind": "files", "path": str(world.text(content)), "language": language}
        for language, content in (("en", LINES), ("is", "\n"))
    ]
    return prepared(world, sources=sources, sampling_exponent=0.5)


def cut_tokenizer(world: World) -> str:
    folder = spoiled(world, "corpus", lambda folder: cut(folder / "tokenizer" / "tokenizer.json"))
    return prepared(world, world.text(LINES), tokenizer=str(folder / "tokenizer"))


TEXT = [
    text("an empty file", "", r"no line of 0 is left \(nothing to read\)"),
    text("blank lines alone", "\n  \n\n", r"no line of 3 is left \(blank 3\)"),
    Fault(
        "text",
        "a file that has vanished",
        lambda world: prepared(world, world.fresh() / "gone.txt"),
        r"gone.txt does not exist; allowed: a file, a folder or a glob",
    ),
    Fault(
        "text",
        "a folder without text",
        lambda world: prepared(world, world.fresh()),
        r"has no text file; allowed: .txt",
    ),
    text(
        "a file that is not UTF-8",
        "dobra\nzażółć\n".encode("iso8859-2"),
        r"text.txt, line 2: not UTF-8",
    ),
    text("a binary file", bytes(range(256)) * 9, r"text.txt, line \d: not UTF-8"),
    text(
        "a packed file cut short",
        gzip.compress(LINES.encode())[:-9],
        r"a.txt.gz, after line \d+: cannot be read",
        "a.txt.gz",
    ),
    text(
        "a packed file that is none", LINES, r"a.txt.gz, after line 0: cannot be read", "a.txt.gz"
    ),
    text("records cut short", '{"text": "one"}\n{"te', r"a.jsonl, line 2: not JSON", "a.jsonl"),
    text(
        "records without the column",
        '{"body": "one"}\n',
        r"line 1: no text in column 'text'; it has: body",
        "a.jsonl",
    ),
    text("a number for a text", '{"text": 5}\n', r"line 1: no text in column 'text'", "a.jsonl"),
    text(
        "half a surrogate pair",
        '{"text": "\\ud800"}\n',
        r"line 1: half a surrogate pair in 'text'",
        "a.jsonl",
    ),
    text(
        "NUL, control characters, <script>",
        LINES + HOSTILE,
        r"goes on: 44 lines, 44 seq",
        cleaning="careful",
    ),
    text("the same, uncleaned", LINES + HOSTILE, r"goes on: 44 lines, 44 sequences"),
    text(
        "a line of a million characters",
        LINES + "ab " * 333_333,
        r"goes on: 44 lines, \d+ sequences, longest 32 tokens",
    ),
    text("a word of 10,000 characters", LINES + "a" * 10_000, r"goes on: 44 lines"),
    text(
        "sequences of one token",
        "\n".join("abcdefgh"),
        r"goes on: 6 lines, 6 sequences, longest 3 tokens",
        min_tokens=1,
        held_out_lines=2,
    ),
    text(
        "more held out than there is",
        LINES,
        r"held_out_lines: 500 of 48 different lines",
        held_out_lines=500,
    ),
    text("no line long enough", LINES, r"no line of 48 is left \(too_few_words 48\)", min_words=99),
    text(
        "a vocabulary below the alphabet",
        LINES,
        r"vocab_size: 9 has no room for the characters",
        vocab_size=9,
    ),
    Fault(
        "text",
        "an empty language",
        two_languages,
        r"no line of is is left to sample; allowed: text in every language",
    ),
    text(
        "a target for a language not there",
        LINES,
        r"sampling_target names is, of which there is no source",
        source={"language": "en"},
        sampling_target="en = 100 is",
    ),
    text(
        "a tokenizer that is not there",
        LINES,
        r"the folder no/such/folder does not exist",
        tokenizer="no/such/folder",
    ),
    Fault("text", "a tokenizer cut short", cut_tokenizer, r"tokenizer: .* cannot be loaded"),
    Fault(
        "prepared corpus",
        "not there",
        lambda world: taught(world, corpus=str(world.fresh())),
        r"no prepared corpus; run notebook 1_data_prep first",
    ),
    corpus(
        "its data gone",
        lambda folder: data(folder).unlink(),
        r"is not whole \(.*\); run notebook 1_data_prep again",
    ),
    corpus("its data cut short", lambda folder: cut(data(folder), 0.6), r"the corpus is not whole"),
    corpus("its data zeros", lambda folder: zero(data(folder)), r"the corpus is not whole"),
    corpus(
        "its tokenizer gone",
        lambda folder: shutil.rmtree(folder / "tokenizer"),
        r"tokenizer: the folder .* does not exist",
    ),
    Fault(
        "prepared corpus",
        "a section it lacks",
        lambda world: faults.notebook(
            world,
            "cascade_ta",
            teacher=str(world.teacher),
            corpus=str(world.corpus),
            layers=1,
            section=3,
            **TRAINED,
        ),
        r"section = 3: the corpus .* has 1 sections; allowed is 0",
    ),
]


def task(what: str, content: str | bytes | None, answer: str, name: str = "train.jsonl") -> Fault:
    """A file of the task nkjp-ner, in notebook 5."""
    return Fault("task", what, lambda world: finetuned(world, world.tasks(name, content)), answer)


def other_task(what: str, name: str, made: Callable[[World], Path], answer: str, **values) -> Fault:
    """Files of another task, in notebook 5."""
    return Fault(
        "task", what, lambda world: finetuned(world, made(world), tasks=[name], **values), answer
    )


def squad(start: list[int]) -> Callable[[World], Path]:
    answers = {"text": ["king"], "answer_start": start}
    rows = [{"question": "who reads?", "context": "the old king reads", "answers": answers}]
    return lambda world: records(world, squad__train=rows, squad__validation=rows)


def stsb(label) -> Callable[[World], Path]:
    rows = [{"sentence1": "a", "sentence2": "b", "label": label}]
    return lambda world: records(world, glue__stsb__train=rows, glue__stsb__validation=rows)


def xnli(world: World) -> Path:
    rows = [{"premise": "a", "hypothesis": "b", "label": index} for index in range(3)]
    return records(world, glue__mnli__train=rows, xnli__en__test=rows)


ODD = [
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
    for index, odd in enumerate(ODD)
)

TASKS = [
    task(
        "a file that has vanished",
        None,
        r"no train.jsonl and no train.tsv; put the task's train records there",
    ),
    Fault(
        "task",
        "a folder that is not there",
        lambda world: finetuned(world, world.fresh() / "gone"),
        r"gone/klej/nkjp-ner: no train.jsonl",
    ),
    task("an empty file", "", r"train.jsonl: no records; the task nkjp-ner needs at least one"),
    task(
        "a file cut short",
        '{"sentence": "a", "target": 1}\n{"sent',
        r"train.jsonl, record 2: not JSON",
    ),
    task(
        "a file that is not UTF-8",
        '{"sentence": "zażółć", "target": 1}\n'.encode("iso8859-2"),
        r"train.jsonl: not UTF-8",
    ),
    task("a binary file", bytes(range(256)), r"train.jsonl: not UTF-8"),
    task("lists for records", "[1, 2]\n", r"record 1: not a JSON object with columns"),
    task(
        "a column missing",
        '{"sentence": "a"}\n',
        r"record 1: no column 'target'; nkjp-ner needs sentence, target, found sentence",
    ),
    task(
        "a label null",
        '{"sentence": "a", "target": null}\n',
        r"record 1: nothing in column 'target'",
    ),
    task(
        "a label that is none",
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
        "a list for a label",
        '{"sentence": "a", "target": ["time"]}\n',
        r"record 1: label \['time'\] is not one of",
    ),
    task(
        "an object for a text",
        '{"sentence": {"a": 1}, "target": 1}\n',
        r"record 1: sentence is not text: \{'a': 1\}",
    ),
    task(
        "one class alone",
        '{"sentence": "a", "target": 1}\n{"sentence": "b", "target": 1}\n',
        r"train.jsonl: all 2 records have the label noEntity; training for nkjp-ner needs at least two classes",
    ),
    task(
        "empty, hostile and very long texts",
        ODD_ROWS,
        r"goes on: nkjp-ner accuracy \d+",
        "validation.jsonl",
    ),
    other_task(
        "an answer that is not in its text",
        "squad",
        squad([7]),
        r"record 1: the answer 'king' is not at character 7 of the context",
        max_length=128,
        doc_stride=32,
    ),
    other_task(
        "answers without their starts",
        "squad",
        squad([]),
        r"answers need text and answer_start, two lists of the same length",
        max_length=128,
        doc_stride=32,
    ),
    other_task(
        "a similarity of nan", "stsb", stsb("nan"), r"label 'nan' is not a number from 0 to 5"
    ),
    other_task(
        "a language without its file",
        "xnli",
        xnli,
        r"xnli/ur: no test.jsonl and no test.tsv",
        languages=["en", "ur"],
    ),
]


def model(
    what: str, spoil: Callable[[Path], object], answer: str, tried: Callable = distilled
) -> Fault:
    """A model folder, as the teacher in notebook 3 or the model in notebook 5."""
    key = "teacher" if tried is distilled else "model"
    return Fault(
        "model",
        what,
        lambda world: tried(world, **{key: str(spoiled(world, "teacher", spoil))}),
        answer,
    )


def drop(pattern: str) -> Callable[[Path], None]:
    """Removes files of a folder."""
    return lambda folder: [path.unlink() for path in folder.glob(pattern)] and None


WEIGHTS, CONFIG = "model.safetensors", "config.json"
NOT_LOADED = r"model '.*' cannot be loaded as a BERT masked language model \("
NO_VOCABULARY = r"tokenizer: .* has no vocabulary besides its special tokens; is its tokenizer.json or vocab.txt missing\?"

MODELS = [
    Fault(
        "model",
        "not there",
        partial(distilled, teacher="outputs/none/model"),
        r"no model there; run the stage that makes it first",
    ),
    Fault(
        "model",
        "a hub id, offline",
        partial(distilled, teacher="no/where"),
        r"no/where at .* the hub is offline",
    ),
    model("no configuration", drop(CONFIG), r"no model there; run the stage"),
    model("a configuration cut short", lambda folder: cut(folder / CONFIG), r"cannot be loaded"),
    model(
        "a configuration of other sizes",
        lambda folder: change(folder / CONFIG, hidden_size=32),
        NOT_LOADED + "its configuration and its weights are of different sizes",
    ),
    model("no weights", drop(WEIGHTS), NOT_LOADED),
    model("weights cut short", lambda folder: cut(folder / WEIGHTS), NOT_LOADED),
    model("weights overwritten with zeros", lambda folder: zero(folder / WEIGHTS), NOT_LOADED),
    model(
        "weights that are no numbers",
        faults.not_finite,
        r"the weight bert.embeddings.word_embeddings.weight is not finite",
    ),
    model("pickled weights, which could run code", faults.pickled, NOT_LOADED),
    model(
        "another architecture",
        lambda folder: change(folder / CONFIG, model_type="gpt2"),
        r"is of the kind 'gpt2'; allowed are bert and distilbert",
        finetuned,
    ),
    model(
        "code of its own",
        lambda folder: change(folder / CONFIG, auto_map={"AutoConfig": "x.Y"}, model_type="x"),
        r"cannot be loaded",
        finetuned,
    ),
    model("no tokenizer", drop("token*"), NO_VOCABULARY),
    model("no tokenizer, to fine-tune", drop("token*"), NO_VOCABULARY, finetuned),
    Fault(
        "model",
        "a vocabulary that is not the corpus's",
        lambda world: distilled(world, corpus=str(world.other_corpus)),
        r"tokenizers of teacher .* and corpus .* differ: ",
    ),
    Fault(
        "model",
        "a layer it does not have",
        partial(distilled, student_layers=[5]),
        r"student_layers: \[5\], but the teacher has layers 0 … 1",
    ),
    Fault(
        "model",
        "an assistant as deep as its teacher",
        lambda world: faults.notebook(
            world,
            "cascade_ta",
            teacher=str(world.teacher),
            corpus=str(world.corpus),
            layers=2,
            section=0,
            **TRAINED,
        ),
        r"layers = 2: the teacher .* has 2; allowed are 1 … 1",
    ),
]


def checkpoint(what: str, spoil: Callable[[Path], object], answer: str) -> Fault:
    """A training that was stopped after its third step, and the folder of its checkpoints."""
    return Fault("checkpoint", what, partial(trained, spoil=spoil), answer)


def newest(folder: Path) -> Path:
    return checkpoints.every(folder)[-1]


def zeros_within(folder: Path) -> None:
    content, middle = newest(folder).read_bytes(), newest(folder).stat().st_size // 2
    newest(folder).write_bytes(content[:middle] + bytes(200) + content[middle + 200 :])


PASSED_OVER = r"step-000000003.pt is damaged; trying the checkpoint before it; resumed after step 2"

CHECKPOINTS = [
    checkpoint("cut short", lambda folder: cut(newest(folder)), PASSED_OVER),
    checkpoint("zeros", lambda folder: zero(newest(folder)), PASSED_OVER),
    checkpoint("some weights overwritten with zeros", zeros_within, PASSED_OVER),
    checkpoint(
        "a pickle that would run code",
        lambda folder: torch.save({"step": 3, "x": os.system}, newest(folder)),
        PASSED_OVER,
    ),
    checkpoint(
        "both damaged",
        lambda folder: [cut(path) for path in checkpoints.every(folder)],
        r"^step.*3.pt is damaged.*2.pt is damaged; trying the checkpoint before it$|damaged.*damaged",
    ),
    checkpoint(
        "half written when power failed",
        lambda folder: (folder / "step-000000009.pt.writing").write_bytes(b"x"),
        r"^resumed after step 3$",
    ),
    checkpoint(
        "of another model",
        faults.of_another_model,
        r"the checkpoint there is of another training .*; remove the folder",
    ),
    checkpoint(
        "a full disk",
        lambda folder: (folder / "step-000000004.pt.writing").symlink_to("/dev/full"),
        r"step-000000004.pt cannot be written: the disk is full",
    ),
]

EXPLODES = {"learning_rate": 1e30, "steps": 6, "clip_norm": 0.0, "warmup": 0.0}
AFTER = "Stopped: distillation after step 3 of 6; start it again to go on from there"

RUNNING = [
    Fault(
        "disk",
        "full, at the result",
        faults.result_on_a_full_disk,
        r"result.json cannot be written: the disk is full",
    ),
    Fault(
        "disk",
        "full, in data preparation",
        faults.on_a_small_disk,
        r"cannot be written: the disk is full|not tried",
    ),
    Fault(
        "disk",
        "read-only results",
        partial(check, outputs="/sys"),
        r"outputs/smoke cannot be written: (the file system is read-only|there is no right)",
    ),
    Fault(
        "disk",
        "a file where the results go",
        partial(check, outputs="/etc/passwd"),
        r"outputs/smoke cannot be written: a file stands where a folder is needed",
    ),
    Fault(
        "disk",
        "a stage's read-only folder",
        partial(taught, output_dir="/sys/out"),
        r"/sys/out cannot be written: ",
    ),
    Fault(
        "disk",
        "a stage's folder below a file",
        partial(taught, output_dir="/etc/passwd/out"),
        r"cannot be written: a file stands where a folder is needed",
    ),
    Fault("running", "Ctrl-C", partial(faults.signalled, signal.SIGINT), AFTER),
    Fault(
        "running", "a cluster's cancel (SIGTERM)", partial(faults.signalled, signal.SIGTERM), AFTER
    ),
    Fault(
        "running", "the terminal closed (SIGHUP)", partial(faults.signalled, signal.SIGHUP), AFTER
    ),
    Fault(
        "running",
        "two processes on one stage",
        faults.under_way_elsewhere,
        r"is in use by the stage x, process \d+ on .*; wait for it, or end it",
    ),
    Fault(
        "running",
        "a learning rate that explodes",
        partial(taught, **EXPLODES),
        r"Diverged: 2 layers: .* (at|after) step \d.*checkpoint",
    ),
    Fault(
        "running",
        "a stage published already",
        faults.published,
        r"is published already; to make it again, run the notebook",
    ),
    Fault(
        "running",
        "fp16 without a GPU",
        partial(distilled, precision="fp16", weight_mlm=1.0),
        r"precision: fp16 needs a GPU",
    ),
]

FAULTS = PARAMETERS + TEXT + TASKS + MODELS + CHECKPOINTS + RUNNING


def markdown() -> str:
    """The table as it answers now."""
    rows = ["| | about | fault | answer |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for number, fault in enumerate(FAULTS, 1):
            said = fault.tried(world)
            answer = (
                re.sub(rf"{folder}(/tmp\w+)?", "…", said).replace("|", "\\|").replace("<", "&lt;")
            )
            wrong = "" if re.search(fault.answer, said) else " **unexpected**"
            rows.append(
                f"| {number} | {fault.about} | {fault.what.replace('<', '&lt;')} | "
                f"{answer[:240]}{wrong} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown())
