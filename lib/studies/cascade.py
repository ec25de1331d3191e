"""The study `cascade`: multilingual students made one layer shallower at a time, against one hop
and no training (004, CAMeMBERT).

Scenarios are named `<chain>-<layers>`, and `teacher`. `results` are rows of one protocol;
accuracies are percent. Where the paper's numbers stand beside ours, depths must correspond: a
teacher of 12 layers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.report import papers, tables
from lib.report.declaration import Declaration, chain_of, from_files
from lib.report.figures import (
    PAPER,
    draw_lines,
    ink,
    layer_shade,
    literal,
    panels,
    plain_axes,
    thinned,
)
from lib.report.page import show
from lib.report.results import along_the_chain
from lib.report.scores import (
    NONE,
    Measure,
    Weights,
    mean_of,
    one_protocol,
    samples,
)
from lib.report.scores import average as average_of
from lib.report.section import Analysis
from lib.report.statistics import Interval, Sample, interval
from lib.report.wording import decided, number_of, plain, quoted, signed, signed_pm, with_interval
from lib.training.mappings import MATCHED
from lib.training.parameters import LOSSES

NAME, TASK = "cascade", "xnli"
AVERAGE = "average"
"""The score on which the study is judged: the mean over 004's languages."""
CHANCE = 100 / 3
"""Three classes, equally frequent."""
LANGUAGES = {
    "en": "English",
    "es": "Spanish",
    "zh": "Chinese",
    "de": "German",
    "ar": "Arabic",
    "ur": "Urdu",
}
"""In the order of 004's Table 3. A toy language takes the place of its namesake: toy-es for es."""
PAPER_LAYERS = 12
"""Layers of the teacher in 004."""
SCORES_NOTE = (
    "direct: one hop; truncated: no pretraining. Fine-tuning sees English pairs alone, so every "
    "other language is zero-shot transfer. Guessing gives 33.3 %. The average is the mean over the "
    "paper's six languages, run by run."
)
PAPER_NOTE = (
    "One run per row, by the paper's account the best of extensive tuning. LightMBERT's row is "
    "quoted from its authors. mBERT and DistilmBERT are no part of the paper: DistilBERT's authors "
    "print them on their model page; their averages are computed here. "
)


# --- scores ---------------------------------------------------------------------------------------


def code_of(language: str) -> str:
    """The language whose place it takes: "es" of "toy-es"."""
    return language.removeprefix("toy-")


def languages(results: pd.DataFrame) -> dict[str, str]:
    """The languages measured: code (es) -> as results name it (toy-es), those of 004's Table 3
    first and in its order."""
    names = {code_of(name): name for name in sorted(_rows(results)["language"].unique())}
    return {code: names[code] for code in sorted(names, key=_language_place)}


def _language_place(code: str) -> int:
    return list(LANGUAGES).index(code) if code in LANGUAGES else len(LANGUAGES)


def _rows(results: pd.DataFrame) -> pd.DataFrame:
    results = one_protocol(results)
    return results[(results["study"] == NAME) & (results["task"] == TASK)]


def scored(measured: Sequence[Measure]) -> dict[str, Weights]:
    """XNLI by language (codes as in 004), and AVERAGE over 004's six or those of them that were
    measured; over all where none was."""
    names = sorted({language for task, language, _ in measured if task == TASK})
    codes = sorted(map(code_of, names), key=_language_place)
    scores = {
        code: mean_of(m for m in measured if m[0] == TASK and code_of(m[1]) == code)
        for code in codes
    }
    averaged = [code for code in codes if code in LANGUAGES] or codes
    return scores | {AVERAGE: average_of(scores[code] for code in averaged)}


def accuracy(results: pd.DataFrame, scenario: str) -> dict[str, Sample]:
    """A scenario's scores by the names of `scored`, in percent."""
    return samples(NAME, results, scenario, scored)


def average(results: pd.DataFrame, scenario: str) -> Sample:
    """The mean over languages, in percent."""
    return accuracy(results, scenario).get(AVERAGE, NONE)


