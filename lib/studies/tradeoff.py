"""The trade-off over all students of all studies: the share of its teacher's score that a student
keeps, against what it costs in parameters, latency and tokens seen.

Pure functions from the contract tables to a frame and from that to tables and sentences; the figure
is in `lib.studies.tradeoff`. Scores are percent, of one protocol.

The figure of the trade-off: all students of all studies, the score they keep against parameters,
latency and tokens seen.

A hue and a marker per study; hollow: a control without training; hollow, grey diamonds: the papers'
own numbers.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from lib.plan.files import read_scenarios
from lib.report import papers, scores
from lib.report.figures import DIAMOND, PAPER, ink, literal, plain_axes, spread
from lib.report.scores import MEAN
from lib.report.statistics import interval, paired_differences
from lib.report.wording import decided, number_of, plain, with_interval
from lib.studies import ablation, cascade
from lib.studies.herbert import herbert_scores

SCORED: dict[str, tuple[str, Callable[[pd.DataFrame, str], pd.Series]]] = {
    "herbert": ("T1", lambda results, name: herbert_scores(results, name)[MEAN]),
    "transfer_set": (
        "teacher",
        lambda results, name: scores.by_seed(results, "transfer_set", name)[MEAN].dropna(),
    ),
    "ablation": ("teacher", ablation.macro),
    "cascade": ("teacher", cascade.average),
}
"""Study -> its teacher, and the score of a scenario by seed: the mean of herbert's tasks, GLUE's
macro score, the mean over languages. Another study is another entry."""
TEACHERS = ("teacher", "T1", "T2")
COSTS = {
    "parameters_share": "parameters",
    "latency_share": "latency",
    "tokens_per_parameter": "tokens seen",
}
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
    "Score: HerBERT, the mean of three tasks; transfer sets and DistilBERT, GLUE's macro score; "
    "CAMeMBERT, the mean over "
    "languages. Kept: its share of the teacher's, seed by seed; guessing keeps a share too, so "
    "zero is not the floor. Latency: the "
    "median over all models of one shape, which differ by chance alone. Tokens seen: in the "
    "student's own training and that of the "
    "assistants before it; the teacher's are not counted."
)


def frame(
    results: pd.DataFrame, efficiency: pd.DataFrame, tokens: Mapping[str, int] = {}
) -> pd.DataFrame:
    """A row per student of every study that was measured, columns as COLUMNS.

    `kept` is the mean over seeds of 100 * student / teacher, in percent, `low` and `high` the ends
    of its 95 % interval (NaN with one seed). `tokens`: scenario of the cascade -> tokens of its
    whole chain. A model taken from a hub has seen an unknown number (NaN).
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
                row = {
                    "study": study,
                    "scenario": name,
                    "kept": mean,
                    "low": low,
                    "high": high,
                    "n": len(share),
                }
                row |= _costs(own, name, efficiency, tokens if study == cascade.STUDY else {})
                row["parameters_share"] = 100 * row["parameters"] / whole["parameters"]
                row["latency_share"] = 100 * row["latency_s"] / whole["latency_s"]
                row["tokens_per_parameter"] = row["tokens_seen"] / row["parameters"]
                rows.append(row | {"control": name.startswith("truncated")})
    found = pd.DataFrame(rows, columns=COLUMNS).astype({"control": bool})
    return found.assign(
        on_front=np.logical_or.reduce([front(found[cost], found["kept"]) for cost in COSTS])
    )


def _share(student: pd.Series, teacher: pd.Series) -> pd.Series:
    return (100 * student / teacher).astype(float).dropna()


def _costs(
    own: pd.DataFrame, name: str, every: pd.DataFrame, tokens: Mapping[str, int]
) -> dict[str, float]:
    """Parameters, seconds and tokens of a model of one study; the seconds are those of all models
    of its shape."""
    rows = own[own["scenario"] == name]
    if rows.empty:
        return dict.fromkeys(("parameters", "latency_s", "tokens_seen"), np.nan)
    parameters = rows["parameters"].astype(float).max()
    alike = every.loc[every["parameters"] == parameters, "latency_s"].astype(float)
    from_hub = "stage" in rows and rows["stage"].isna().all()
    seen = np.nan if from_hub else tokens.get(name, rows["tokens_seen"].astype(float).max())
    return {"parameters": parameters, "latency_s": alike.median(), "tokens_seen": seen}


def front(cost: pd.Series, kept: pd.Series) -> pd.Series:
    """Which points no other one beats: none costs as little and keeps more, or keeps as much and
    costs less. NaN never is one."""
    cost, kept = cost.astype(float), kept.astype(float)
    beaten = [
        ((cost <= c) & (kept >= k) & ((cost < c) | (kept > k))).any() for c, k in zip(cost, kept)
    ]
    return ~pd.Series(beaten, index=cost.index, dtype=bool) & cost.notna() & kept.notna()


