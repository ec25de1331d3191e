"""`make new`: a study of a user's own, written from a teacher, a folder of text and one of tasks.

All three are looked at, and a step is timed on this machine, so that the sizes in
params/<study>/local.yaml fit the text, the tasks and the hours that the study may take.
"""

import argparse
import json
import math
import random
import shutil
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lib.common import files, places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.common.parameters import NAME
from lib.data.cleaning import clean
from lib.data.parameters import DataPrep
from lib.data.sources import FileSource, read_passages, source_files
from lib.data.tokenizer import load_tokenizer
from lib.plan import guess, plan
from lib.plan.forecast import format_hours
from lib.plan.guess import FoundTask
from lib.training.architectures import longest_sequence, sizes

SCALE = "local"
CLEANING = "careful"
LEAST_LINES = 40
"""Different ones. Half of them are held out, of more a smaller share."""
LOOKED_AT = 2**27
"""Bytes of text that are read, at most, to estimate its lines and tokens."""
SAMPLE, SAMPLE_CHARACTERS = 2000, 2**22
"""Lines of the text that are tokenised; fewer if they have more characters than this."""
MOST_UNKNOWN = DataPrep.model_fields["max_unknown_share"].default
SPECIALS = 2
"""Special tokens of a sequence."""
PASSES = 3
"""Passes over the text, at most, and over the examples of a task: more teach little."""
BATCH = 32
TUNING_BATCH = 16
REPEATS, LEAST_STEPS, FEWEST_STEPS = 3, 200, 50
"""Aim for REPEATS students per scenario; if each would get fewer than LEAST_STEPS, train one, with
FEWEST_STEPS or more."""
LEAST_TUNING_STEPS = 100
"""Steps of fine-tuning: a task with few examples gets more epochs until it has as many."""
LEAST_EXAMPLES, MOST_EXAMPLES, TEST_EXAMPLES = 200, 20_000, 1000
"""Training examples of a task, at least (whatever the hours) and at most; and test examples."""
TRAINED, UNTRAINED = {"S1": "mlm", "S2": "mlm", "S3": "taught"}, ("S0", "truncated")
"""The scenarios of new_scenarios.yaml.j2: those that are trained, with the step of `Speed` that
each takes, and the others."""
MODELS = 1 + len(TRAINED) + len(UNTRAINED)
"""Models that are fine-tuned: the teacher and its students."""
WEIGHTS = {"weight_soft": 5, "weight_mlm": 2, "weight_cosine": 1}
"""DistilBERT's, for S3."""
SHARE = 0.6
"""Share of the time budget spent on distillation; the rest goes to fine-tuning."""
STAGE_SECONDS, OTHER_SECONDS = 5, 45
"""Overhead of a stage (start, load models, measure them on held-out text), and of all else: the
plan, the text, the report."""
EFFICIENCY = 0.8
"""What stages that share a machine get of it: they wait for each other at the end."""
ROUNDS = 3
"""Timed steps after a warm-up; the fastest counts."""


# ------------------------------------------------------------------------------- what there is


@dataclass(frozen=True)
class FoundTeacher:
    """A masked language model: `name` is its folder (absolute) or hub id."""

    name: str
    revision: str | None
    kind: str
    layers: int
    hidden: int
    vocabulary: int
    positions: int  # tokens of the longest sequence

    @property
    def label(self) -> str:
        return ModelRef(self.name).label

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.kind}, {self.layers} layers of {self.hidden}, a vocabulary of "
            f"{self.vocabulary:,}, sequences of {self.positions} tokens at most"
        )


@dataclass(frozen=True)
class Text:
    """A folder of text. `sequences` and `tokens` (special ones not counted) are reckoned from a
    sample; `ids` are sequences of that sample."""

    path: str
    column: str  # of .jsonl
    files: int
    lines: int
    whole: bool  # all of it was read; else `lines` is reckoned too
    sequences: int
    tokens: int
    unknown: float  # share of the tokens
    max_length: int
    ids: tuple[list[int], ...]
    token_seconds: float  # to tokenise one

    @property
    def length(self) -> float:
        """Tokens of a sequence, special ones included."""
        return self.tokens / self.sequences + SPECIALS

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.files} file{'s' * (self.files > 1)}, "
            f"{'about ' * (not self.whole)}{self.lines:,} lines, about {self.tokens:,} tokens, "
            f"{100 * self.unknown:.2g} % of them unknown to the teacher's tokenizer"
        )


