"""The trade-off over all students of all studies: the share of its teacher's score that a student
keeps, against what it costs in parameters, latency and tokens seen.

Scores are percent, of one protocol.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from lib.report import papers
from lib.report.declaration import Declaration
from lib.report.figures import DIAMOND, PAPER, ink, literal, plain_axes, spread
from lib.report.latency import BUSY, in_words
from lib.report.latency import NOTE as LATENCY_NOTE
from lib.report.page import show
from lib.report.page.show import PALETTE
from lib.report.results import LATENCY, along_the_chain
from lib.report.scores import NONE
from lib.report.section import Analysis
from lib.report.statistics import Sample, interval
from lib.report.tables import difference, share_kept, students_of, teacher_guesses
from lib.report.wording import decided, listed, number_of, or_dash, plain, with_interval

COSTS = {
    "size_share": "size, % of the teacher's",
    "latency_share": "latency, % of the teacher's",
    "tokens_per_parameter": "tokens seen per parameter",
}
"""Column of the students' table -> the label of its axis."""
COLUMNS = [
    *("study", "scenario", "kept", "low", "high", "n", "parameters", *LATENCY, "tokens_seen"),
    *("parameters_share", *COSTS),
    *("control", "on_front"),
]
INTRODUCTION = (
    "All students in one picture: the share of its teacher's score that each keeps, against its "
    "size, its latency and the text it has seen. Up and to the left is better. A *front* joins the "
    "students that no other beats at once in score and in that cost."
)
CAPTION = (
    "Score kept against three costs. Marks: students, mean over runs; bars: 95 % "
    "interval; line: the front; hollow: untrained controls. Named are the students on a front and "
    "each study's best. Students of one size are set a little apart."
)
SHIPPED_CAPTION = (
    "Half filled: the best students and those with a cut vocabulary in int8, joined to the same in "
    "fp32."
)
PRINTED_CAPTION = "Hollow grey diamonds: what the papers print."
BEST_CAPTION = (
    "The student of each study with the highest mean, and what training gave it over an untrained "
    "one of its size, in points of its score."
)
TABLE_CAPTION = "What every student keeps of its teacher's score, and what it costs."
VERDICTS = {1: "it helped", -1: "it did harm", 0: "undecided"}
NOTE = (
    "Score: the main one of each study, as in its section. Kept: its share of the teacher's, run "
    "by run, both above what guessing scores where that is known. Tokens seen: in the student's "
    "own training and that of the assistants before it; the teacher's are not counted. "
    f"{LATENCY_NOTE}"
)


# --- the students ---------------------------------------------------------------------------------


def students(analysis: Analysis) -> pd.DataFrame:
    """A row per student of every study, columns as COLUMNS.

    `kept` is the mean over runs of 100 * student / teacher, in percent, `low` and `high` the ends
    of its 95 % interval (NaN with one run). All three are NaN, and `n` is 0, where the teacher
    cannot be told from guessing. A model taken from a hub has seen an unknown number of
    tokens (NaN).
    """
    final, efficiency, rows = analysis.final, analysis.efficiency, []
    for study in analysis.studies.values():
        own = efficiency[efficiency["study"] == study.name]
        stages = analysis.results.by_scenario("cascade_ta", study.name)
        tokens = along_the_chain(stages, "tokens_seen")
        teacher = _costs(own, study.teacher, {})
        for name in students_of(study, final):
            share = share_kept(study, final, name)
            if len(share) or teacher_guesses(study, final):
                costs = _costs(own, name, tokens)
                parameters_share = 100 * costs["parameters"] / teacher["parameters"]
                rows.append(
                    {"study": study.name, "scenario": name, "n": len(share)}
                    | dict(zip(("kept", "low", "high"), interval(share)))
                    | costs
                    | {
                        "parameters_share": parameters_share,
                        "size_share": parameters_share,  # all are in fp32
                        "latency_share": 100 * costs["latency_s"] / teacher["latency_s"],
                        "tokens_per_parameter": costs["tokens_seen"] / costs["parameters"],
                        "control": study.control_of(name) == name,
                    }
                )
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"control": bool})
    fronts = [front(table[cost], table["kept"]) for cost in COSTS]
    return table.assign(on_front=np.logical_or.reduce(fronts))


