"""The claims of 002, DistilBERT. Machinery and verdict rule stand in `lib.claims`.

Scores are 002's: nine GLUE tasks, MNLI matched; `triple` is DistilBERT, `teacher` is BERT.

Not in the ledger: the distance to ELMo, which is not run here; and that the number of layers matters more for speed than the
hidden size, for which nothing is printed.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from lib import glue, papers
from lib.ablation import LOSSES, STUDY, paper_scores
from lib.claims import MEAN, Claim, Evidence, about, above, at_size, counted, gains, ratio, shares, smallest

SOFT, COSINE, MLM = LOSSES
BERT_PARAMETERS = papers.fact("001", "teacher_parameters")


def _claim(id: str, place: str, claim: str, parts: Callable, expected: tuple[float, float] = above(0)) -> Claim:
    """A claim on scores. `parts(of)` are its comparisons; they measure our seeds and the printed numbers alike."""
    return Claim(
        f"ablation-{id}",
        f"002, {place}",
        claim,
        round(smallest(parts(paper_scores)).value, 2),
        lambda results, efficiency: smallest(parts(partial(_ours, results))),
        expected,
    )


def _ours(results: pd.DataFrame, scenario: str) -> pd.DataFrame:
    return glue.by_seed(results, STUDY, scenario, mnli="matched")


def layer_share(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
    """The student's layers in percent of the teacher's."""
    rows = results[results["study"] == STUDY]
    layers = [float(rows.loc[rows["scenario"] == name, "layers"].max()) for name in ("triple", "teacher")]
    return counted(100 * layers[0] / layers[1])


ABLATION = [
    _claim(
        "keeps-97",
        "Table 1",
        "DistilBERT keeps 97 % of BERT's GLUE score (96.5 % or more).",
        shares(["triple"], "teacher", [MEAN]),
        above(96.5),
    ),
    _claim(
        "keeps-95",
        "slide on the student",
        "DistilBERT keeps 95 % of BERT's performance (94.5 % or more of its GLUE score).",
        shares(["triple"], "teacher", [MEAN]),
        above(94.5),
    ),
    _claim(
        "each-costs",
        "Table 4",
        "Leaving out any of the three losses, or the teacher's weights, costs in the macro score.",
        gains([("triple", name) for name in [*LOSSES, "random_init"]], [MEAN]),
    ),
    _claim(
        "soft-costs-most",
        "Table 4",
        "Of the three losses the soft targets cost most to leave out.",
        gains([(COSINE, SOFT), (MLM, SOFT)], [MEAN]),
    ),
    _claim(
        "mlm-costs-least",
        "Table 4",
        "Of the three losses the MLM loss costs least to leave out.",
        gains([(MLM, SOFT), (MLM, COSINE)], [MEAN]),
    ),
    _claim(
        "cosine-between",
        "Table 4",
        "The cosine loss costs less than the soft targets and more than the MLM loss.",
        gains([(COSINE, SOFT), (MLM, COSINE)], [MEAN]),
    ),
    _claim(
        "random-costs-most",
        "Table 4",
        "A random start costs more than leaving out any one loss.",
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
        "BERT is above DistilBERT on each of the other eight tasks.",
        gains([("teacher", "triple")], [task for task in glue.TASKS if task != "wnli"]),
    ),
    Claim(
        "ablation-half-the-layers",
        "002, slide on the student",
        "The student has half of its teacher's layers (in %).",
        50.0,
        layer_share,
        about(50, 0.5),
    ),
    Claim(
        "ablation-half-the-size",
        "002, slide on the student",
        "DistilBERT has half of BERT's size (in % of its parameters, within 5).",
        papers.fact("002", "size_kept"),
        at_size(ratio(STUDY, "triple", "teacher", "parameters", scale=100), STUDY, "teacher", BERT_PARAMETERS),
        about(50, 5),
    ),
]
