"""The transfer_set study's tables: size and composition of the text a student learns from (001_…: Transfer Dataset Size and
Composition Effects).

Pure functions from the contract tables to frames; `results` are rows of one protocol, scores are percent. What the numbers
say is in `lib.transfer_set_findings`, the figures in `lib.transfer_set_figures`.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from lib import glue, papers
from lib.claims import MEAN, efficiency_value
from lib.statistics import pm
from lib.wording import printed

STUDY = "transfer_set"
SIZES = {"corpus10pct": "10 % of the corpus", "corpus1pct": "1 %", "corpus0.1pct": "0.1 %"}
COMPOSITIONS = {
    "corpus10pct": "natural (10 %)",
    "randomised": "randomised",
    "generated": "generated",
    "bigram": "generated, bigrams",
}
BASELINES = {"teacher": "teacher", "DistilBERT": "DistilBERT"}
SHARES = {"corpus10pct": 10.0, "corpus1pct": 1.0, "corpus0.1pct": 0.1}
"""Percent of the corpus that a sample holds."""
SUITES = {"glue": "GLUE", "exact_match": "SQuAD EM", "f1": "SQuAD F1"}
PAPER_SCORES = [(title, "paper") for title in SUITES.values()]
"""The columns of `scores_table` that hold the paper's own numbers."""
PAPER_CORPORA = [("paper", "TBC"), ("paper", "TBC replica")]
SET_COLUMNS = {"size_mb": "MB", "sequences": "sequences", "tokens": "tokens"}
PAPER_SETS = [(title, "paper") for title in SET_COLUMNS.values()]
NETWORK_COLUMNS = {
    "M parameters": ("parameters", 1e-6, "{:.1f}"),
    "MiB": ("size_mib", 1, "{:.0f}"),
    "inference": ("latency_s", 1e3, "{:.2f} ms"),
}
"""Column -> where it stands in efficiency.csv, in which unit it is shown, and how."""
PAPER_NETWORKS = [(title, "paper") for title in NETWORK_COLUMNS]

GLUE_NOTE = (
    "GLUE: the mean of nine tasks, WNLI among them, MNLI as the mean of its matched and mismatched sets, a task with two "
    "metrics as their mean. The slides do not say which tasks their score averages. "
)
BASELINE_NOTE = " ".join(map(printed, papers.flags("001", "glue_size")))
NETWORK_NOTE = (
    "MiB at four bytes a parameter. Ratios are the teacher's value over the model's. Our inference time: one sequence of 64 "
    "tokens through the encoder on one CPU thread, the median of 30 passes, the models taking turns; the slides do not say how "
    "theirs was taken."
)
BIGRAM_NOTE = (
    "The slides do not name the two statistics behind their generated set; ours are the lengths of sequences and the "
    "frequencies of tokens. The bigram set, drawn from pairs of neighbours, is our own addition."
)


