"""The trade-off over all students of all studies: the share of its teacher's score that a student keeps, against what it costs
in parameters, latency and tokens seen.

Pure functions from the contract tables to a frame and from that to tables and sentences; the figure is in
`lib.tradeoff_figure`. Scores are percent, of one protocol.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from lib import ablation, cascade, glue, papers
from lib.claims import MEAN
from lib.claims_view import STUDIES
from lib.herbert import herbert_scores
from lib.markdown import plain
from lib.statistics import interval, paired_differences
from lib.wording import decided, number_of, with_interval

SCORED: dict[str, tuple[str, Callable[[pd.DataFrame, str], pd.Series]]] = {
    "herbert": ("T1", lambda results, name: herbert_scores(results, name)[MEAN]),
    "transfer_set": ("teacher", lambda results, name: glue.by_seed(results, "transfer_set", name)[MEAN].dropna()),
    "ablation": ("teacher", ablation.macro),
    "cascade": ("teacher", cascade.average),
}
"""Study -> its teacher, and the score of a scenario by seed: the mean of herbert's tasks, GLUE's macro score, the mean over
languages. Another study is another entry."""
TEACHERS = ("teacher", "T1", "T2")
COSTS = {"parameters_share": "parameters", "latency_share": "latency", "tokens_per_parameter": "tokens seen"}
"""Column of the frame -> what it is called. The first two are percent of the teacher's."""
COLUMNS = [
    "study",
    "scenario",
    "kept",
    "low",
    "high",
    "n",
    "parameters",
    "latency_s",
    "tokens_seen",
    *COSTS,
    "control",
    "on_front",
]
VERDICTS = {1: "it helped", -1: "it did harm", 0: "undecided"}
NOTE = (
    "Score: HerBERT, the mean of three tasks; transfer sets and DistilBERT, GLUE's macro score; CAMeMBERT, the mean over "
    "languages. Kept: its share of the teacher's, seed by seed; guessing keeps a share too, so zero is not the floor. Latency: the "
    "median over all models of one shape, which differ by chance alone. Tokens seen: in the student's own training and that of the "
    "assistants before it; the teacher's are not counted."
)


def frame(results: pd.DataFrame, efficiency: pd.DataFrame, tokens: Mapping[str, int] = {}) -> pd.DataFrame:
    """A row per student of every study that was measured, columns as COLUMNS.

    `kept` is the mean over seeds of 100 * student / teacher, in percent, `low` and `high` the ends of its 95 % interval (NaN
    with one seed). `tokens`: scenario of the cascade -> tokens of its whole chain. A model taken from a hub has seen an unknown
    number (NaN).
    """
    rows = []
    for study, (teacher, scored) in SCORED.items():
        own = efficiency[efficiency["study"] == study]
        whole = _costs(own, teacher, own, {})
        ours = scored(results, teacher)
        for name in dict.fromkeys(results.loc[results["study"] == study, "scenario"]):
            share = _share(scored(results, name), ours)
            if name not in TEACHERS and len(share):
                mean, low, high = interval(share)
                row = {"study": study, "scenario": name, "kept": mean, "low": low, "high": high, "n": len(share)}
                row |= _costs(own, name, efficiency, tokens if study == cascade.STUDY else {})
                row["parameters_share"] = 100 * row["parameters"] / whole["parameters"]
                row["latency_share"] = 100 * row["latency_s"] / whole["latency_s"]
                row["tokens_per_parameter"] = row["tokens_seen"] / row["parameters"]
                rows.append(row | {"control": name.startswith("truncated")})
    found = pd.DataFrame(rows, columns=COLUMNS).astype({"control": bool})
    return found.assign(on_front=np.logical_or.reduce([front(found[cost], found["kept"]) for cost in COSTS]))


def _share(student: pd.Series, teacher: pd.Series) -> pd.Series:
    return (100 * student / teacher).astype(float).dropna()


def _costs(own: pd.DataFrame, name: str, every: pd.DataFrame, tokens: Mapping[str, int]) -> dict[str, float]:
    """Parameters, seconds and tokens of a model of one study; the seconds are those of all models of its shape."""
    rows = own[own["scenario"] == name]
    if rows.empty:
        return dict.fromkeys(("parameters", "latency_s", "tokens_seen"), np.nan)
    parameters = rows["parameters"].astype(float).max()
    alike = every.loc[every["parameters"] == parameters, "latency_s"].astype(float)
    from_hub = "stage" in rows and rows["stage"].isna().all()
    seen = np.nan if from_hub else tokens.get(name, rows["tokens_seen"].astype(float).max())
    return {"parameters": parameters, "latency_s": alike.median(), "tokens_seen": seen}


def front(cost: pd.Series, kept: pd.Series) -> pd.Series:
    """Which points no other one beats: none costs as little and keeps more, or keeps as much and costs less. NaN never is one."""
    cost, kept = cost.astype(float), kept.astype(float)
    beaten = [((cost <= c) & (kept >= k) & ((cost < c) | (kept > k))).any() for c, k in zip(cost, kept)]
    return ~pd.Series(beaten, index=cost.index, dtype=bool) & cost.notna() & kept.notna()


