"""What guessing and a bag of words score on the tasks of each study, and on which tasks its teacher
is above both: only there can models be told apart by what they learnt in pretraining."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from lib.common.errors import InputError
from lib.plan.stages import validate
from lib.report.declaration import Declaration
from lib.report.page import show
from lib.report.results import Results
from lib.report.scores import TITLES, samples, tasks
from lib.report.statistics import Sample, interval, pm
from lib.report.wording import listed, plain
from lib.tasks.baselines import BAG_OF_WORDS, CHANCE, MOST_EXAMPLES, baselines
from lib.tasks.finetune import shared_training

COLUMNS = ["scenario", "task", "language", "metric", "value"]
DATA = ("task_source", "task_folder", "task_language", "languages", "task_revisions")
DATA += ("tasks", "train_examples", "validation_examples")
"""The parameters of a fine-tuning that say which examples it reads."""
CAPTION = "What guessing and a bag of words score, in percent, beside the teacher."
NOTE = (
    "The mean of a task's metrics and languages; the teacher after its last epoch, ± half of the "
    "95 % interval. Both baselines learn from the examples that the teacher is fine-tuned on. "
    "Chance: the same answer to everything, the one that scores best in training; for SQuAD a word "
    "of the context at random. Bag of words: logistic regression over words and pairs of "
    f"neighbouring words, learnt from at most {MOST_EXAMPLES:,} examples; for pairs of texts also "
    "how many words they share; for SQuAD the rarest words of the sentence that shares most with "
    "the question."
)


@dataclass(frozen=True)
class Baselines:
    """The baselines of a study: `rows` have COLUMNS, scenario is "chance" or "bag of words", value
    is in percent. `missing`: why a task has none, in a few words, by its name."""

    rows: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))
    missing: dict[str, str] = field(default_factory=dict)


def measure(results: Results, studies: Iterable[Declaration]) -> dict[str, Baselines]:
    """Study -> its baselines, on the data of its teacher's fine-tuning (of another model's, if the
    teacher has none). Studies with the same data share them."""
    measured: dict[str, Baselines] = {}
    by_data: dict[str, Baselines] = {}
    for study in studies:
        stages = results.by_scenario("finetune", study.name)
        if not stages:
            continue
        stage = stages.get(study.teacher) or next(iter(stages.values()))
        data = repr([stage["parameters"].get(name) for name in DATA])
        if data not in by_data:
            by_data[data] = of_finetuning(stage["parameters"])
        measured[study.name] = by_data[data]
    return measured


def of_finetuning(parameters: dict) -> Baselines:
    """The baselines on the data that a fine-tuning stage reads. A task whose data cannot be had,
    as on a machine without network, is among the missing."""
    p = validate("finetune", parameters)
    rows, missing = [], {}
    for names in shared_training(p).values():
        try:
            rows += baselines(p, names)
        except InputError as error:
            missing |= dict.fromkeys(names, str(error))
    return Baselines(pd.DataFrame(rows, columns=COLUMNS), missing)


def by_task(measured: Baselines) -> pd.DataFrame:
    """The mean over metrics and languages: a row per task, columns "chance" and "bag of words"."""
    return measured.rows.pivot_table(
        index="task", columns="scenario", values="value", sort=False
    ).reindex(columns=[CHANCE, BAG_OF_WORDS])


def teacher_scores(study: Declaration, results: pd.DataFrame) -> dict[str, Sample]:
    """Task -> the teacher's score in percent, the mean over metrics and languages. `results` are
    rows of one protocol."""
    return samples(study.name, results, study.teacher, tasks)


def measurable(study: Declaration, results: pd.DataFrame, measured: Baselines) -> dict[str, bool]:
    """Task -> whether the whole 95 % interval of the teacher's score is above both baselines, for
    every task that has baselines. One run has no interval and is never enough. `results` as in
    `teacher_scores`."""
    teacher, highest = teacher_scores(study, results), by_task(measured).max(axis=1)
    return {
        task: task in teacher and bool(interval(teacher[task]).low > floor)
        for task, floor in highest.items()
    }


def table(study: Declaration, results: pd.DataFrame, measured: Baselines) -> pd.DataFrame:
    """A row for each baseline and one for the teacher, a column per task, cells of text."""
    teacher, scores = teacher_scores(study, results), by_task(measured)
    columns = {
        title(study, task): {name: f"{value:.1f}" for name, value in row.items()}
        | {study.teacher: pm(teacher[task]) if task in teacher else "–"}
        for task, row in scores.iterrows()
    }
    return pd.DataFrame(columns).rename_axis("scenario")


def title(study: Declaration, task: str) -> str:
    return study.titles.get(task, TITLES.get(task, task))


def sentence(study: Declaration, results: pd.DataFrame, measured: Baselines) -> str:
    """On which tasks the teacher is above both baselines, and on which not."""
    runs = teacher_scores(study, results).values()
    if max(map(len, runs), default=0) < 2:
        return f"{study.teacher} has no interval to compare with the baselines: it takes two runs."
    decided = measurable(study, results, measured)
    above, others = (
        listed([title(study, task) for task, is_above in decided.items() if is_above == side])
        for side in (True, False)
    )
    text = f"The whole 95 % interval of {study.teacher} is above both baselines "
    text += f"on {above or 'no task'}"
    if not others:
        return f"{text}."
    return (
        f"{text}; not on {others}: how models differ there says little of what they learnt in "
        "pretraining."
    )


def shown(study: Declaration, results: pd.DataFrame, measured: Baselines) -> list:
    """The table and what follows from it, and a line where data cannot be had."""
    items = []
    if len(measured.rows):
        items = [
            show.table(table(study, results, measured), CAPTION, note=NOTE),
            show.prose(sentence(study, results, measured)),
        ]
    if measured.missing:
        tasks = listed([title(study, task) for task in measured.missing])
        reason = plain(next(iter(measured.missing.values())))
        items.append(show.prose(f"Chance and bag of words: not measured for {tasks}: {reason}"))
    return items
