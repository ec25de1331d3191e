"""What the students of all studies are once they are shipped: in int8, or with a vocabulary that
was cut to their text, beside the same students in fp32.

Scores are percent, losses points.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd

from lib.report.declaration import Declaration
from lib.report.latency import in_words
from lib.report.page import show
from lib.report.results import LATENCY
from lib.report.section import Analysis
from lib.report.statistics import MATTERS, Interval, interval
from lib.report.tables import difference
from lib.report.wording import listed, plain, signed, with_interval

COLUMNS = ["study", "scenario", "int8", "cut", "against", "mib", *LATENCY, "score"]
COLUMNS += ["loss", "low", "high", "kept", "size_share", "latency_share"]
OTHER_THAN_VOCABULARY = ("vocabulary", "output_dir", "beside", "trained_in")
"""Parameters in which a student may differ from its like with the whole vocabulary."""
CAPTION = "The best student of each study, and those whose vocabulary was cut, as files to ship."
NOTE = (
    "Best: the highest mean share of its teacher's score, by the validation scores in results.csv, "
    "as in the table above. This flatters the score of the one that is chosen, not what int8 costs "
    "it. MiB and latency are those of ONNX files of the whole fine-tuned model, its head included: "
    "of one sequence of 64 tokens on one CPU thread, with its 95 % interval; both files in turn. "
    "Score: the study's main one, of one fine-tuning of the first repeat. Loss in int8: fp32 less "
    "int8 of this very fine-tuning; its 95 % interval covers other test examples. Loss by a cut "
    "vocabulary: the same student with the whole one less this one, paired by repeat."
)


def shipped(
    analysis: Analysis,
    students: pd.DataFrame,
    best: pd.DataFrame,
    measure: Callable[[Sequence[tuple[dict, Collection[str]]]], list],
) -> pd.DataFrame:
    """Two rows, fp32 and int8, for each of the `best` students and for those of `students` whose
    vocabulary was cut, where their fine-tuned models were kept. Columns as COLUMNS.

    students, best: rows of `lib.studies.tradeoff.students`.
    measure: what models score in int8, and what the files cost: `lib.runner.kept.in_int8`.

    `against` is the student with the whole vocabulary that a cut one in fp32 is compared with, else
    empty. `kept` is the share of the teacher's score in int8: the student's less what this one
    fine-tuning loses. The shares of the teacher's size and latency are the student's times what the
    int8 file has of the fp32 file's.
    """
    chosen, rows = [], []
    for row in students.itertuples():
        cut = cut_from(analysis, row.study, row.scenario)
        if cut or row.Index in best.index:
            scores, finetuning, tasks = _first_repeat(analysis, row.study, row.scenario)
            if tasks:
                chosen.append((row, cut, scores, finetuning, tasks))
    measured = measure([(finetuning, tasks) for *_, finetuning, tasks in chosen])
    for (row, cut, scores, *_), in_int8 in zip(chosen, measured):
        if in_int8 is not None:
            rows += _fp32_and_int8(analysis, row, cut, scores, *in_int8)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"int8": bool, "cut": bool})


def _first_repeat(
    analysis: Analysis, study: str, scenario: str
) -> tuple[pd.DataFrame, dict, set[str]]:
    """Of a student's first repeat the scores in fp32, the result of its fine-tuning, and the tasks
    that the study's main score is made of; none where there is no such."""
    repeats = analysis.results.repeats.get((study, scenario, "finetune"), {0: {}})
    rows = analysis.final
    rows = rows[(rows["study"] == study) & (rows["scenario"] == scenario)]
    rows = rows[rows["repeat"] == min(repeats)]
    measures = list(dict.fromkeys(zip(rows["task"], rows["language"], rows["metric"])))
    declared = analysis.studies[study]
    tasks = {task for task, _, _ in declared.scored(measures).get(declared.main, {})}
    return rows[rows["task"].isin(tasks)], repeats[min(repeats)], tasks