def _costs(own: pd.DataFrame, name: str, tokens: Mapping[str, int]) -> dict[str, float]:
    """Parameters, latency and tokens of a model of one study."""
    rows = own[own["scenario"] == name]
    if rows.empty:
        return dict.fromkeys(("parameters", *LATENCY, "tokens_seen"), np.nan)
    costs = {name: rows[name].astype(float).max() for name in ("parameters", *LATENCY)}
    from_hub = "stage" in rows and rows["stage"].isna().all()
    seen = np.nan if from_hub else tokens.get(name, rows["tokens_seen"].astype(float).max())
    return costs | {"tokens_seen": seen}


def front(cost: pd.Series, kept: pd.Series) -> pd.Series:
    """Which points no other one beats: none costs as little and keeps more, or keeps as much and
    costs less. NaN never is one."""
    cost, kept = cost.astype(float), kept.astype(float)
    beaten = [
        ((cost <= c) & (kept >= k) & ((cost < c) | (kept > k))).any() for c, k in zip(cost, kept)
    ]
    return ~pd.Series(beaten, index=cost.index, dtype=bool) & cost.notna() & kept.notna()


def printed_students() -> pd.DataFrame:
    """The papers' own students with a share and a size (001's and 002's): label, kept,
    size_share, latency_share, percent. 000's teacher has the score of another split and 004
    prints none for its own, so their students have no share."""
    networks = papers.table("001", "networks")
    cost = 100 * networks.loc["BERT-student"] / networks.loc["BERT-base"]
    kinds = ("size", "composition")
    suites = pd.concat([papers.table("001", f"glue_{kind}")["glue"] for kind in kinds])
    suites = suites[~suites.index.duplicated()]
    whole = papers.table("002", "glue")["score"]
    kept = {"DistilBERT": 100 * whole["DistilBERT"] / whole["BERT-base"]}
    for name, score in suites.drop(["teacher", "DistilBERT"]).items():
        kept[name] = 100 * score / suites["teacher"]
    table = pd.DataFrame({"label": list(kept), "kept": list(kept.values())})
    return table.assign(size_share=cost["parameters_m"], latency_share=cost["inference_s"])


def best(table: pd.DataFrame) -> pd.DataFrame:
    """The student of each study that keeps most by its mean, controls apart: a row per study."""
    trained = table[~table["control"]].dropna(subset="kept")
    return trained.loc[trained.groupby("study", sort=False)["kept"].idxmax()]


def gain_over_control(study: Declaration, results: pd.DataFrame, student: str) -> Sample:
    """By how much a student's main score is above its untrained control's, in points; empty without
    one."""
    control = study.control_of(student)
    if not control or control == student:
        return NONE
    return difference(study, results, student, control)


# --- tables and sentences -------------------------------------------------------------------------