def printed() -> pd.DataFrame:
    """The papers' own students with a share and a size (001's and 002's): label, kept,
    parameters_share, latency_share, percent.

    000's teacher has the score of another split and 004 prints none for its own, so their students
    have no share.
    """
    networks = papers.table("001", "networks")
    cost = 100 * networks.loc["BERT-student"] / networks.loc["BERT-base"]
    suites = pd.concat(
        [papers.table("001", f"glue_{kind}")["glue"] for kind in ("size", "composition")]
    )
    suites = suites[~suites.index.duplicated()]
    whole = papers.table("002", "glue")["score"]
    kept = {"DistilBERT": 100 * whole["DistilBERT"] / whole["BERT-base"]}
    kept |= {
        name: 100 * score / suites["teacher"]
        for name, score in suites.items()
        if name not in ("teacher", "DistilBERT")
    }
    found = pd.DataFrame({"label": list(kept), "kept": list(kept.values())})
    return found.assign(parameters_share=cost["parameters_m"], latency_share=cost["inference_s"])


def best(students: pd.DataFrame) -> pd.DataFrame:
    """The student of each study that keeps most by its mean, controls apart: a row per study."""
    trained = students[~students["control"]]
    return trained.loc[trained.groupby("study", sort=False)["kept"].idxmax()]


def untrained(student, students: pd.DataFrame, results: pd.DataFrame) -> tuple[str, pd.Series]:
    """The control of a student's own size, and what the student keeps above it by seed, in points;
    "" where there is none."""
    controls = students[(students["study"] == student.study) & students["control"]]
    alike = controls.loc[controls["parameters"] == student.parameters, "scenario"]
    if alike.empty:
        return "", pd.Series(dtype=float)
    teacher, scored = SCORED[student.study]
    shares = (
        _share(scored(results, name), scored(results, teacher))
        for name in (student.scenario, alike.iloc[0])
    )
    return alike.iloc[0], paired_differences(*shares)


# --- tables and sentences -------------------------------------------------------------------------