def _fp32_and_int8(
    analysis: Analysis, row, cut: str, fp32: pd.DataFrame, int8: pd.DataFrame, costs: dict
) -> list[dict]:
    """Two rows of `shipped`, of a student (a row of its table) with these scores and costs."""
    study = analysis.studies[row.study]
    own = {"study": study.name, "scenario": "int8", "repeat": fp32["repeat"].iloc[0]}
    fp32 = fp32[fp32["seed"].isin(int8["seed"])]
    both = pd.concat([fp32, int8.assign(**own, protocol="final")], ignore_index=True)
    before, after = (study.scores(both, name)[study.main] for name in (row.scenario, "int8"))
    loss = (before - after).over_examples()
    same = {"study": study.name, "scenario": row.scenario, "cut": bool(cut), "against": ""}
    in_fp32 = same | {"int8": False, "score": before.mean()} | _costs(costs["fp32"])
    if cut not in ("", row.scenario):
        lost = interval(difference(study, analysis.final, cut, row.scenario))
        in_fp32 |= {"against": cut} | _loss(lost)
    in_int8 = same | {"int8": True, "score": after.mean()} | _costs(costs["int8"]) | _loss(loss)
    in_int8 |= {
        "kept": row.kept - 100 * loss.mean / _range(study, analysis.final),
        "size_share": row.size_share * in_int8["mib"] / in_fp32["mib"],
        "latency_share": row.latency_share * in_int8["latency_s"] / in_fp32["latency_s"],
    }
    return [in_fp32, in_int8]


def cut_from(analysis: Analysis, study: str, scenario: str) -> str:
    """The student that one with a cut vocabulary differs from in nothing else: itself if there is
    none; empty for a student with the whole vocabulary."""
    for kind in ("distillation", "cascade_ta"):
        stages = analysis.results.by_scenario(kind, study)
        if not stages.get(scenario, {}).get("parameters", {}).get("vocabulary"):
            continue
        recipes = {
            name: {k: v for k, v in stage["parameters"].items() if k not in OTHER_THAN_VOCABULARY}
            for name, stage in stages.items()
            if name == scenario or not stage["parameters"].get("vocabulary")
        }
        own = recipes.pop(scenario)
        return next((name for name, recipe in recipes.items() if recipe == own), scenario)
    return ""


def _costs(cost: dict) -> dict:
    """Of a file, with NaN where the machine was busy."""
    latency = {name: np.nan if cost[name] is None else cost[name] for name in LATENCY[:1]}
    ends = dict(zip(LATENCY[1:], (cost["latency_low_s"], cost["latency_high_s"])))
    return {"mib": cost["mib"]} | latency | ends


def _loss(loss: Interval) -> dict:
    return {"loss": loss.mean, "low": loss.low, "high": loss.high}


def _range(study: Declaration, final: pd.DataFrame) -> float:
    """How far the teacher's main score is above guessing, in points."""
    return study.scores(final, study.teacher)[study.main].mean() - study.guessing.get(study.main, 0)


def shown(frame: pd.DataFrame, analysis: Analysis) -> list:
    """The paragraph and the table; nothing where no fine-tuned model was kept."""
    if frame.empty:
        return []
    return [
        show.prose(paragraph(frame, analysis)),
        show.table(table(frame, analysis), CAPTION, note=NOTE),
    ]


def table(frame: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    """Every file to ship: size, latency, score, and what it loses."""
    rows = {}
    for row in frame.itertuples():
        what = ("int8" if row.int8 else "fp32") + ", vocabulary cut" * row.cut
        loss = "–"
        if not np.isnan(row.loss):
            loss = with_interval(Interval(row.loss, row.low, row.high))
        rows[analysis.studies[row.study].short, row.scenario, what] = {
            "MiB": f"{row.mib:.2f}",
            "latency, ms": in_words(row.latency_s, row.latency_low, row.latency_high),
            "score, %": f"{row.score:.1f}",
            "loss, points [95 %]": loss,
            "against": row.against or ("fp32" if row.int8 else "–"),
        }
    index = pd.MultiIndex.from_tuples(rows, names=["study", "student", "what it is"])
    return pd.DataFrame(list(rows.values()), index=index)


def paragraph(frame: pd.DataFrame, analysis: Analysis) -> str:
    """What int8 costs and saves, and where it loses more than matters."""
    parts, lossy = [], []
    for fp32, int8 in zip(frame[~frame["int8"]].itertuples(), frame[frame["int8"]].itertuples()):
        name = f"{plain(int8.scenario)} ({analysis.studies[int8.study].short})"
        size = f"{100 * int8.mib / fp32.mib:.0f} % of the size"
        time = 100 * int8.latency_s / fp32.latency_s
        time = "" if np.isnan(time) else f" and {time:.0f} % of the time"
        parts.append(f"{name} {signed(-int8.loss)} points, in {size}{time}")
        lossy += [name] * (int8.loss > MATTERS)
    text = f"What int8 makes of a score: {'; '.join(parts)}."
    if lossy:
        return f"{text} `make export` allows {MATTERS:g} point, and so refuses {listed(lossy)}."
    return f"{text} None loses more than {MATTERS:g} point, which is what `make export` allows."