def look_at_teacher(name: str) -> tuple[FoundTeacher, object, object]:
    """A teacher, its model and its tokenizer. Raises InputError if no student can be cut from
    it."""
    from lib.training import models

    ref = ModelRef(name)
    ref.require_place()
    ref.config()  # else a folder without a model would be blamed on its tokenizer
    tokenizer, model = load_tokenizer(ref), models.load(ref)
    config = model.config.to_dict()
    found = sizes(config)
    if found["layers"] < 2:
        raise InputError(
            f"{name} has one layer; a student with half of its layers needs at least two"
        )
    positions = min(longest_sequence(config) or 512, tokenizer.model_max_length, 512)
    teacher = FoundTeacher(
        name=str(ref.folder.resolve()) if ref.is_folder else name,
        revision=None if ref.is_folder else getattr(model.config, "_commit_hash", None),
        kind=config["model_type"],
        layers=found["layers"],
        hidden=found["hidden"],
        vocabulary=found["vocabulary"],
        positions=positions,
    )
    return teacher, model, tokenizer


def look_at_text(path: str, tokenizer, positions: int) -> Text:
    """Read text, or the beginning of very much of it, and tokenise a sample of its lines. Raises
    InputError if there is none, or the tokenizer does not know its words."""
    if not places.is_address(path):
        path = str(places.to_path(path).resolve())
    source = FileSource(path=path)
    found = source_files(source)
    source.column = guess.text_column(found)
    lines = size = 0
    sample: list[str] = []
    rng = random.Random(0)
    for passage in read_passages(source, seed=0):
        if not passage.strip():
            continue
        lines, size = lines + 1, size + len(passage.encode()) + 1
        if len(sample) < SAMPLE:
            sample.append(passage)
        elif (index := rng.randrange(lines)) < SAMPLE:
            sample[index] = passage
        if size > LOOKED_AT:
            break
    if not sample:
        raise InputError(f"{path} holds no text")
    different = len({clean(passage, CLEANING) for passage in sample} - {""})
    if different < LEAST_LINES:
        raise InputError(
            f"{path} has {different} different line{'s' * (different != 1)}, and a line is a "
            f"passage, such as a paragraph; {LEAST_LINES} are needed at the least"
        )
    while len(sample) > 20 and sum(map(len, sample)) > SAMPLE_CHARACTERS:
        sample = sample[::2]
    whole = size <= LOOKED_AT
    if not whole:  # of compressed files no more is known than what was read
        lines = round(lines * max(1, sum(file.stat().st_size for file in found) / size))
    start = time.perf_counter()
    encoded = tokenizer(sample, add_special_tokens=False, verbose=False)["input_ids"]
    seconds, tokens = time.perf_counter() - start, sum(map(len, encoded))
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in encoded) / max(1, tokens)
    if unknown > MOST_UNKNOWN:
        raise InputError(
            f"{100 * unknown:.0f} % of the tokens of {path} are unknown to the teacher's "
            f"tokenizer; allowed: at most {100 * MOST_UNKNOWN:.0f} %. Give text in the teacher's "
            f"language and script"
        )
    lengths = (len(ids) + SPECIALS for ids in encoded)
    max_length = guess.usual_length(lengths, min(positions, 128))
    pieces = sum(math.ceil(len(ids) / (max_length - SPECIALS)) for ids in encoded)
    return Text(
        path=path,
        column=source.column,
        files=len(found),
        lines=lines,
        whole=whole,
        sequences=max(1, round(lines * pieces / len(sample))),
        tokens=round(lines * tokens / len(sample)),
        unknown=unknown,
        max_length=max_length,
        ids=tuple(tokenizer(sample, truncation=True, max_length=max_length)["input_ids"]),
        token_seconds=seconds / max(1, tokens),
    )