def printed_accuracy(scenario: str) -> pd.DataFrame:
    """004's Table 3: one row of its single run, columns as `accuracy`. Its cascade is 12 → 11 → … →
    6, and LightMBERT stands for `direct-6`. The average is the printed one."""
    table = papers.table("004", "xnli").rename(columns={"mean": AVERAGE})
    chain, layers = chain_of(scenario)
    row = str(layers) if chain == "cascade" else ""
    row = "LMB" if scenario == f"direct-{PAPER_LAYERS // 2}" else row
    return table.loc[table.index == row].reset_index(drop=True)


def printed_layers() -> list[int]:
    """The depths of 004's cascade, deepest first: 11 … 6."""
    names = papers.table("004", "xnli").index
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


# --- chains ---------------------------------------------------------------------------------------


def teacher_layers(results: pd.DataFrame) -> int:
    """How many layers the teacher has; 0 if it was not measured."""
    layers = _rows(results).loc[lambda rows: rows["scenario"] == "teacher", "layers"]
    return int(layers.max()) if len(layers) else 0


def chains(results: pd.DataFrame) -> dict[str, list[int]]:
    """Chain -> its depths, deepest first: cascade, direct, truncated, then others."""
    first = ["cascade", "direct", "truncated"]
    depths: dict[str, list[int]] = {}
    for chain, layers in sorted(map(chain_of, _rows(results)["scenario"].unique()), reverse=True):
        if layers:
            depths.setdefault(chain, []).append(layers)
    order = [*(c for c in first if c in depths), *sorted(c for c in depths if c not in first)]
    return {chain: depths[chain] for chain in order}


def takes_larger_hops(chain: str) -> bool:
    """Whether the chain is a cascade of more than one layer at a time, such as cascade_by_2."""
    return bool(re.fullmatch(r"cascade_by_([2-9]|\d{2,})", chain))


def hops(results: pd.DataFrame) -> list[tuple[str, str]]:
    """The cascade's hops from the teacher down: pairs of scenarios, the deeper one first."""
    names = [f"cascade-{layers}" for layers in chains(results).get("cascade", [])]
    names = ["teacher", *names] if teacher_layers(results) else names
    return list(zip(names, names[1:]))


# --- the declaration ------------------------------------------------------------------------------


def declared() -> Declaration:
    return replace(
        from_files(NAME),
        main=AVERAGE,
        titles=LANGUAGES,
        scored=scored,
        printed=printed_accuracy,
        comparable=lambda results: teacher_layers(results) == PAPER_LAYERS,
        measures={"as_printed": as_printed, "more_assistants": more_assistants},
        notes={"scores_table": SCORES_NOTE},
        section=section,
        findings=findings,
        details=details,
    )


def section(analysis: Analysis) -> list:
    final = analysis.final
    return [
        show.figure(
            figure_chains(analysis.studies[NAME], final),
            "Average accuracy of the cascade, of one hop and of no pretraining, by depth. Bars: "
            "95 % interval over runs, cut off at the panel's edge. Right, hollow and grey: the "
            "paper.",
            describe(final, [AVERAGE]),
        ),
        show.figure(
            figure_languages(final),
            "Accuracy of the cascade by language, from the teacher down. Bars: 95 % interval over "
            "runs, cut off at the panel's edge. Right, hollow and grey: the paper.",
            describe(final, list(languages(final))),
        ),
        show.table(
            comparison_table(
                analysis.studies[NAME], final, along_the_chain(_hop_stages(analysis), "steps")
            ),
            "Chains against each other at equal depth, in points.",
            note="Paired by run: on average with the ends of the 95 % interval, by "
            "language ± half of it. Steps: optimizer steps of the model and of every assistant "
            "before it, first against second. As in the paper, the first assistant's learning rate "
            "rises over all its steps; that of the one hop rises and falls again.",
        ),
    ]


def details(analysis: Analysis) -> list:
    mixture = _mixture(analysis)
    histories = {name: stage["history"] for name, stage in _hop_stages(analysis).items()}
    return [
        show.prose(DIFFERENCES_FROM_THE_PAPER),
        show.table(
            drops_table(analysis.studies[NAME], analysis.final),
            "Change of accuracy at each hop, and over the whole cascade.",
        ),
        show.table(
            paper_table(),
            "The paper's Table 3, and two reference models.",
            theirs=["printed"],
            note=PAPER_NOTE + " ".join(map(quoted, papers.flags("004", "hyperparameters"))),
        ),
        show.table(
            shares_table(mixture),
            "Share of each language, beside the paper's Table 1.",
            theirs=["paper"],
            note=shares_note(mixture),
        ),
        show.figure(
            figure_hops(histories),
            "Loss of every hop by kind and layer, on logarithmic axes.",
            describe_hops(histories),
        ),
    ]