def best_table(students: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """For each study its best student, what that keeps and costs, and how far it is above the
    control of the same size."""
    rows = {}
    for row in best(students).itertuples():
        control, gain = untrained(row, students, results)
        rows[read_scenarios(row.study).name] = {
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
        (read_scenarios(row.study).name, row.scenario): {
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
        pd.MultiIndex.from_tuples(list(rows), names=["study", "student"])
        if rows
        else pd.Index([], name="student")
    )
    return found


def _kept(row) -> str:
    return (
        f"{row.kept:.1f}"
        if np.isnan(row.high)
        else f"{row.kept:.1f} ± {(row.high - row.low) / 2:.1f}"
    )


def _number(value: float, digits: int = 1) -> str:
    return "–" if np.isnan(value) else f"{value:,.{digits}f}"


def words(students: pd.DataFrame, results: pd.DataFrame) -> str:
    """What the figure says, in a paragraph: the best, whether any keeps all, and what the untrained
    controls keep."""
    if students.empty:
        return "Not measured: no student has a seed in common with its teacher."
    top = students.loc[students["kept"].idxmax()]
    below, above = (students["high"] < 100).sum(), (students["low"] > 100).sum()
    text = (
        f"{below} of {number_of(len(students), 'student')} keep less than their teacher's score: "
        f"the whole 95 % interval lies "
        f"below 100 %. {above or 'No'} {'student is' if above < 2 else 'are'} shown to keep more; "
        f"the others cannot be told from "
        f"their teacher. The highest mean, {_kept(top)} %, is that of {plain(top['scenario'])} "
        f"({read_scenarios(top['study']).name}), with "
        f"{_number(top['parameters_share'], 0)} % of the parameters."
    )
    told = []
    for row in best(students).itertuples():
        control, gain = untrained(row, students, results)
        if len(gain):
            verdict = "one seed" if len(gain) == 1 else VERDICTS[decided(gain)]
            pair = f"{plain(row.scenario)} less {plain(control)}"
            told.append(
                f"{read_scenarios(row.study).name}, {pair}: {with_interval(interval(gain))} points ({verdict})"
            )
    if told:
        text += (
            f" Did training help? Against the same layers without any training: {'; '.join(told)}."
        )
    return text


def describe(students: pd.DataFrame) -> str:
    """The figure in words, for readers who do not see it."""
    spoken = [
        f"{read_scenarios(row.study).name} {row.scenario} {row.kept:.0f} % with "
        f"{_number(row.parameters_share, 0)} % of the parameters"
        for row in students[students["on_front"]].itertuples()
    ]
    lead = (
        "Share of the teacher's score kept, in percent, against parameters, latency and tokens "
        "seen, a dot per student."
    )
    return f"{lead} On a front: {'; '.join(spoken) or 'none, nothing was measured'}."


LOOKS = dict(zip(SCORED, (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "v"))))
"""Study -> Okabe and Ito's colour, and marker."""
LABELS = {
    "parameters_share": "parameters, % of the teacher's",
    "latency_share": "latency, % of the teacher's",
    "tokens_per_parameter": "tokens seen per parameter",
}
SIZE = (9.5, 4.7)
"""Inches: the whole width of the page, for three panels."""
ASIDE, LANE = 0.5, 3.2
"""Students of one size stand beside each other, so many hundredths of the axis apart: those of one
study, and the studies."""
NAMED = {
    "DistilBERT": "DistilBERT",
    "corpus0.1pct": "0.1 % of text",
    "randomised": "randomised",
    "generated": "generated",
}
"""The papers' students that are named, and how; the others lie on these."""


def figure(students: pd.DataFrame):
    """Three panels that share the score axis; the front in each is a step line, its students and
    each study's best are named.

    `students` as `tradeoff.frame` gives them.
    """
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, len(COSTS), figsize=SIZE, sharey=True, layout="constrained")
    plt.close(drawing)  # the caller shows it
    for ax, cost in zip(axes, COSTS):
        shown = students.dropna(subset=[cost, "kept"])
        places = _scale(ax, cost, shown[cost])
        at = pd.Series(places(shown[cost]), index=shown.index)
        _draw_front(ax, at, shown, cost)
        _draw_students(ax, _beside(at, shown), shown, students)
        if cost != "tokens_per_parameter":
            ax.plot(100, 100, "o", ms=6.5, mec="none", color=ink())
            ax.annotate(
                "teacher",
                (100, 100),
                xytext=(6, 0),
                textcoords="offset points",
                fontsize=8,
                va="center",
            )
            _draw_printed(ax, cost, named=ax is axes[0])
        plain_axes(ax, "", grid="both")
        ax.set_xlabel(LABELS[cost], fontsize=9)
        _name(ax, _beside(at, shown), shown, students)
    axes[0].set_ylabel("score kept, % of the teacher's", fontsize=9)
    _legend(drawing, students)
    return drawing


def _scale(ax, cost: str, values: pd.Series):
    """Set the axis of a panel; returns what places a column of costs on it. Tokens are logarithmic,
    with a place for none."""
    if cost != "tokens_per_parameter":
        low = min([55.0, *values, *printed()[cost]])
        ax.set_xlim(
            10 * np.floor(low / 10) - (4 if cost == "latency_share" else 14), 113
        )  # room for names
        ax.set_xticks(np.arange(10 * np.floor(low / 10), 101, 10))
        return lambda column: column.to_numpy(dtype=float)
    seen = values[values > 0]
    low, high = (
        (np.floor(np.log10(seen.min())), np.ceil(np.log10(seen.max()) + 0.1))
        if len(seen)
        else (-1.0, 1.0)
    )
    ticks = list(np.arange(low, high + 1))
    ax.set_xticks([low - 1, *ticks], ["none", *(f"{10.0**tick:g}" for tick in ticks)])
    ax.set_xlim(low - 1.4, high + 0.3)
    return lambda column: np.where(
        column > 0, np.log10(column.where(column > 0, 1.0).astype(float)), low - 1
    )


def _beside(at: pd.Series, shown: pd.DataFrame) -> pd.Series:
    """Places at which students of the same cost do not hide each other: a lane a study, and in it
    side by side by score."""
    studies = [study for study in SCORED if study in set(shown["study"])]
    span, moved = max(at.max() - at.min(), 1.0) if len(at) else 1.0, at.copy()
    for (place, study), group in shown.groupby([at.round(2), "study"]):
        order = group["kept"].sort_values().index
        inside = np.arange(len(order)) - (len(order) - 1) / 2
        lane = studies.index(study) - (len(studies) - 1) / 2
        moved[order] = at[order] + span / 100 * (ASIDE * inside + LANE * lane)
    return moved