def printed() -> pd.DataFrame:
    """The papers' own students with a share and a size (001's and 002's): label, kept, parameters_share, latency_share, percent.

    000's teacher has the score of another split and 004 prints none for its own, so their students have no share.
    """
    networks = papers.table("001", "networks")
    cost = 100 * networks.loc["BERT-student"] / networks.loc["BERT-base"]
    suites = pd.concat([papers.table("001", f"glue_{kind}")["glue"] for kind in ("size", "composition")])
    suites = suites[~suites.index.duplicated()]
    whole = papers.table("002", "glue")["score"]
    kept = {"DistilBERT": 100 * whole["DistilBERT"] / whole["BERT-base"]}
    kept |= {
        name: 100 * score / suites["teacher"] for name, score in suites.items() if name not in ("teacher", "DistilBERT")
    }
    found = pd.DataFrame({"label": list(kept), "kept": list(kept.values())})
    return found.assign(parameters_share=cost["parameters_m"], latency_share=cost["inference_s"])


def best(students: pd.DataFrame) -> pd.DataFrame:
    """The student of each study that keeps most by its mean, controls apart: a row per study."""
    trained = students[~students["control"]]
    return trained.loc[trained.groupby("study", sort=False)["kept"].idxmax()]


def untrained(student, students: pd.DataFrame, results: pd.DataFrame) -> tuple[str, pd.Series]:
    """The control of a student's own size, and what the student keeps above it by seed, in points; "" where there is none."""
    controls = students[(students["study"] == student.study) & students["control"]]
    alike = controls.loc[controls["parameters"] == student.parameters, "scenario"]
    if alike.empty:
        return "", pd.Series(dtype=float)
    teacher, scored = SCORED[student.study]
    shares = (_share(scored(results, name), scored(results, teacher)) for name in (student.scenario, alike.iloc[0]))
    return alike.iloc[0], paired_differences(*shares)


# --- tables and sentences --------------------------------------------------------------------------------------------


def best_table(students: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """For each study its best student, what that keeps and costs, and how far it is above the control of the same size."""
    rows = {}
    for row in best(students).itertuples():
        control, gain = untrained(row, students, results)
        rows[STUDIES[row.study]] = {
            "best student": row.scenario,
            "score kept, %": _kept(row),
            "parameters, %": _number(row.parameters_share),
            "latency, %": _number(row.latency_share),
            "tokens a parameter": _number(row.tokens_per_parameter, 2),
            "untrained": control or "–",
            "gain over it [95 %]": with_interval(interval(gain)) if len(gain) else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("study")


def table(students: pd.DataFrame) -> pd.DataFrame:
    """Every student: what it keeps and what it costs, those on a front marked."""
    rows = {
        (STUDIES[row.study], row.scenario): {
            "score kept, %": _kept(row),
            "seeds": row.n,
            "parameters": _number(row.parameters, 0),
            "of the teacher's, %": _number(row.parameters_share),
            "latency, ms": _number(1000 * row.latency_s, 2),
            "of its latency, %": _number(row.latency_share),
            "tokens seen": _number(row.tokens_seen, 0),
            "a parameter": _number(row.tokens_per_parameter, 2),
            "on a front": bool(row.on_front),
        }
        for row in students.itertuples()
    }
    found = pd.DataFrame(list(rows.values()), dtype=object)
    found.index = (
        pd.MultiIndex.from_tuples(list(rows), names=["study", "student"]) if rows else pd.Index([], name="student")
    )
    return found


def _kept(row) -> str:
    return f"{row.kept:.1f}" if np.isnan(row.high) else f"{row.kept:.1f} ± {(row.high - row.low) / 2:.1f}"


def _number(value: float, digits: int = 1) -> str:
    return "–" if np.isnan(value) else f"{value:,.{digits}f}"


def words(students: pd.DataFrame, results: pd.DataFrame) -> str:
    """What the figure says, in a paragraph: the best, whether any keeps all, and what the untrained controls keep."""
    if students.empty:
        return "Not measured: no student has a seed in common with its teacher."
    top = students.loc[students["kept"].idxmax()]
    below, above = (students["high"] < 100).sum(), (students["low"] > 100).sum()
    text = (
        f"{below} of {number_of(len(students), 'student')} keep less than their teacher's score: the whole 95 % interval lies "
        f"below 100 %. {above or 'No'} {'student is' if above < 2 else 'are'} shown to keep more; the others cannot be told from "
        f"their teacher. The highest mean, {_kept(top)} %, is that of {plain(top['scenario'])} ({STUDIES[top['study']]}), with "
        f"{_number(top['parameters_share'], 0)} % of the parameters."
    )
    told = []
    for row in best(students).itertuples():
        control, gain = untrained(row, students, results)
        if len(gain):
            verdict = "one seed" if len(gain) == 1 else VERDICTS[decided(gain)]
            pair = f"{plain(row.scenario)} less {plain(control)}"
            told.append(f"{STUDIES[row.study]}, {pair}: {with_interval(interval(gain))} points ({verdict})")
    if told:
        text += f" Did training help? Against the same layers without any training: {'; '.join(told)}."
    return text


def describe(students: pd.DataFrame) -> str:
    """The figure in words, for readers who do not see it."""
    spoken = [
        f"{STUDIES[row.study]} {row.scenario} {row.kept:.0f} % with {_number(row.parameters_share, 0)} % of the parameters"
        for row in students[students["on_front"]].itertuples()
    ]
    lead = (
        "Share of the teacher's score kept, in percent, against parameters, latency and tokens seen, a dot per student."
    )
    return f"{lead} On a front: {'; '.join(spoken) or 'none, nothing was measured'}."
