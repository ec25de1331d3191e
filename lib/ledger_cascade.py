"""The claims of 004, CAMeMBERT. Machinery and verdict rule stand in `lib.claims`.

A claim about 6 of 12 layers is asked of half of our teacher's layers, whatever their number: the first assistant has one layer
less than the teacher, the last has half of them, and `direct` is LightMBERT's way, one hop. Languages are 004's six or the toy
languages in their places. "Almost on par" is read as within 1 point.

Not in the ledger, for want of anything to measure it by: that the results are the best of extensive tuning, that a longer warmup
made the first assistant's loss fall more reliably, that the mixture of languages may be to blame, that 60.1 is "close to" 70.3
(the distance itself is there), and that a loss of accuracy is "acceptable" (abstract; no threshold is given). The shares of
Table 1 and the steps of Table 2 describe the training and are shown beside ours. 004 does not compare itself with DistilmBERT.
What its section 2.1 says of DistilBERT and of imitation is in `lib.ledger_ablation` and `lib.ledger_herbert`.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from lib import papers
from lib.cascade import (
    AVERAGE,
    LANGUAGES,
    PAPER_LAYERS,
    STUDY,
    by_scenario,
    chains,
    difference,
    languages,
    larger_hops,
    paper_accuracy,
    paper_layers,
    teacher_layers,
)
from lib.claims import MISSING, Claim, Evidence, about, above, below, ratio, smallest

Parts = Callable[[Callable, int, Mapping[str, list[int]]], list[pd.Series]]
"""(of, layers of the teacher, chain -> its depths) -> quantities by seed; `of`: scenario -> accuracies, ours or the paper's."""


def _claim(
    id: str,
    place: str,
    claim: str,
    parts: Parts,
    expected: tuple[float, float] = above(0),
    as_printed: bool = False,
    unit: str = "points",
    asks: str = "",
) -> Claim:
    """A claim on accuracies, measured by the smallest of its parts. `as_printed`: of 004's own languages and depth alone."""
    printed = _smallest(parts(paper_accuracy, PAPER_LAYERS, {"cascade": paper_layers()}))

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        layers = teacher_layers(results)
        if layers < 2 or (as_printed and not _like_the_paper(results)):
            return MISSING
        return _smallest(parts(by_scenario(results), layers, chains(results)))

    asks = asks or ("004's own languages, and 6 layers of 12" if as_printed else "")
    return Claim(f"cascade-{id}", f"004, {place}", claim, round(printed.value, 2), evidence, expected, unit, asks)


def _smallest(parts: Sequence[pd.Series]) -> Evidence:
    return smallest(parts) if parts else MISSING


def _like_the_paper(results: pd.DataFrame) -> bool:
    return teacher_layers(results) == PAPER_LAYERS and list(languages(results).values()) == list(LANGUAGES)


def _gain(better: str, worse: str) -> Parts:
    """better - worse on average; "{first}" and "{half}" stand for the layers of the first and the last assistant."""

    def parts(of: Callable, layers: int, there: Mapping[str, list[int]]) -> list[pd.Series]:
        return [difference(of, _named(better, layers), _named(worse, layers))]

    return parts