def _draw_students(ax, x: pd.Series, shown: pd.DataFrame, students: pd.DataFrame) -> None:
    """A mark and a bar (the 95 % interval) each; those on no front, and no study's best, are
    pale."""
    named = set(best(students).index)
    for index, row in shown.iterrows():
        colour, marker = LOOKS[row["study"]]
        strong = row["on_front"] or row["control"] or index in named
        alpha = 1.0 if strong else 0.45
        ax.plot(
            [x[index]] * 2,
            [row["low"], row["high"]],
            lw=1.1,
            color=colour,
            alpha=alpha * 0.7,
            solid_capstyle="butt",
        )
        face = (
            {"mfc": "none", "mec": colour, "mew": 1.4}
            if row["control"]
            else {"mfc": colour, "mec": "none"}
        )
        ax.plot(x[index], row["kept"], marker, ms=5.5, alpha=alpha, zorder=4, **face)


def _draw_front(ax, at: pd.Series, shown: pd.DataFrame, cost: str) -> None:
    """The front as a step line: at each cost the highest share kept so far."""
    members = shown[front(shown[cost], shown["kept"])]
    x = at[members.index].sort_values()
    if len(x):
        kept = members["kept"][x.index]
        ax.step(
            [*x, ax.get_xlim()[1]],
            [*kept, kept.iloc[-1]],
            where="post",
            color=ink(),
            lw=1.1,
            alpha=0.75,
            zorder=2,
        )


def _name(ax, x: pd.Series, shown: pd.DataFrame, students: pd.DataFrame) -> None:
    """Names beside the best of each study and all on a front: to the right of a mark in the left
    half, else to its left."""
    wanted = shown.index.isin(best(students).index) | shown["on_front"]
    named = shown[wanted].sort_values("kept")
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    gap, taken = 0.05 * (high - low), []
    printed_at = [text.get_position() for text in ax.texts]  # the papers' names end there
    for side, ends in (
        (1, x[named.index] <= (left + right) / 2),
        (-1, x[named.index] > (left + right) / 2),
    ):
        group = named[ends]
        for (index, row), height in zip(
            group.iterrows(), spread(list(group["kept"]), gap, low, high)
        ):
            near = x[(x - x[index]).abs() < 0.1 * (right - left)]
            at = (near.max() if side > 0 else near.min()) + side * 0.04 * (right - left)
            height = clear_of([*taken, *(y for end, y in printed_at if at < end)], height, gap)
            taken.append(height)
            _label(
                ax,
                row["scenario"],
                (x[index], row["kept"]),
                (at, height),
                side,
                LOOKS[row["study"]][0],
            )


def clear_of(taken: list[float], height: float, gap: float) -> float:
    """A height, moved up until it is at least `gap` from all that are taken."""
    for other in sorted(taken):
        if abs(height - other) < gap:
            height = other + gap
    return height


def _label(ax, text: str, point: tuple, place: tuple, side: int, colour: str) -> None:
    """A name on a patch of the page's own ground, with a thread to its mark."""
    thread = {
        "arrowstyle": "-",
        "lw": 0.7,
        "alpha": 0.8,
        "color": colour,
        "shrinkA": 0,
        "shrinkB": 3,
    }
    ground = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.8}
    ax.annotate(
        literal(text),
        point,
        xytext=place,
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=8,
        arrowprops=thread,
        bbox=ground,
        zorder=5,
    )


def _draw_printed(ax, cost: str, named: bool) -> None:
    """The papers' students as diamonds, and the names of some where nothing else stands."""
    theirs = printed()
    ax.plot(theirs[cost], theirs["kept"], **DIAMOND, zorder=3)
    for row in theirs[theirs["label"].isin(NAMED)].itertuples() if named else ():
        place = (getattr(row, cost) - 4, row.kept)
        ax.text(
            *place,
            f"{NAMED[row.label]}†",
            ha="right",
            va="center",
            fontsize=8,
            color=PAPER,
            style="italic",
        )


def _legend(drawing, students: pd.DataFrame) -> None:
    """Above the panels: studies, controls, the papers' diamonds, the front."""
    from matplotlib.lines import Line2D

    shown = [
        (
            Line2D([], [], ls="", marker=marker, ms=5.5, mfc=colour, mec="none"),
            read_scenarios(study).name,
        )
        for study, (colour, marker) in LOOKS.items()
        if study in set(students["study"])
    ]
    shown += [
        (
            Line2D([], [], ls="", marker="o", ms=5.5, mfc="none", mec=ink(), mew=1.4),
            "hollow: untrained control",
        ),
        (Line2D([], [], lw=1.1, color=ink(), alpha=0.75), "front"),
        (Line2D([], [], **DIAMOND), "the papers"),
    ]
    handles, labels = zip(*shown)
    drawing.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=7,
        frameon=False,
        fontsize=8.5,
        columnspacing=1.4,
        handletextpad=0.5,
    )
