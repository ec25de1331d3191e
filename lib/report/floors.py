"""What guessing and a bag of words score on the tasks of each study, and on which tasks its teacher
is above both: only there can models be told apart by what they learnt in pretraining."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pandas as pd

from lib.common.errors import InputError
from lib.plan.stages import validate
from lib.report.declaration import Declaration
from lib.report.page import show
from lib.report.results import Results
from lib.report.scores import NONE, TITLES, Columns, samples, tasks
from lib.report.statistics import interval, pm
from lib.report.wording import listed, plain
from lib.tasks import examples
from lib.tasks.baselines import BAG_OF_WORDS, CHANCE, MOST_EXAMPLES, baselines
from lib.tasks.finetune import shared_training

COLUMNS = ["scenario", "task", "language", "metric", "value"]
DATA = ("task_source", "task_folder", "task_language", "languages", "task_revisions")
DATA += ("tasks", "own_tasks", "train_examples", "validation_examples")
"""The parameters of a fine-tuning that say which examples it reads."""
CAPTION = "What guessing and a bag of words score, in percent, beside the teacher."
NOTE = (
    "The mean of a task's metrics and languages; the teacher after its last epoch, ± half of the "
    "95 % interval. Both baselines learn from the examples that the teacher is fine-tuned on. "
    "Chance: the same answer to everything, the one that scores best in training; for SQuAD a word "
    "of the context at random. Bag of words: logistic regression over words and pairs of "
    f"neighbouring words, learnt from at most {MOST_EXAMPLES:,} examples; for pairs of texts also "
    "how many words they share; for SQuAD the rarest words of the sentence that shares most with "
    "the question. For tags of words, chance is the most frequent tag, and the bag of words gives "
    "each word its most frequent tag in training."
)


@dataclass(frozen=True)
class Baselines:
    """The baselines of a study: `rows` have COLUMNS, scenario is "chance" or "bag of words", value
    is in percent. `missing`: why a task has none, in a few words, by its name. `repeated`: how many
    validation texts of an own task are among its training texts."""

    rows: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))
    missing: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)


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
    rows, missing, repeated = [], {}, {}
    for names in shared_training(p).values():
        try:
            rows += baselines(p, names)
            for name in p.own_tasks.keys() & names:
                source = examples.TaskSource.of(examples.settled(p))
                repeated[name] = examples.repeated(name, source)
        except InputError as error:
            missing |= dict.fromkeys(names, str(error))
    return Baselines(pd.DataFrame(rows, columns=COLUMNS), missing, repeated)


def by_score(measured: Baselines, columns: Columns = tasks) -> pd.DataFrame:
    """A row per score of `columns`, by default a task; columns "chance" and "bag of words"."""
    wide = measured.rows.pivot_table(
        index="scenario", columns=["task", "language", "metric"], values="value", sort=False
    )
    rows = {
        name: {
            baseline: sum(weight * wide.loc[baseline, key] for key, weight in weights.items())
            for baseline in wide.index
        }
        for name, weights in columns(list(wide)).items()
        if weights
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=[CHANCE, BAG_OF_WORDS])


def measurable(
    study: Declaration, results: pd.DataFrame, measured: Baselines, columns: Columns = tasks
) -> dict[str, bool]:
    """Score -> whether the whole 95 % interval of the teacher is above both baselines, for every
    score of `columns` that has both. One run has no interval: nothing is said of its scores.
    `results` are rows of one protocol."""
    teacher = samples(study.name, results, study.teacher, columns)
    return {
        name: bool(interval(teacher[name]).low > floor)
        for name, floor in by_score(measured, columns).max(axis=1).items()
        if len(teacher.get(name, NONE)) > 1
    }


def judged(study: Declaration, results: pd.DataFrame, measured: Baselines) -> Declaration:
    """The study with what guessing scores on this run's tasks, and the scores on which its teacher
    fails. `results` are rows of one protocol."""
    decided = measurable(study, results, measured, study.scored)
    return replace(
        study,
        guessing=by_score(measured, study.scored)[CHANCE].to_dict(),
        failed=[name for name, is_above in decided.items() if not is_above],
    )


def table(study: Declaration, results: pd.DataFrame, measured: Baselines) -> pd.DataFrame:
    """A row for each baseline and one for the teacher, a column per task, cells of text."""
    teacher = samples(study.name, results, study.teacher, tasks)
    scores = by_score(measured)
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
    decided = measurable(study, results, measured)
    if not decided:
        return f"{study.teacher} has no interval to compare with the baselines: it takes two runs."
    above, others = (
        listed([title(study, task) for task, is_above in decided.items() if is_above == side])
        for side in (True, False)
    )
    text = "The teacher's whole 95 % interval is above both baselines "
    text += f"on {above or 'no task'}"
    if not others:
        return f"{text}."
    return (
        f"{text}; not on {others}: how models differ there says little of what they learnt in "
        "pretraining."
    )


def shown(study: Declaration, results: pd.DataFrame, measured: Baselines) -> list:
    """The table and what follows from it, a line where texts are both learnt and tested on, and one
    where data cannot be had."""
    items = []
    if len(measured.rows):
        items = [
            show.table(table(study, results, measured), CAPTION, note=NOTE),
            show.prose(sentence(study, results, measured)),
        ]
    if again := {task: number for task, number in measured.repeated.items() if number}:
        parts = listed([f"{number:,} of {title(study, task)}" for task, number in again.items()])
        items.append(show.prose(f"Validation texts that are among the training texts: {parts}."))
    if measured.missing:
        tasks = listed([title(study, task) for task in measured.missing])
        reason = plain(next(iter(measured.missing.values())))
        items.append(show.prose(f"Chance and bag of words: not measured for {tasks}: {reason}"))
    return items