DIFFERENCES_FROM_THE_PAPER = (
    "What differs from the paper, or needs saying: padding is left out of every mean, where the "
    "paper pads all lines to one length and counts every element. The embeddings are shared and "
    "frozen, so the loss of the first hidden pair is a constant, dropout apart, that no student "
    "can lower. Attention maps are compared after dropout, as a model in training gives them. The "
    "paper's public code, in the revisions we could read, keeps one line of each batch and maps "
    "single layers without averaging: a candidate cause of its losses; here every line counts. "
    "Averaging is another candidate: each hop pulls the student's top layer towards the mean of "
    "its teacher's top two, and a chain with `mapping: top` (one more entry in `scenarios.yaml`) "
    "would tell."
)


def _hop_stages(analysis: Analysis) -> dict[str, dict]:
    return analysis.results.by_scenario("cascade_ta", NAME)


def _mixture(analysis: Analysis) -> Mapping:
    """Statistics of the corpus of several languages; empty if there is none."""
    prepared = analysis.results.by_scenario("data_prep", NAME).values()
    return next((s["statistics"] for s in prepared if s["statistics"].get("languages")), {})


# --- what claims.yaml names -----------------------------------------------------------------------


def as_printed(results: pd.DataFrame, efficiency: pd.DataFrame) -> bool:
    """Whether the study has 004's own depth and languages, so that a printed accuracy compares."""
    names = list(languages(results).values())
    return teacher_layers(results) == PAPER_LAYERS and names == list(LANGUAGES)


def more_assistants(results: pd.DataFrame, efficiency: pd.DataFrame) -> list[Sample]:
    """Points by which one layer at a time is above larger hops, at every depth both reach."""
    depths = chains(results)
    return [
        average(results, f"cascade-{n}") - average(results, f"{chain}-{n}")
        for chain in filter(takes_larger_hops, depths)
        for n in depths[chain]
        if n in depths.get("cascade", [])
    ]


# --- tables ---------------------------------------------------------------------------------------


def _changes(
    study: Declaration, results: pd.DataFrame, first: str, second: str, names: Mapping[str, str]
) -> dict[str, str]:
    """first - second on average, with its interval, and in each language; {} if not measured."""
    change = {
        code: tables.difference(study, results, first, second, code) for code in [AVERAGE, *names]
    }
    if not any(map(len, change.values())):
        return {}
    whole = change.pop(AVERAGE)
    cells = {names[code]: signed_pm(d) if len(d) else "–" for code, d in change.items()}
    return {AVERAGE: with_interval(interval(whole)) if len(whole) else "–"} | cells


def comparison_table(
    study: Declaration, results: pd.DataFrame, steps: Mapping[str, int]
) -> pd.DataFrame:
    """Chains against each other at each depth both have. `steps`: scenario -> optimizer steps of
    its whole chain."""
    names, depths = languages(results), chains(results)
    pairs = [("cascade", "direct"), ("cascade", "truncated"), ("direct", "truncated")]
    own = {chain for pair in pairs for chain in pair}
    pairs += [(chain, "cascade") for chain in depths if chain not in own]
    rows = []
    for first, second in pairs:
        for layers in depths.get(first, []):
            if layers in depths.get(second, []):
                pair = [f"{first}-{layers}", f"{second}-{layers}"]
                counts = " / ".join(f"{steps[n]:,}" if n in steps else "–" for n in pair)
                row = {"first less second": f"{first} − {second}", "layers": layers}
                rows.append(row | {"steps": counts} | _changes(study, results, *pair, names))
    columns = ["first less second", "layers", "steps", AVERAGE, *names.values()]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:2])