# -------------------------------------------------------------------------------- how fast it is


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step for a position (a token, special or not) on this machine, one of
    `slots` stages that run at a time, each with `threads`."""

    mlm: float  # a student by MLM
    taught: float  # a student with all three losses, its teacher's reading included
    teacher: float  # fine-tuning the teacher
    student: float  # fine-tuning a student
    threads: int
    slots: int
    gpu: str = ""
    precision: str = "no"  # of all these: the fastest here for a step of distillation


def measure(model, tokenizer, text: Text, batch_size: int, cores: int, gpus: int) -> Speed:
    """Time the steps of a study on sequences of its text, of which one step has those of about one
    length: `batch_size` of them, or TUNING_BATCH in fine-tuning."""
    import torch

    from lib.training import loop, models, pretraining
    from lib.training.batches import POOL, Batch, whole_word_mask
    from lib.training.parameters import StudentParameters

    gpus = gpus if torch.cuda.is_available() else 0
    threads = max(1, cores // 4)  # some ten students wait to be trained at the same time
    torch.set_num_threads(cores if gpus else threads)
    device = torch.device("cuda" if gpus else "cpu")
    by_length = sorted(random.Random(0).choices(text.ids, k=POOL * batch_size), key=len)
    chosen = by_length[len(by_length) // 2 :][:batch_size]
    longest = max(map(len, chosen))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in chosen])
    kept = torch.tensor([[at < len(row) for at in range(longest)] for row in chosen])
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    inputs, labels = whole_word_mask(
        ids,
        torch.ones_like(kept),
        kept & ~special,
        mask_id=tokenizer.mask_token_id,
        vocab_size=len(tokenizer),
        probability=0.15,
        generator=torch.Generator().manual_seed(0),
    )
    batch = Batch(inputs, kept, labels).to(device)
    few = Batch(*(part[:TUNING_BATCH] for part in (batch.inputs, batch.kept, batch.labels)))
    teacher = model.to(device)
    layers = models.layer_choice("alternate", model.config.num_hidden_layers)
    student = models.truncate(teacher, layers).to(device).train()

    def step(objective) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(p for p in objective.parameters() if p.requires_grad)

        def run() -> None:
            with autocast:
                loss = objective(batch, objective.counts(batch))["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return run

    def tuning(model) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(model.parameters())

        def run() -> None:
            with autocast:
                hidden = model.base_model(few.inputs, attention_mask=few.kept).last_hidden_state
            hidden.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

        return run

    taught = StudentParameters(student_layers=layers, **WEIGHTS)
    alone = StudentParameters(student_layers=layers, weight_mlm=1)
    distillation = pretraining.objective(taught, student, teacher)
    precision = loop.fastest(distillation, [batch])
    number_format = torch.float16 if precision == "fp16" else torch.bfloat16
    autocast = torch.autocast(device.type, number_format, enabled=precision != "no")
    steps = {
        "mlm": step(pretraining.objective(alone, student, teacher)),
        "taught": step(distillation),
        "student": tuning(student),
    }
    seconds = {name: seconds_of(run, gpus) for name, run in steps.items()}
    # last: in the steps before, the teacher has no dropout and is not trained
    seconds["teacher"] = seconds_of(tuning(teacher.train().requires_grad_()), gpus)
    gpu, slots = torch.cuda.get_device_name(0) if gpus else "", gpus or max(1, cores // threads)
    positions = {name: sum(map(len, chosen)) for name in ("mlm", "taught")}
    positions |= {name: sum(map(len, chosen[:TUNING_BATCH])) for name in ("student", "teacher")}
    seconds = {name: value / positions[name] for name, value in seconds.items()}
    return Speed(**seconds, threads=threads, slots=slots, gpu=gpu, precision=precision)


def seconds_of(run: Callable[[], None], gpus: int) -> float:
    """The time of a step."""
    import torch

    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        run()
        if gpus:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


# ------------------------------------------------------------------------------------- how much


@dataclass(frozen=True)
class Sizes:
    """How much is trained. `hours`: what all of it takes, about; `passes` over the text."""

    hours: float
    repeats: int
    steps: int
    passes: float
    share: float  # of the text that is prepared
    held_out_lines: int
    train_examples: int
    epochs: dict[str, int]  # of every task


def plan_sizes(hours: float, text: Text, tasks: Sequence[FoundTask], speed: Speed) -> Sizes:
    """What fits the hours; if even the smallest run that can show anything takes longer, that."""
    fixed = OTHER_SECONDS + text.tokens * text.token_seconds
    available = (3600 * hours - fixed) * speed.slots * EFFICIENCY  # of all slots together
    # a step of every student that is trained
    step = BATCH * text.length * sum(getattr(speed, kind) for kind in TRAINED.values())

    def training(repeats: int, steps: int) -> float:
        return repeats * (steps * step + (len(TRAINED) + len(UNTRAINED)) * STAGE_SECONDS)

    def tuning(examples: int) -> float:
        positions = sum(
            task.length * (trained(task, examples) * epochs(task, examples))
            + task.length * min(TEST_EXAMPLES, task.validation) / 3  # without a backward pass
            for task in tasks
        )
        each = positions * (speed.teacher + (MODELS - 1) * speed.student)
        return REPEATS * each + repeats * MODELS * STAGE_SECONDS

    most = max(FEWEST_STEPS, round(PASSES * text.sequences / BATCH))
    for repeats in (REPEATS, 1):
        within = SHARE * available
        steps = fitting(lambda steps: training(repeats, steps), within, FEWEST_STEPS, most)
        if steps >= min(LEAST_STEPS, most):
            break
    largest = min(MOST_EXAMPLES, max(task.train for task in tasks))
    left = available - training(repeats, steps)
    examples = fitting(tuning, left, min(LEAST_EXAMPLES, largest), largest)
    spent = (training(repeats, steps) + tuning(examples)) / (speed.slots * EFFICIENCY)
    passes = steps * BATCH / text.sequences
    # much text is not all prepared: twice what is read will do
    share = 1.0 if text.tokens < 5e6 or passes > 0.25 else float(f"{2 * passes:.1g}")
    return Sizes(
        hours=(spent + fixed) / 3600,
        repeats=repeats,
        steps=steps,
        passes=passes,
        share=max(share, 1e-4),
        held_out_lines=max(LEAST_LINES // 2, min(500, round(text.lines * share) // 20)),
        train_examples=examples,
        epochs={task.name: epochs(task, examples) for task in tasks},
    )


def fitting(cost: Callable[[int], float], available: float, least: int, most: int) -> int:
    """About the largest number from `least` to `most` whose cost is available."""
    found = bisect_right(range(least, most + 1), available, key=cost) + least - 1
    return max(least, min(most, int(float(f"{found:.2g}"))))


def trained(task: FoundTask, examples: int) -> int:
    """How many of its examples a task is trained on."""
    return min(examples, task.train)


def epochs(task: FoundTask, examples: int) -> int:
    """How often a task's examples are read: more often where they are few."""
    steps = trained(task, examples) / TUNING_BATCH
    return max(PASSES, min(20, math.ceil(LEAST_TUNING_STEPS / steps)))