def suites(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Percent by seed (rows): GLUE's macro score and SQuAD's two (columns as SUITES). NaN where a seed lacks one."""
    macro = glue.by_seed(results, STUDY, scenario)[MEAN].rename("glue")
    return pd.concat([macro, glue.squad(results, STUDY, scenario)], axis=1).reindex(columns=list(SUITES))


def paper_suites(scenario: str) -> pd.DataFrame:
    """001's Tables 6, 7, 9 and 10: one row of the paper's single run, as `suites`; no row where it prints none."""
    tables = [
        pd.concat([papers.table("001", f"{suite}_{kind}") for suite in ("glue", "squad")], axis=1)
        for kind in ("size", "composition")
    ]
    whole = pd.concat(tables)
    whole = whole[~whole.index.duplicated()]
    return whole.reindex([scenario]).dropna(how="all").reset_index(drop=True)


def with_scores(results: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Those of the scenarios for which anything was measured."""
    return [name for name in names if suites(results, name).notna().any(axis=None)]


def scores_table(results: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """001's Tables 6 and 7 (or 9 and 10) with ours beside: columns (GLUE | SQuAD EM | SQuAD F1, ours | paper).

    Rows are `names` (scenario -> label), then the baselines. Ours is mean ± half of the 95 % t interval over seeds; "–"
    where nothing was measured or printed.
    """
    rows = {}
    for name, label in {**names, **BASELINES}.items():
        ours, theirs = suites(results, name), paper_suites(name)
        if ours.notna().any(axis=None) or len(theirs):
            rows[label] = {
                (title, side): text
                for suite, title in SUITES.items()
                for side, text in (
                    ("ours", pm(ours[suite].dropna())),
                    ("paper", f"{theirs[suite].iloc[0]:.1f}" if len(theirs) else "–"),
                )
            }
    return _framed(rows, "transfer set")


def networks(efficiency: pd.DataFrame) -> pd.DataFrame:
    """001's Table 3: parameters, size and inference time of teacher and student, and how many times less than the teacher's.

    The student is the first of the students that was measured: all have one shape.
    """
    students = [
        name for name in {**SIZES, **COMPOSITIONS} if efficiency_value(efficiency, STUDY, name, "parameters") > 0
    ]
    models = {"teacher": "teacher", "student": students[0] if students else "", "DistilBERT": "DistilBERT"}
    rows = {}
    for label, name in models.items():
        theirs = _printed_network(label)
        if theirs or efficiency_value(efficiency, STUDY, name, "parameters") > 0:
            ours = _measured_network(efficiency, name)
            rows[label] = {
                (title, side): cells.get(title, "–")
                for title in NETWORK_COLUMNS
                for side, cells in (("ours", ours), ("paper", theirs))
            }
    return _framed(rows, "network")


def _measured_network(efficiency: pd.DataFrame, name: str) -> dict[str, str]:
    cells = {}
    for title, (column, scale, form) in NETWORK_COLUMNS.items():
        value, teacher = (efficiency_value(efficiency, STUDY, model, column) for model in (name, "teacher"))
        ratio = "" if pd.isna(teacher) else f" ({teacher / value:.2f}×)"
        cells[title] = "–" if pd.isna(value) else f"{form.format(value * scale)}{ratio}"
    return cells


def _printed_network(label: str) -> dict[str, str]:
    """Table 3's cells with the ratios as printed: from the rounded cells the inference time would give 1.84."""
    row = {"teacher": "BERT-base", "student": "BERT-student"}.get(label)
    if row is None:
        return {}
    m, mib, seconds = papers.table("001", "networks").loc[row]
    facts = ("parameter_ratio", "size_ratio", "speed_ratio")
    ratios = [papers.fact("001", fact) if label == "student" else 1 for fact in facts]
    cells = (f"{m:.1f}", f"{mib:.0f}", f"{seconds:.2f} s")
    return {title: f"{cell} ({ratio:.2f}×)" for title, cell, ratio in zip(NETWORK_COLUMNS, cells, ratios)}


def statistics(prepared: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """Corpus -> its statistics, from the results of data preparation (corpus_<name> -> result.json)."""
    return {name.removeprefix("corpus_"): found["statistics"] for name, found in prepared.items()}


def corpus_table(corpora: Mapping[str, Mapping]) -> pd.DataFrame:
    """001's Table 4 turned on its side: a column per source of our corpus and one for the whole, then the paper's two.

    `corpora`: name -> statistics of a prepared corpus. Our sentences are the lines of the prepared text.
    """
    whole = corpora.get("corpus", {})
    ours = {str(source["name"]): source for source in whole.get("sources", [])} | ({"whole": whole} if whole else {})
    columns = {("ours", name): _described(found) for name, found in ours.items()}
    for name, row in papers.table("001", "bookcorpus").iterrows():
        columns["paper", name] = [
            f"{row['size_gb']:g} GB",
            f"{row['sentences_m']:g} M",
            f"{row['words_m']:g} M",
            f"{row['mean_words']:g}",
            f"{row['median_words']:g}",
        ]
    labels = ["size", "sentences", "words", "words a sentence, mean", "words a sentence, median"]
    frame = pd.DataFrame(columns, index=pd.Index(labels, name="statistic"))
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def _described(found: Mapping) -> list[str]:
    a_line = found.get("words_per_line", {})
    size = found.get("bytes")
    return [
        "–" if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB",
        *(f"{found[key]:,}" if key in found else "–" for key in ("lines", "words")),
        *(f"{a_line[key]:.1f}" if key in a_line else "–" for key in ("mean", "median")),
    ]


def transfer_sets(corpora: Mapping[str, Mapping], names: Mapping[str, str], printed: str) -> pd.DataFrame:
    """001's Table 5 or 8: size (10^6 bytes), sequences and tokens of the transfer sets, ours beside the paper's.

    `corpora` as for `corpus_table`; `names`: corpus -> label; `printed` the table in papers.yaml.
    """
    theirs = papers.table("001", printed)
    rows = {}
    for name, label in names.items():
        ours = corpora.get(name, {})
        if not ours and name not in theirs.index:
            continue
        ours = {"size_mb": ours["bytes"] / 1e6, **ours} if "bytes" in ours else ours
        row = {}
        for column, title in SET_COLUMNS.items():
            row[title, "ours"] = _counted(ours.get(column))
            row[title, "paper"] = _counted(theirs[column].get(name))
        rows[label] = row
    return _framed(rows, "transfer set")


def _counted(value: float | None) -> str:
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _framed(rows: Mapping[str, Mapping], index: str) -> pd.DataFrame:
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index)
    if len(frame):
        frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame
