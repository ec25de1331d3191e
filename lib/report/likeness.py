"""What a student shares with its teacher once both are fine-tuned: answers, probabilities, errors;
and how far the probabilities of each can be trusted. By the predictions kept for every test example
of tasks whose texts have classes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lib.report import figures
from lib.report.declaration import Declaration
from lib.report.page import show
from lib.report.results import Results, predictions
from lib.report.statistics import Sample, interval, pm
from lib.report.tables import teacher_of

BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""
KEYS = ["seed", "task", "language", "metric", "example", "label"]
MEASURES = {
    "agreement": ("agreement, %", 1),
    "kl": ("KL from the teacher, nats", 3),
    "copied": ("teacher's errors copied, %", 1),
    "chance": ("by chance, %", 1),
    "calibration": ("calibration error, %", 1),
}
"""Titles and decimals, in the order of the table's columns."""
AGAIN = "the teacher again"
CAPTION = "What each student shares with its teacher after fine-tuning."
NOTE = (
    "On the test examples of tasks with classes on which the teacher is above guessing and a bag "
    "of words; each student beside its teacher of the same repeat. Agreement: both give the same "
    "class. KL: KL(teacher ‖ student) of the classes' probabilities. Copied: of the teacher's "
    "errors, those on which the student gives the same wrong class; by chance: as many as if it "
    "gave that class as often there as on any other example of the right one. Calibration error: "
    "the mean distance of a model's confidence from its accuracy, in 15 bins of confidence (Guo "
    "et al. 2017). The teacher again: the same teacher, fine-tuned with another seed and sample of "
    "labels, beside itself. Means over tasks, copied errors over all tasks' errors; ± half of the "
    "95 % interval over runs."
)


# ---------------------------------------------------------------------------------- of two models


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The share of examples to which both give the same class, in percent."""
    return 100.0 * float(np.mean(ours == theirs))


def divergence(teacher: np.ndarray, student: np.ndarray) -> float:
    """Mean of KL(teacher ‖ student) over examples, in nats; probabilities [examples, classes]."""
    tiny = np.finfo(np.float32).tiny  # of a probability that fp32 rounded to 0
    p, q = (np.maximum(part.astype(float), tiny) for part in (teacher, student))
    return float(np.mean(np.sum(p * np.log(p / q), axis=1)))


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error, in percent: Σ_bins (size / n) |accuracy - mean confidence|, over
    BINS bins of equal width; Guo et al. 2017, eq. (3). Both [examples]: the probability of the
    class that is predicted, and whether it is right."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, np.asarray(right, float) - confidence, minlength=BINS)
    return 100.0 * float(np.abs(gaps).sum() / len(confidence))


def copied_errors(
    ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray
) -> tuple[float, float, int]:
    """The teacher's errors that the student copies, giving the same wrong class; how many these
    would be by chance; and how many errors the teacher makes.

    By chance: for each error of the teacher's, the share of all examples with the same label to
    which the student gives that wrong class. All [examples], classes by name.
    """
    wrong = theirs != labels
    given = pd.crosstab(labels, ours, normalize="index")
    expected = [
        given.at[label, theirs_] if theirs_ in given else 0.0
        for label, theirs_ in zip(labels[wrong], theirs[wrong])
    ]
    return float(np.sum(ours[wrong] == theirs[wrong])), float(sum(expected)), int(wrong.sum())


# ------------------------------------------------------------------------------------- of a study


def measures(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, float]:
    """MEASURES of two fine-tuning stages, by their predictions; empty where they have no examples
    in common. Their seeds are paired in order."""
    ours, theirs = (kept.assign(seed=kept["seed"].rank(method="dense")) for kept in (ours, theirs))
    both = ours.merge(theirs, on=KEYS, suffixes=("", "_teacher"))
    if both.empty:
        return {}
    rows, errors = [], []
    for (seed, task, _, _), part in both.groupby(KEYS[:4], sort=False):
        mine, other, labels = (
            part[name].to_numpy(str) for name in ("prediction", "prediction_teacher", "label")
        )
        p, q = (np.stack(part[name]) for name in ("probabilities_teacher", "probabilities"))
        of_set = agreement(mine, other), divergence(p, q)
        rows.append((seed, task, *of_set, calibration_error(q.max(axis=1), mine == labels)))
        errors.append(copied_errors(mine, other, labels))
    columns = ["seed", "task", "agreement", "kl", "calibration"]
    means = pd.DataFrame(rows, columns=columns).groupby(["seed", "task"]).mean().mean()
    copied, chance, made = np.sum(errors, axis=0)
    if made:
        means["copied"], means["chance"] = 100 * copied / made, 100 * chance / made
    return means.to_dict()


def kept_predictions(result: dict) -> pd.DataFrame:
    """The predictions of a fine-tuning stage for texts with classes, once for each set of
    examples; empty if none were kept."""
    columns = [*KEYS, "prediction", "probabilities"]
    kept = predictions(result, columns)
    if kept is None:
        return pd.DataFrame(columns=columns)
    kept = kept[kept["probabilities"].notna()]
    if kept.empty:
        return kept
    # A set that is scored by several metrics is there once for each; MNLI has two sets.
    sets = kept["metric"].str.endswith("_mismatched")
    return kept.assign(metric=sets).drop_duplicates(KEYS[:5])


def by_run(study: Declaration, results: Results) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Scenario, repeat and MEASURES of every fine-tuned student, and of the teacher beside itself
    in the next repeat."""
    kept: dict[str, pd.DataFrame] = {}

    def read(result: dict) -> pd.DataFrame:
        folder = result["parameters"]["output_dir"]
        if folder not in kept:
            found = kept_predictions(result)
            # Answers of a teacher that guesses are nothing to share.
            kept[folder] = found[~found["task"].isin(study.failed)]
        return kept[folder]

    tuned = {
        scenario: stages
        for (name, scenario, kind), stages in results.repeats.items()
        if name == study.name and kind == "finetune"
    }
    for scenario, stages in tuned.items():
        if scenario in study.teachers:
            continue
        for repeat, result in stages.items():
            teacher = tuned.get(teacher_of(study, scenario), {}).get(repeat)
            if teacher and (found := measures(read(result), read(teacher))):
                yield scenario, repeat, found
    runs = tuned.get(study.teacher, {})
    order = sorted(runs)
    for repeat, following in zip(order, order[1:] + order[:1] * (len(order) > 2)):
        if found := measures(read(runs[repeat]), read(runs[following])):
            yield AGAIN, repeat, found