def best_table(table: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    """For each study its best student, what that keeps and costs, and how far it is above its
    untrained control."""
    rows = {}
    for row in best(table).itertuples():
        study = analysis.studies[row.study]
        gain = gain_over_control(study, analysis.final, row.scenario)
        rows[study.short] = {
            "best student": row.scenario,
            "score kept, %": _kept(row),
            "parameters, %": or_dash(row.parameters_share),
            "latency, %": _latency_share(row),
            "tokens a parameter": or_dash(row.tokens_per_parameter, 2),
            "untrained": study.control_of(row.scenario) if len(gain) else "–",
            "gain over it [95 %]": with_interval(interval(gain)) if len(gain) else "–",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("study")


def students_table(table: pd.DataFrame, analysis: Analysis) -> pd.DataFrame:
    """Every student: what it keeps and what it costs, those on a front marked."""
    rows = {
        (analysis.studies[row.study].short, row.scenario): {
            "score kept, %": _kept(row),
            "runs": row.n or "–",
            "parameters": or_dash(row.parameters, 0),
            "of the teacher's, %": or_dash(row.parameters_share),
            "latency, ms": in_words(row.latency_s, row.latency_low, row.latency_high),
            "of its latency, %": _latency_share(row),
            "tokens seen": or_dash(row.tokens_seen, 0),
            "a parameter": or_dash(row.tokens_per_parameter, 2),
            "on a front": bool(row.on_front),
        }
        for row in table.itertuples()
    }
    frame = pd.DataFrame(list(rows.values()), dtype=object)
    frame.index = pd.MultiIndex.from_tuples(list(rows) or [("", "")], names=["study", "student"])[
        : len(rows)
    ]
    return frame


def _kept(row) -> str:
    if np.isnan(row.high):
        return or_dash(row.kept)
    return f"{row.kept:.1f} ± {(row.high - row.low) / 2:.1f}"


def _latency_share(row) -> str:
    return BUSY if _busy(row) else or_dash(row.latency_share)


def _busy(row) -> bool:
    """Whether a student was timed, and it or its teacher has no latency all the same."""
    return np.isnan(row.latency_share) and not np.isnan(row.latency_low)


def paragraph(table: pd.DataFrame, analysis: Analysis) -> str:
    """What the figure says: the best student, whether any keeps all, and what training gave over
    the untrained controls."""
    if table.empty:
        return "Not measured: no student has a run in common with its teacher."
    kept = table.dropna(subset="kept")
    guessing = table.loc[table["kept"].isna(), "study"].unique()
    without = (
        f"No share is given for {listed([analysis.studies[name].short for name in guessing])}, "
        "where the teacher cannot be told from guessing."
    )
    if kept.empty:
        return without
    top = kept.loc[kept["kept"].idxmax()]
    name = f"{plain(top['scenario'])} ({analysis.studies[top['study']].short})"
    size = f"with {or_dash(top['parameters_share'], 0)} % of the parameters"
    below, above = int((kept["high"] < 100).sum()), int((kept["low"] > 100).sum())
    text = (
        f"{below} of {len(kept)} students keep less than their teacher's score (the "
        f"whole 95 % interval lies below 100 %), {above} keep more; the others cannot be told from "
        f"their teacher. The highest mean, {_kept(top)} %, is that of {name}, {size}."
    )
    if len(kept) == 1:
        text = f"{name} keeps {_kept(top)} % of its teacher's score, {size}."
    text += f" {without}" if len(guessing) else ""
    parts = []
    for row in best(table).itertuples():
        study = analysis.studies[row.study]
        gain = gain_over_control(study, analysis.final, row.scenario)
        if len(gain):
            verdict = "one run" if len(gain) == 1 else VERDICTS[decided(gain)]
            pair = f"{plain(row.scenario)} less {plain(study.control_of(row.scenario))}"
            parts.append(
                f"{study.short}, {pair}: {with_interval(interval(gain))} points ({verdict})"
            )
    if parts:
        text += f" Did training help? Against the same layers untrained: {'; '.join(parts)}."
    return text


def shown(table: pd.DataFrame, analysis: Analysis, shipped: pd.DataFrame) -> list:
    """The figure, what it says, and the best students; where no student has a share of its
    teacher's score, only why not."""
    says = show.prose(paragraph(table, analysis))
    if table["kept"].isna().all():
        return [says]
    words = caption(analysis, shipped), describe(table, analysis, shipped)
    return [
        show.prose(INTRODUCTION),
        show.figure(figure(table, analysis, shipped), *words, name="tradeoff"),
        says,
        show.table(best_table(table, analysis), BEST_CAPTION, note=NOTE),
    ]


def every_student(table: pd.DataFrame, analysis: Analysis) -> HTML:
    """The table of all students, or why there is none."""
    if table.empty:
        return show.prose(paragraph(table, analysis))
    return show.table(students_table(table, analysis), TABLE_CAPTION, note=NOTE)


def _has_paper(analysis: Analysis) -> bool:
    """Whether the papers' own students are drawn: where one of their studies ran."""
    return any(study.source for study in analysis.studies.values())


def caption(analysis: Analysis, shipped: pd.DataFrame) -> str:
    """That of the figure."""
    parts = [CAPTION]
    parts += [SHIPPED_CAPTION] * bool(len(shipped)) + [PRINTED_CAPTION] * _has_paper(analysis)
    return " ".join(parts)


def describe(table: pd.DataFrame, analysis: Analysis, shipped: pd.DataFrame) -> str:
    """The figure in words, for readers who do not see it."""
    parts = [
        f"{analysis.studies[row.study].short} {row.scenario} {row.kept:.0f} % with "
        f"{or_dash(row.parameters_share, 0)} % of the parameters"
        for row in table[table["on_front"]].itertuples()
    ]
    in_int8 = [
        f"{analysis.studies[row.study].short} {row.scenario} {row.kept:.0f} % with "
        f"{or_dash(row.size_share, 0)} % of the size"
        for row in shipped[shipped["int8"]].itertuples()
    ]
    text = (
        "Share of the teacher's score kept, in percent, against size, latency and tokens "
        "seen, a dot per student. On a front: "
        f"{'; '.join(parts) or 'none, nothing was measured'}."
    )
    return text + f" In int8: {'; '.join(in_int8)}." * bool(in_int8)


# --- the figure -----------------------------------------------------------------------------------

MARKERS = "os^vDP"
SIZE = (9.5, 4.7)
"""Inches: the whole width of the page, for three panels."""
STEP, LANE = 0.5, 3.2
"""Students of one cost stand beside each other, so many hundredths of the axis apart: those of one
study, and the studies."""
PRINTED_NAMES = {
    "DistilBERT": "DistilBERT",
    "corpus0.1pct": "0.1 % of text",
    "randomised": "randomised",
    "generated": "generated",
}
"""The papers' students that are named; the others lie on these."""


def figure(table: pd.DataFrame, analysis: Analysis, shipped: pd.DataFrame):
    """Three panels that share the score axis: a hue and a marker per study, hollow for untrained
    controls, half filled in int8 (rows of `lib.studies.shipped.shipped`), hollow grey diamonds for
    the papers. A step line is the front; its students, each study's best and those that were
    shipped are named."""
    import matplotlib.pyplot as plt

    looks = {
        name: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(analysis.studies)
    }
    has_paper = _has_paper(analysis)
    in_int8 = shipped[shipped["int8"]]
    ships = table.merge(in_int8[["study", "scenario"]].assign(index=1), "left")["index"].notna()
    named = table.index[table.index.isin(best(table).index) | ships.to_numpy()]
    drawing, axes = plt.subplots(1, len(COSTS), figsize=SIZE, sharey=True, layout="constrained")
    plt.close(drawing)  # the caller shows it
    for ax, (cost, label) in zip(axes, COSTS.items()):
        shown = table.dropna(subset=[cost, "kept"])
        smaller = in_int8[cost].dropna() if cost in in_int8 else []
        place = _set_scale(ax, cost, [*shown[cost], *smaller])
        x = pd.Series(place(shown[cost]), index=shown.index)
        _draw_front(ax, x, shown[front(shown[cost], shown["kept"])])
        x = _side_by_side(x, shown, list(looks))
        _draw_students(ax, x, shown, named, looks)
        if cost in in_int8:
            _draw_int8(ax, cost, x, shown, in_int8, looks)
        if cost != "tokens_per_parameter":
            ax.plot(100, 100, "o", ms=6.5, mec="none", color=ink())
            place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate("teacher", (100, 100), fontsize=8, **place)
            if has_paper:
                _draw_printed(ax, cost, named=ax is axes[0])
        if cost == "latency_share" and (busy := sum(map(_busy, table.itertuples()))):
            which = number_of(busy, "student") if busy < len(table) else "all"
            place = {"ha": "center", "transform": ax.transAxes, "fontsize": 8.5}
            ax.text(0.5, 0.02, f"{which} {BUSY}", **place)
        plain_axes(ax, "", grid="both")
        ax.set_xlabel(label, fontsize=9)
        _name_students(ax, x, shown, named, looks)
    axes[0].set_ylabel("score kept, % of the teacher's", fontsize=9)
    _legend(
        drawing,
        {analysis.studies[n].short: looks[n] for n in looks if n in set(table["study"])},
        has_paper,
        bool(len(in_int8)),
    )
    return drawing


def _set_scale(ax, cost: str, values: Sequence[float]):
    """Set the axis of a panel; returns what places a column of costs on it. Tokens are logarithmic,
    with a place for none."""
    if cost != "tokens_per_parameter":
        least = min([55.0, *values, *printed_students()[cost]])
        step = 10 if least >= 40 else 20
        low = step * np.floor(least / step)
        room = 14 if step == 10 else 6  # for names, which else stand between int8 and fp32
        ax.set_xlim(low - (4 if cost == "latency_share" else room), 113)
        ax.set_xticks(np.arange(low, 101, step))
        return lambda column: column.to_numpy(dtype=float)
    values = np.asarray(values, dtype=float)
    seen = values[values > 0]
    low, high = -1.0, 1.0
    if len(seen):
        low, high = np.floor(np.log10(seen.min())), np.ceil(np.log10(seen.max()) + 0.1)
    ticks = list(np.arange(low, high + 1))
    ax.set_xticks([low - 1, *ticks], ["none", *(f"{10.0**tick:g}" for tick in ticks)])
    ax.set_xlim(low - 1.4, high + 0.3)

    def place(column: pd.Series) -> np.ndarray:
        positive = column.where(column > 0, 1.0).astype(float)
        return np.where(column > 0, np.log10(positive), low - 1)

    return place


def _side_by_side(x: pd.Series, shown: pd.DataFrame, studies: list[str]) -> pd.Series:
    """Places at which students of the same cost do not hide each other: a lane a study, and in it
    side by side by score."""
    studies = [study for study in studies if study in set(shown["study"])]
    span, moved = max(x.max() - x.min(), 1.0) if len(x) else 1.0, x.copy()
    for (_, study), group in shown.groupby([x.round(2), "study"]):
        order = group["kept"].sort_values().index
        within = np.arange(len(order)) - (len(order) - 1) / 2
        lane = studies.index(study) - (len(studies) - 1) / 2
        moved[order] = x[order] + span / 100 * (STEP * within + LANE * lane)
    return moved


def _draw_students(ax, x: pd.Series, shown: pd.DataFrame, named, looks: Mapping) -> None:
    """A mark and a bar (the 95 % interval) each; those on no front, and no study's best, are
    pale."""
    for index, row in shown.iterrows():
        colour, marker = looks[row["study"]]
        alpha = 1.0 if row["on_front"] or row["control"] or index in named else 0.45
        bar = {"lw": 1.1, "color": colour, "alpha": alpha * 0.7, "solid_capstyle": "butt"}
        ax.plot([x[index]] * 2, [row["low"], row["high"]], **bar)
        face = {"mfc": colour, "mec": "none"}
        if row["control"]:
            face = {"mfc": "none", "mec": colour, "mew": 1.4}
        ax.plot(x[index], row["kept"], marker, ms=5.5, alpha=alpha, zorder=4, **face)


def _draw_int8(
    ax, cost: str, x: pd.Series, shown: pd.DataFrame, in_int8: pd.DataFrame, looks: Mapping
) -> None:
    """A half filled mark for each student in int8, and a thread to the same student in fp32."""
    for row in in_int8.dropna(subset=[cost, "kept"]).itertuples():
        own = (shown["study"] == row.study) & (shown["scenario"] == row.scenario)
        colour, marker = looks[row.study]
        at = [*x[own], getattr(row, cost)], [*shown.loc[own, "kept"], row.kept]
        ax.plot(*at, lw=0.9, ls=":", color=colour, zorder=3)
        half = {"fillstyle": "left", "mfc": colour, "mfcalt": "none", "mec": colour, "mew": 0.9}
        ax.plot(at[0][-1], at[1][-1], marker, ms=6, zorder=4, **half)


def _draw_front(ax, x: pd.Series, members: pd.DataFrame) -> None:
    """The front as a step line: at each cost the highest share kept so far."""
    x = x[members.index].sort_values()
    if len(x):
        kept = members["kept"][x.index]
        style = {"where": "post", "color": ink(), "lw": 1.1, "alpha": 0.75, "zorder": 2}
        ax.step([*x, ax.get_xlim()[1]], [*kept, kept.iloc[-1]], **style)


def _name_students(ax, x: pd.Series, shown: pd.DataFrame, named, looks: Mapping) -> None:
    """Names of the best of each study and all on a front: to the right of a mark in the left half,
    else to its left, moved apart where they would overlap."""
    chosen = shown[shown.index.isin(named) | shown["on_front"]].sort_values("kept")
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    gap = 0.05 * (high - low)
    taken: list[float] = []
    paper_names = [text.get_position() for text in ax.texts]
    in_left_half = x[chosen.index] <= (left + right) / 2
    for side, group in ((1, chosen[in_left_half]), (-1, chosen[~in_left_half])):
        heights = spread(list(group["kept"]), gap, low, high)
        for (index, row), height in zip(group.iterrows(), heights):
            near = x[(x - x[index]).abs() < 0.1 * (right - left)]
            at = (near.max() if side > 0 else near.min()) + side * 0.04 * (right - left)
            height = clear_of([*taken, *(y for end, y in paper_names if at < end)], height, gap)
            taken.append(height)
            colour = looks[row["study"]][0]
            _label(ax, row["scenario"], (x[index], row["kept"]), (at, height), side, colour)


def clear_of(taken: list[float], height: float, gap: float) -> float:
    """A height, moved up until it is at least `gap` from all that are taken."""
    for other in sorted(taken):
        if abs(height - other) < gap:
            height = other + gap
    return height


def _label(ax, text: str, point: tuple, place: tuple, side: int, colour: str) -> None:
    """A name on a patch of the page's own ground, with a thread to its mark."""
    thread = {"arrowstyle": "-", "lw": 0.7, "alpha": 0.8, "color": colour}
    ax.annotate(
        literal(text),
        point,
        xytext=place,
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=8,
        arrowprops=thread | {"shrinkA": 0, "shrinkB": 3},
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.8},
        zorder=5,
    )


def _draw_printed(ax, cost: str, named: bool) -> None:
    """The papers' students as diamonds, and the names of some where nothing else stands."""
    paper = printed_students()
    ax.plot(paper[cost], paper["kept"], **DIAMOND, zorder=3)
    style = {"ha": "right", "va": "center", "fontsize": 8, "color": PAPER, "style": "italic"}
    for row in paper[paper["label"].isin(PRINTED_NAMES)].itertuples() if named else ():
        ax.text(getattr(row, cost) - 4, row.kept, f"{PRINTED_NAMES[row.label]}†", **style)


def _legend(drawing, looks: Mapping[str, tuple], has_paper: bool, has_int8: bool) -> None:
    """Above the panels: studies, controls, int8, the front, the papers' diamonds."""
    from matplotlib.lines import Line2D

    handles = {
        name: Line2D([], [], ls="", marker=marker, ms=5.5, mfc=colour, mec="none")
        for name, (colour, marker) in looks.items()
    }
    hollow = {"ls": "", "marker": "o", "ms": 5.5, "mfc": "none", "mec": ink(), "mew": 1.4}
    handles["hollow: untrained control"] = Line2D([], [], **hollow)
    if has_int8:
        half = {"fillstyle": "left", "mfc": ink(), "mfcalt": "none", "mec": ink()}
        handles["half filled: in int8"] = Line2D([], [], ls="", marker="o", ms=6, **half)
    handles["front"] = Line2D([], [], lw=1.1, color=ink(), alpha=0.75)
    if has_paper:
        handles["the papers"] = Line2D([], [], **DIAMOND)
    style = {"frameon": False, "fontsize": 8.5, "columnspacing": 1.4, "handletextpad": 0.5}
    style |= {"loc": "outside upper left", "ncols": 5 if has_int8 else 7}
    drawing.legend(handles.values(), handles.keys(), **style)