def drops_table(study: Declaration, results: pd.DataFrame) -> pd.DataFrame:
    """What each hop of the cascade changes, and the whole way, in points."""
    names, rows, steps = languages(results), {}, hops(results)
    if len(steps) > 1:
        steps = [*steps, (steps[0][0], steps[-1][1])]
    for deeper, shallower in steps:
        if change := _changes(study, results, shallower, deeper, names):
            way = f"{_layers(results, deeper)} → {_layers(results, shallower)}"
            rows[way] = change
    columns = [AVERAGE, *names.values()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("hop")


def _layers(results: pd.DataFrame, scenario: str) -> int:
    return teacher_layers(results) if scenario == "teacher" else chain_of(scenario)[1]


def paper_table() -> pd.DataFrame:
    """004's Table 3 as printed, and the two reference models; all columns under "printed"."""
    table = papers.table("004", "xnli").rename(columns={"mean": AVERAGE})
    others = papers.table("004", "xnli_reference")
    others[AVERAGE] = others.mean(axis=1).round(1)
    names = [("cascade (CAMeMBERT)", str(layers)) for layers in printed_layers()]
    names += [("LightMBERT", "6"), ("mBERT", str(PAPER_LAYERS)), ("DistilmBERT", "6")]
    frame = pd.concat([table, others])[[AVERAGE, *LANGUAGES]].map("{:.1f}".format)
    frame.columns = pd.MultiIndex.from_product([["printed"], frame.columns])
    return frame.set_axis(pd.MultiIndex.from_tuples(names, names=["model", "layers"]))


SHARE_COLUMNS = {
    "share": "bytes, before",
    "target": "aim",
    "share_drawn": "lines drawn",
    "share_bytes_drawn": "bytes drawn",
    "share_tokens": "tokens drawn",
}
MANY = 12
"""With more languages than this in a corpus, those that 004's tables leave out share one row."""


def shares_table(statistics: Mapping) -> pd.DataFrame:
    """004's Table 1 with ours: each language's share before and after sampling, in percent."""
    ours = {str(row["language"]): row for row in statistics.get("languages", [])}
    paper = papers.table("004", "languages")["corpus_share"]
    listed = sorted(
        (n for n in ours if code_of(n) in LANGUAGES), key=lambda n: _language_place(code_of(n))
    )
    others = [name for name in ours if name not in listed]
    missing = [code for code in LANGUAGES if code not in map(code_of, ours)]
    many = len(ours) > MANY and bool(others)
    rows = {}
    for name in [*listed, *missing, *([] if many else others)]:
        row = {
            ("ours, in %", title): ours.get(name, {}).get(key)
            for key, title in SHARE_COLUMNS.items()
        }
        rows[name] = row | {("paper", "% of corpus"): paper.get(code_of(name))}
    if many:
        rows[f"{len(others)} others"] = {
            ("ours, in %", title): sum(ours[name].get(key) or 0 for name in others)
            for key, title in SHARE_COLUMNS.items()
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("language")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)

    def cell(value: float | None) -> str:
        return "–" if pd.isna(value) else f"{value:.3g}" if value < 99.95 else f"{value:.0f}"

    return frame.map(cell)


def shares_note(statistics: Mapping) -> str:
    """How the shares came about, with the exponent S."""
    sampling = statistics.get("sampling") or {}
    exponent, target = sampling.get("exponent"), sampling.get("target")
    text = "Not sampled" if exponent is None else f"Sampled with exponent S = {exponent:.3f}"
    text += f", solved from {target}" if target else ""
    unit, other = ("bytes", "lines") if sampling.get("unit") == "bytes" else ("lines", "bytes")
    return (
        f"{text}. The aim is for shares of {unit}; those of {other} differ by the length of a "
        "language's lines. The paper chose S so that English is drawn 100 times as often as "
        "Icelandic, prints no S, and does not say of what its percentages are."
    )


# --- what the results say -------------------------------------------------------------------------


def findings(study: Declaration, results: pd.DataFrame) -> list[str]:
    """How the teacher transfers, what a layer costs, and which languages lose most."""
    return [
        transfer_paragraph(results),
        depth_paragraph(study, results),
        languages_paragraph(study, results),
    ]


ONE_RUN = "One run has no interval, so nothing is concluded."


def transfer_paragraph(results: pd.DataFrame) -> str:
    """Zero-shot transfer of the teacher: points over chance by language, in falling order."""
    head = "**How well does the teacher transfer?**"
    names, teacher = languages(results), accuracy(results, "teacher")
    over = {code: score - CHANCE for code, score in teacher.items() if code != AVERAGE}
    if not over:
        return f"{head} Not measured: there is no score of the teacher."
    order = sorted(over, key=lambda code: -over[code].mean())
    parts = [f"{plain(names[code])} {with_interval(interval(over[code]))}" for code in order]
    text = f"Fine-tuned on English alone, in points over chance (33.3 %): {', '.join(parts)}."
    if min(map(len, over.values())) == 1:
        return f"{head} {ONE_RUN} {text}"
    at_chance = [plain(names[code]) for code in order if decided(over[code]) <= 0]
    verdict = "Above chance in every language."
    if at_chance:
        verdict = f"Not shown to be above chance: {', '.join(at_chance)}."
    return f"{head} {verdict} {text}"


def depth_paragraph(study: Declaration, results: pd.DataFrame) -> str:
    """What each hop of the cascade costs on average, and what a layer costs over the whole way."""
    head = "**What does each layer cost?**"
    change = {hop: tables.difference(study, results, hop[1], hop[0]) for hop in hops(results)}
    change = {hop: d for hop, d in change.items() if len(d)}
    deep, shallow = max(printed_layers()), min(printed_layers())
    ends = [printed_accuracy(f"cascade-{n}")[AVERAGE].iloc[0] for n in (shallow, deep)]
    total = ends[0] - ends[1]
    paper = (
        f"The paper prints {quoted(signed(total))} points from {deep} layers to {shallow}, "
        f"{quoted(signed(total / (deep - shallow), 2))} a layer, one run each."
    )
    if not change:
        return f"{head} Not measured: no two models of the cascade share a run. {paper}"
    top, bottom = list(change)[0][0], list(change)[-1][1]
    layers = [_layers(results, name) for name in (top, bottom)]
    whole = tables.difference(study, results, bottom, top)
    parts = [
        f"{_layers(results, a)} → {_layers(results, b)}: {with_interval(interval(d))}"
        for (a, b), d in change.items()
    ]
    text = f"Change of the average at each hop, in points: {'; '.join(parts)}."
    if len(whole) and layers[0] > layers[1]:
        fewer = layers[0] - layers[1]
        per_layer = with_interval(Interval(*(end / fewer for end in interval(whole))), 2)
        text += (
            f" From {layers[0]} layers to {layers[1]} it is {with_interval(interval(whole))}, "
            f"{per_layer} a layer."
        )
    if min(map(len, change.values())) == 1:
        return f"{head} {ONE_RUN} {text} {paper}"
    falls = sum(decided(d) < 0 for d in change.values())
    verdict = (
        "Every hop costs accuracy."
        if falls == len(change)
        else f"{falls} of {number_of(len(change), 'hop')} shown to cost accuracy."
    )
    return f"{head} {verdict} {text} {paper}"


def languages_paragraph(study: Declaration, results: pd.DataFrame) -> str:
    """Which languages lose most from the top of the cascade to its end, neighbours told apart by
    paired intervals."""
    head, names = "**Which languages lose most?**", languages(results)
    way = hops(results)
    lost = {}
    if way:
        ends = way[-1][1], way[0][0]
        lost = {code: tables.difference(study, results, *ends, code) for code in names}
    order = sorted((c for c in lost if len(lost[c])), key=lambda code: lost[code].mean())
    if not order:
        return f"{head} Not measured: the cascade has no two depths with a run in common."
    parts = [f"{plain(names[code])} {signed_pm(lost[code])}" for code in order]
    text = f"From the teacher to the last assistant, in points: {', '.join(parts)}."
    if min(len(lost[code]) for code in order) == 1:
        return f"{head} {ONE_RUN} {text}"
    ranks = []
    for side, code, neighbour in (("largest", 0, 1), ("smallest", -1, -2)):
        if len(order) > 1:
            gap = study.shared(lost[order[code]] - lost[order[neighbour]])
            verdict = "decided" if decided(gap) else "undecided"
            ranks.append(
                f"{side} in {plain(names[order[code]])}, {with_interval(interval(gap))} against "
                f"the next: {verdict}"
            )
    return f"{head} {text}" + (f" The loss is {'; '.join(ranks)}." if ranks else "")


# --- figures --------------------------------------------------------------------------------------

COLOURS = dict(zip(LANGUAGES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")))
"""Okabe and Ito's, by language; others are drawn in the ink of the page."""


def figure_chains(study: Declaration, results: pd.DataFrame):
    """Average accuracy by depth: the cascade, one hop, no pretraining, other chains; the paper's
    own in a second panel."""
    deep, lines = teacher_layers(results), {}
    for chain, depths in chains(results).items():
        points = {n: average(results, f"{chain}-{n}") for n in depths}
        starts_at_teacher = deep and chain != "direct"
        lines[chain] = ({deep: average(results, "teacher")} if starts_at_teacher else {}) | points
    colours = {chain: study.colours.get(chain, ink()) for chain in lines}
    half = PAPER_LAYERS // 2
    paper = {"cascade": _printed_line(AVERAGE)}
    paper["LightMBERT"] = {half: printed_accuracy(f"direct-{half}")[AVERAGE].iloc[0]}
    return _by_depth(lines, colours, paper, "average accuracy in percent")


def figure_languages(results: pd.DataFrame):
    """Accuracy of the cascade by depth, a line per language; the paper's own in a second panel."""
    deep, names = teacher_layers(results), languages(results)
    depths = {**({deep: "teacher"} if deep else {})}
    depths |= {n: f"cascade-{n}" for n in chains(results).get("cascade", [])}
    lines = {
        names[code]: {n: accuracy(results, name).get(code, NONE) for n, name in depths.items()}
        for code in names
    }
    colours = {names[code]: COLOURS.get(code, ink()) for code in names}
    return _by_depth(
        lines, colours, {code: _printed_line(code) for code in LANGUAGES}, "accuracy in percent"
    )


def _printed_line(column: str) -> dict[int, float]:
    return {n: printed_accuracy(f"cascade-{n}")[column].iloc[0] for n in printed_layers()}


def _by_depth(
    lines: Mapping[str, Mapping[int, Sample]],
    colours: Mapping[str, str],
    paper: Mapping[str, Mapping[int, float]],
    label: str,
):
    """Two panels, ours with intervals and the paper's. Depth falls from left to right,
    as a cascade does: the axes hold negative depths, their ticks do not show it.

    lines: name -> layers -> scores; paper: name -> layers -> the printed score.
    """
    figure, (left, right) = panels(2, row_height=3.3, sharey=True)
    rows = [
        [name, -layers, *interval(sample)]
        for name, points in lines.items()
        for layers, sample in points.items()
        if len(sample)
    ]
    long = pd.DataFrame(rows, columns=["line", "layers", "value", "low", "high"])
    for name, own in long.groupby("line"):
        ends = own["value"] - own["low"], own["high"] - own["value"]
        left.errorbar(own["layers"], own["value"], ends, fmt="o", ms=4.5, color=colours[name])
    means = long.pivot(index="layers", columns="line", values="value")
    printed_points = pd.DataFrame(
        {name: {-n: value for n, value in points.items()} for name, points in paper.items()}
    )
    for name in printed_points:
        points = printed_points[name].dropna()
        right.plot(points.index, points, "D", ms=4.5, mfc="none", mec=PAPER, ls="")
    highest = max([CHANCE, *means.max(), *printed_points.max()]) + 3
    left.set_ylim(min([CHANCE, *means.min(), *printed_points.min()]) - 2, highest)
    greys = dict.fromkeys(printed_points, PAPER)
    for ax, frame, shades, title in (
        (left, means, colours, "this run"),
        (right, printed_points, greys, "the paper, one run"),
    ):
        frame = frame.sort_index().dropna(how="all")
        if len(frame):
            draw_lines(ax, frame, width=1.2, gap=0.062, colours=shades)
            ax.set_xticks(list(frame.index), [str(-n) for n in frame.index])
        plain_axes(ax, title, grid="y")
        ax.axhline(CHANCE, color=ink(), lw=0.8, ls=(0, (1, 2)), alpha=0.8, zorder=1)
        ax.set(xlabel="", ylabel="")
    left.text(
        0.01, CHANCE, "chance", transform=left.get_yaxis_transform(), fontsize=7.5, va="bottom"
    )
    left.set_ylabel(label, fontsize=9)
    figure.supxlabel("layers", fontsize=9)
    return figure


def describe(results: pd.DataFrame, columns: Sequence[str]) -> str:
    """A figure of accuracies in words: the mean of every model in `columns`."""
    names = ["teacher", *(f"{c}-{n}" for c, depths in chains(results).items() for n in depths)]
    rows = []
    for name in names:
        measured = accuracy(results, name)
        numbers = [
            f"{measured[code].mean():.1f}"
            if code == AVERAGE
            else f"{code} {measured[code].mean():.1f}"
            for code in columns
            if code in measured
        ]
        if numbers:
            rows.append(f"{name} {', '.join(numbers)}")
    return f"Accuracy in percent by depth. {'; '.join(rows) or 'Nothing was measured'}."


def figure_hops(histories: Mapping[str, Sequence[Mapping]]):
    """Loss of every hop by kind and layer, logarithmic: a column per hop, a row per kind, lighter
    lines for higher layers.

    `histories`: scenario -> logged steps, with hidden_0 … hidden_n and attention_1 … attention_n.
    Layer 0 is the embeddings' output.
    """
    from matplotlib.lines import Line2D

    frames = {
        name: thinned(pd.DataFrame(list(rows)).astype(float))
        for name, rows in histories.items()
        if rows and any(_matched_layers(rows[0], loss) for loss in MATCHED)
    }
    across = min(max(len(frames), 1), 4)
    blocks = max(1, -(-len(frames) // across))
    figure, axes = panels(len(MATCHED) * across * blocks, row_height=1.75, across=across)
    layers = [
        n for frame in frames.values() for loss in MATCHED for n in _matched_layers(frame, loss)
    ]
    deepest = max(layers, default=1)
    for ax in axes:
        ax.set_visible(False)
    for i, (name, frame) in enumerate(frames.items()):
        for row, loss in enumerate(MATCHED):
            ax = axes[(len(MATCHED) * (i // across) + row) * across + i % across]
            ax.set_visible(True)
            for layer in _matched_layers(frame, loss):
                line = frame[f"{loss}_{layer}"].where(lambda values: values > 0)
                ax.plot(frame["step"], line, **_layer_style(layer, deepest), lw=1.1)
            ax.set_yscale("log")
            plain_axes(ax, literal(name) if row == 0 else "", grid="y")
            ax.tick_params(labelsize=7)
            ax.minorticks_off()
            if i % across == 0:
                ax.set_ylabel(LOSSES[loss].title, fontsize=8.5)
    shown = sorted({0, 1, deepest, *np.linspace(1, deepest, 5).round().astype(int)})
    figure.legend(
        [Line2D([], [], **_layer_style(layer, deepest), lw=1.6) for layer in shown],
        [f"layer {layer}" if layer else "embeddings" for layer in shown],
        loc="outside upper left",
        ncols=len(shown),
        frameon=False,
        fontsize=8,
    )
    figure.supxlabel("optimizer step of the hop", fontsize=9)
    return figure


def _layer_style(layer: int, deepest: int) -> dict:
    return {"color": layer_shade(layer, deepest), "ls": "-" if layer else (0, (2, 1.5))}


def _matched_layers(columns: Sequence[str] | Mapping, kind: str) -> list[int]:
    found = [re.fullmatch(rf"{kind}_(\d+)", name) for name in columns]
    return sorted(int(match[1]) for match in found if match)


def describe_hops(histories: Mapping[str, Sequence[Mapping]]) -> str:
    """The figure of losses in words: how the whole loss of each hop begins and ends."""
    parts = [
        f"{name} {rows[0]['loss']:.3g} to {rows[-1]['loss']:.3g}"
        for name, rows in histories.items()
        if rows
    ]
    return (
        "Loss of each hop from its first to its last logged step: "
        f"{', '.join(parts) or 'nothing was trained'}."
    )