def _named(scenario: str, layers: int) -> str:
    return scenario.format(first=layers - 1, half=layers // 2)


def _assistants(layers: int) -> list[str]:
    return [f"cascade-{n}" for n in range(layers - 1, layers // 2 - 1, -1)]


def _each_hop(of: Callable, layers: int, there: Mapping[str, list[int]]) -> list[pd.Series]:
    """What each hop between assistants costs on average; the teacher is in no row of 004's table."""
    down = _assistants(layers)
    return [difference(of, above, below) for above, below in zip(down, down[1:])]


def _in_each_language(of: Callable, layers: int, there: Mapping[str, list[int]]) -> list[pd.Series]:
    half = layers // 2
    return [difference(of, f"direct-{half}", f"cascade-{half}", code) for code in _codes(of, f"cascade-{half}")]


def _more_assistants(of: Callable, layers: int, there: Mapping[str, list[int]]) -> list[pd.Series]:
    """One layer at a time against larger hops, at every depth both reach."""
    larger = {chain: depths for chain, depths in there.items() if larger_hops(chain)}
    shared = [(chain, n) for chain, depths in larger.items() for n in depths if n in there.get("cascade", [])]
    return [difference(of, f"cascade-{n}", f"{chain}-{n}") for chain, n in shared]


def _apart(code: str, sign: int) -> Parts:
    """How far a language is above (sign 1) or below (-1) each other language, at every depth of the cascade."""

    def parts(of: Callable, layers: int, there: Mapping[str, list[int]]) -> list[pd.Series]:
        gaps = []
        for name in _assistants(layers):
            scores = of(name)
            gaps += [(sign * (scores[code] - scores[other])).dropna() for other in _codes(of, name, code)]
        return gaps

    return parts


def _loss_apart(code: str, sign: int) -> Parts:
    """How much more (sign 1) or less (-1) a language loses than each other one, from the first assistant to the last."""

    def parts(of: Callable, layers: int, there: Mapping[str, list[int]]) -> list[pd.Series]:
        first, last = _named("cascade-{first}", layers), _named("cascade-{half}", layers)
        lost = {other: difference(of, first, last, other) for other in [code, *_codes(of, first, code)]}
        return [(sign * (lost[code] - d)).dropna() for other, d in lost.items() if other != code]

    return parts


def _codes(of: Callable, scenario: str, but: str | None = None) -> list[str]:
    """The languages there are, but for one; none if that one was not measured."""
    codes = [code for code in of(scenario) if code != AVERAGE]
    return [code for code in codes if code != but] if but is None or but in codes else []


def _of_models(column: str, a: str, b: str, scale: float = 1) -> Callable:
    """Evidence: `scale` times a's over b's value of a column of efficiency.csv."""

    def evidence(results: pd.DataFrame, efficiency: pd.DataFrame) -> Evidence:
        layers = teacher_layers(results)
        return ratio(STUDY, _named(a, layers), _named(b, layers), column, scale)(results, efficiency)

    return evidence


LAST, DIRECT, UNTRAINED = "cascade-{half}", "direct-{half}", "truncated-{half}"

CASCADE = [
    _claim(
        "average",
        "abstract",
        "CAMeMBERT, 6 layers reached through assistants, has an average accuracy of about 60.1 % on XNLI (within 1 point).",
        lambda of, layers, there: [of(f"cascade-{layers // 2}")[AVERAGE].dropna()],
        about(paper_accuracy(f"cascade-{min(paper_layers())}")[AVERAGE].iloc[0], 1),
        as_printed=True,
        unit="%",
    ),
    _claim(
        "assistants-help",
        "section 2.2, of Mirzadeh et al.",
        "Teacher assistants improve what a student keeps: the cascade's last student is above the student of one hop.",
        _gain(LAST, DIRECT),
    ),
    _claim(
        "below-direct",
        "section 4",
        "The cascade's last student is below the student of one hop (LightMBERT), on average over the languages.",
        _gain(DIRECT, LAST),
    ),
    _claim(
        "below-direct-everywhere",
        "Table 3",
        "The cascade's last student is below the student of one hop in each language.",
        _in_each_language,
    ),
    _claim(
        "first-below-direct",
        "Table 3",
        "Even the cascade's first assistant, one layer less than the teacher, is below the student of one hop.",
        _gain(DIRECT, "cascade-{first}"),
    ),
    _claim(
        "each-layer-costs",
        "section 4",
        "Accuracy drops on average each time an assistant loses a layer.",
        _each_hop,
    ),
    _claim(
        "near-untrained",
        "section 4",
        "The cascade's loss is almost on par with that of no pretraining: its last student is within 1 point of the teacher's "
        "lowest layers as they are.",
        _gain(LAST, UNTRAINED),
        about(0, 1),
    ),
    _claim(
        "more-assistants",
        "section 2.2, of Mirzadeh et al.",
        "Most assistants are best: one layer at a time is above larger hops at each depth both reach.",
        _more_assistants,
        asks="a cascade of larger hops",
    ),
    _claim(
        "english-best",
        "Table 3",
        "English, the language of fine-tuning, is best at every depth of the cascade.",
        _apart("en", 1),
    ),
    _claim(
        "urdu-worst",
        "Table 3",
        "Urdu, the language with least text, is worst at every depth of the cascade.",
        _apart("ur", -1),
    ),
    _claim(
        "english-loses-least",
        "Table 3",
        "From the first assistant to the last, English loses less than any other language.",
        _loss_apart("en", -1),
    ),
    _claim(
        "arabic-loses-most",
        "Table 3",
        "From the first assistant to the last, Arabic loses more than any other language.",
        _loss_apart("ar", 1),
    ),
    Claim(
        "cascade-same-size",
        "004, section 3",
        "The cascade's last student has the size of the student of one hop (LightMBERT).",
        papers.fact("004", "size_of_one_hop"),
        _of_models("parameters", LAST, DIRECT, scale=100),
        about(papers.fact("004", "size_of_one_hop"), 0.01),
        "% of parameters",
    ),
    Claim(
        "cascade-smaller",
        "004, abstract",
        "The cascade's last student takes less space than its teacher.",
        float("nan"),
        _of_models("parameters", LAST, "teacher", scale=100),
        below(100),
        "% of parameters",
    ),
    Claim(
        "cascade-faster",
        "004, abstract",
        "The cascade's last student takes less time than its teacher.",
        float("nan"),
        _of_models("latency_s", "teacher", LAST),
        above(1),
        "times",
    ),
]