# --------------------------------------------------------------------------------------- writing


def write(study: str, **found) -> list[Path]:
    """Write the files of a study; returns their paths. Raises InputError if it cannot be planned;
    then nothing is written."""
    folder = places.ROOT / "params" / study
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False)
    with files.writing(folder):
        folder.mkdir()
        try:
            for name in ("scenarios", SCALE):
                text = environment.get_template(f"new_{name}.yaml.j2").render(study=study, **found)
                (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
            plan.resolve(SCALE, [study])
        except BaseException:
            shutil.rmtree(folder)
            raise
    return sorted(folder.iterdir())


def tuning_rate(hidden: int) -> str:
    """A learning rate for fine-tuning: 3e-5 at BERT's width of 768, and the narrower the model the
    higher, up to 5e-4."""
    return f"{min(5e-4, 3e-5 * (768 / hidden) ** 2):.0e}".replace("e-0", "e-")


def check_name(study: str) -> None:
    """Raise InputError for what cannot be the name of a new study."""
    if not NAME.fullmatch(study):
        raise InputError(
            "give a name for the study, of letters, digits, dots, dashes and underscores, as in "
            "make new STUDY=mine TEACHER=/folder/or/id TEXT=/folder TASKS=/folder"
        )
    if (places.ROOT / "params" / study).exists():
        raise InputError(f"params/{study} is there already; choose another name, or remove it")


def check_number(value: str, least: float) -> float:
    """A number from the command line, `least` or more. Raises InputError."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        raise InputError(f"{value!r} must be a number, at least {least:g}")
    return number


def make(options: argparse.Namespace, say: Callable[[str], None] = print) -> list[Path]:
    """Look at what a user gives, and write the study; returns the paths of its files. Raises
    InputError, beginning with the variable of `make new` that is wrong."""

    def of(variable: str, look: Callable, *arguments):
        try:
            return look(*arguments)
        except InputError as error:
            raise InputError(f"{variable}: {error}") from None

    of("STUDY", check_name, options.study)
    for variable in ("teacher", "text", "tasks"):
        if not getattr(options, variable):
            raise InputError(
                f"{variable.upper()} is missing, as in make new STUDY={options.study} "
                f"TEACHER=/folder/or/id TEXT=/folder TASKS=/folder"
            )
    hours = of("HOURS", check_number, options.hours, 0.01)
    cores = int(of("CORES", check_number, options.cores, 1))
    gpus = int(of("GPUS", check_number, options.gpus, 0))
    teacher, model, tokenizer = of("TEACHER", look_at_teacher, options.teacher)
    say(f"teacher  {teacher}")
    text = of("TEXT", look_at_text, options.text, tokenizer, teacher.positions)
    say(f"text     {text}")
    tasks = of("TASKS", guess.look_at_tasks, options.tasks, tokenizer, teacher.positions)
    for task in tasks:
        say(f"task     {task}")
    say("timing a step")
    speed = measure(model, tokenizer, text, BATCH, cores, gpus)
    chosen = plan_sizes(hours, text, tasks, speed)
    rate, why = "5e-4", "DistilBERT's"
    if teacher.hidden < 512:
        rate, why = "1e-3", "narrow models want a higher one than DistilBERT's 5e-4"
    written = write(
        options.study,
        teacher=teacher,
        text=text,
        tasks=tasks,
        speed=speed,
        sizes=chosen,
        weights=", ".join(f"{name}: {weight}" for name, weight in WEIGHTS.items()),
        rate=rate,
        why_rate=why,
        tuning_rate=tuning_rate(teacher.hidden),
        batch=BATCH,
        tuning_batch=TUNING_BATCH,
        test_examples=TEST_EXAMPLES,
        cores=cores,
        cleaning=CLEANING,
        duration=format_hours(chosen.hours),
    )
    say(
        f"sizes    {chosen.repeats} student{'s' * (chosen.repeats > 1)} of every scenario, each "
        f"{chosen.steps:,} steps of {BATCH} sequences ({chosen.passes:.2g} passes over the text); "
        f"fine-tuned on {chosen.train_examples:,} examples of a task at most"
    )
    say(f"written  {', '.join(str(path.relative_to(places.ROOT)) for path in written)}")
    longer = ", the smallest run that can show anything" * (chosen.hours > 1.1 * hours)
    command = f"make report STUDIES={options.study} SCALE={SCALE}"
    say(f"{command}  takes about {format_hours(chosen.hours)}{longer}")
    return written


def main(arguments: list[str] | None = None) -> int:
    """Write a study, or one line that says why not; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.plan.new", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--study", default="", help="its name, which becomes a folder in params/")
    parser.add_argument("--teacher", default="", help="a folder, or an id on the hub")
    parser.add_argument("--text", default="", help="a file or folder of .txt and .jsonl")
    parser.add_argument("--tasks", default="", help="a folder with a file or folder for each task")
    parser.add_argument("--hours", default="1", help="that the whole study may take here, about")
    parser.add_argument("--cores", default="1", help="those make report may use")
    parser.add_argument("--gpus", default="0", help="the same")
    try:
        make(parser.parse_args(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
