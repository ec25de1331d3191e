"""The claims of 002, DistilBERT, and what 000 and 004 say of DistilBERT. Machinery and verdict rule stand in `lib.claims`.

Scores are 002's: nine GLUE tasks, MNLI matched; `triple` is DistilBERT, `teacher` is BERT. "Performed extremely well" (004) is
read as 001's "competitive": at least 90 % of the teacher's score.

Not in the ledger, for want of anything to measure them by: the distance to ELMo, which is not run here; that the number of
layers matters more for speed than the hidden size, for which nothing is printed; and "without significant loss of accuracy"
(000, section 2), which names no threshold: the share that is kept stands here. That imitating a large model is better than
learning from text alone is measured by 000's students, in `lib.ledger_herbert`.
"""

from collections.abc import Callable
from functools import cache, partial

import pandas as pd

from lib import glue, papers
from lib.ablation import LOSSES, STUDY, paper_scores
from lib.claims import MEAN, Claim, Evidence, about, above, at_size, counted, gains, ratio, shares, smallest

SOFT, COSINE, MLM = LOSSES
BERT_PARAMETERS = papers.fact("001", "teacher_parameters")


def _claim(
    id: str, place: str, claim: str, parts: Callable, expected: tuple[float, float] = above(0), unit: str = "points"
) -> Claim:
    """A claim on scores. `parts(of)` are its comparisons; they measure our seeds and the printed numbers alike."""
    return Claim(
        f"ablation-{id}",
        place if place[:3].isdigit() else f"002, {place}",
        claim,
        round(smallest(parts(cache(_theirs))).value, 2),
        lambda results, efficiency: smallest(parts(cache(partial(_ours, results)))),
        expected,
        unit,
    )


def _ours(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    return glue.by_seed(results, STUDY, scenario, mnli="matched").join(
        glue.squad(results, STUDY, scenario), how="outer"
    )


def _theirs(scenario: str) -> pd.DataFrame:
    """The printed GLUE scores (002), and SQuAD's beside them (001, Table 7)."""
    named = {"teacher": "teacher", "triple": "DistilBERT"}.get(scenario, "")
    squad = papers.table("001", "squad_size").reindex([named]).reset_index(drop=True)
    return paper_scores(scenario).join(squad)


def _sized(id: str, source: str, claim: str, printed: float, measure: Callable, tolerance: float) -> Claim:
    """A claim on DistilBERT's parameters in percent of BERT-base's; left open by teachers of another size."""
    measure, asks = at_size(measure, STUDY, "teacher", BERT_PARAMETERS), "a teacher of BERT-base's size"
    return Claim(id, source, claim, printed, measure, about(printed, tolerance), "% of parameters", asks)


def layer_share(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
    """The student's layers in percent of the teacher's."""
    rows = results[results["study"] == STUDY]
    layers = [float(rows.loc[rows["scenario"] == name, "layers"].max()) for name in ("triple", "teacher")]
    return counted(100 * layers[0] / layers[1])


_OF_TEACHER = "% of teacher"
_SHARE = ratio(STUDY, "triple", "teacher", "parameters", scale=100)

ABLATION = [
    _claim(
        "keeps-97",
        "Table 1",
        "DistilBERT (half of the layers, triple loss: soft targets, MLM, cosine) keeps 97 % of BERT's GLUE score (96.5 % or more).",
        shares(["triple"], "teacher", [MEAN]),
        above(papers.fact("002", "performance_kept") - 0.5),
        _OF_TEACHER,
    ),
    Claim(
        "ablation-keeps-95",
        "002, slide on the student",
        "DistilBERT keeps 95 % of BERT's performance (94.5 % or more of its GLUE score).",
        papers.fact("002", "performance_kept_slide"),
        lambda results, efficiency: smallest(shares(["triple"], "teacher", [MEAN])(partial(_ours, results))),
        above(papers.fact("002", "performance_kept_slide") - 0.5),
        _OF_TEACHER,
    ),
    _claim(
        "does-well",
        "004, section 2.1",
        "DistilBERT does extremely well on CoLA, MNLI and SQuAD: 90 % of BERT's score or more on each.",
        shares(["triple"], "teacher", ["cola", "mnli", *glue.SQUAD]),
        above(90),
        _OF_TEACHER,
    ),
    _claim(
        "each-costs",
        "Table 4",
        "Leaving out any of the three losses, or the teacher's weights, costs in the mean of GLUE's nine tasks (macro score).",
        gains([("triple", name) for name in [*LOSSES, "random_init"]], [MEAN]),
    ),
    _claim(
        "soft-costs-most",
        "Table 4",
        "Of the three losses, the soft targets (the teacher's probabilities) cost most to leave out.",
        gains([(COSINE, SOFT), (MLM, SOFT)], [MEAN]),
    ),
    _claim(
        "mlm-costs-least",
        "Table 4",
        "Of the three losses, MLM (guessing the masked words) costs least to leave out.",
        gains([(MLM, SOFT), (MLM, COSINE)], [MEAN]),
    ),
    _claim(
        "cosine-between",
        "Table 4",
        "The cosine loss (the direction of hidden states) costs less than the soft targets and more than MLM.",
        gains([(COSINE, SOFT), (MLM, COSINE)], [MEAN]),
    ),
    _claim(
        "random-costs-most",
        "Table 4",
        "Random initial weights cost more than leaving out any one loss.",
        gains([(name, "random_init") for name in LOSSES], [MEAN]),
    ),
    _claim(
        "above-bert-on-wnli",
        "Table 1",
        "DistilBERT is above BERT on WNLI.",
        gains([("triple", "teacher")], ["wnli"]),
    ),
    _claim(
        "below-bert-elsewhere",
        "Table 1",
        "BERT is above DistilBERT on each of GLUE's other eight tasks.",
        gains([("teacher", "triple")], [task for task in glue.TASKS if task != "wnli"]),
    ),
    Claim(
        "ablation-half-the-layers",
        "002, slide on the student",
        "The student has half of its teacher's layers.",
        papers.fact("002", "layers_kept"),
        layer_share,
        about(papers.fact("002", "layers_kept"), 0.5),
        "% of layers",
    ),
    _sized(
        "ablation-half-the-size",
        "002, slide on the student",
        "DistilBERT has half of BERT's size (parameters, within 5 points).",
        papers.fact("002", "size_kept"),
        _SHARE,
        5,
    ),
    _sized(
        "ablation-40-percent-smaller",
        "000, section 2",
        "DistilBERT is 40 % smaller than BERT (60 % of the parameters remain, within 1 point).",
        100 - papers.fact("000", "distilbert_reduction"),
        _SHARE,
        1,
    ),
]