def samples(study: Declaration, results: Results) -> dict[str, dict[str, Sample]]:
    """Scenario -> measure -> its values by repeat, students in the study's order."""
    values: dict[str, dict[str, dict[int, float]]] = {}
    for scenario, repeat, found in by_run(study, results):
        for measure, value in found.items():
            values.setdefault(scenario, {}).setdefault(measure, {})[repeat] = value
    order = [AGAIN, *study.labels]
    names = sorted(values, key=lambda n: order.index(n) if n in order else len(order))
    return {
        name: {
            measure: Sample(pd.Series(runs, dtype=float).sort_index())
            for measure, runs in values[name].items()
        }
        for name in names
    }


def shown(study: Declaration, results: Results) -> list:
    """The table and the figure for the appendix; nothing where no predictions were kept of a
    student and its teacher."""
    found = samples(study, results)
    if not found:
        return []
    rows = {
        name: {
            title: pm(own[measure], digits) if measure in own else "–"
            for measure, (title, digits) in MEASURES.items()
        }
        for name, own in found.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("scenario")
    drawn = runs_frame(found, ["agreement", "copied", "calibration"])
    chance = runs_frame(found, ["chance"]).groupby("scenario", sort=False)["value"].mean()
    title = MEASURES["copied"][0]
    by_chance = chance.rename_axis("scenario").reset_index().assign(column=title)
    labels = {name: study.label(name) or name for name in found}
    return [
        show.table(table, CAPTION, note=NOTE),
        show.figure(
            figures.rows_of_runs(
                drawn,
                order=list(found),
                labels=labels,
                colours={name: study.colour(name) for name in found if study.colour(name)},
                printed=by_chance,
                printed_label="by chance",
                xlabel="percent",
            ),
            "Agreement with the teacher, its errors that are copied, and calibration, by scenario.",
            figures.describe_rows(drawn, list(found), labels),
        ),
    ]


def runs_frame(found: dict[str, dict[str, Sample]], chosen: list[str]) -> pd.DataFrame:
    """Measures in the long form that figures.rows_of_runs draws."""
    rows = []
    for name, own in found.items():
        for measure in chosen:
            if measure in own:
                _, low, high = interval(own[measure])
                title = MEASURES[measure][0]
                rows += [
                    [name, title, run, value, low, high]
                    for run, value in own[measure].values.items()
                ]
    return pd.DataFrame(rows, columns=["scenario", "column", "run", "value", "low", "high"])
