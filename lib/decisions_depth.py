"""The decisions on depth: how many layers, by which way down to them, and at whose cost among languages. As `lib.decisions`."""

from collections.abc import Sequence
from math import isnan
from typing import NamedTuple

import pandas as pd

from lib.cascade import CHANCE, LANGUAGES, by_scenario, chains, difference, languages, teacher_layers
from lib.compared import Compared, Measure, Run, advice, listed, measured, names, overall, side, told, unsure
from lib.decisions import Answer, Part, answer
from lib.statistics import interval
from lib.wording import decided, number_of, with_interval


class Half(NamedTuple):
    """A student of half the layers and its teacher."""

    measure: Measure
    student: str
    teacher: str

    def kept(self) -> pd.Series:
        """Per seed, the share of the teacher's score in percent."""
        return (100 * self.measure.of(self.student) / self.measure.of(self.teacher)).dropna()


def halves(run: Run) -> list[Half]:
    """One student of half the layers for each thing measured."""
    half = teacher_layers(run.results) // 2
    hop = "direct" if half in chains(run.results).get("direct", []) else "cascade"
    found = [
        Half(run.of["herbert"], "S3", "T1"),
        Half(run.of["macro"], "triple", "teacher"),
        Half(run.of["glue"], "corpus10pct", "teacher"),
        Half(run.of["squad"], "corpus10pct", "teacher"),
        Half(run.of["xnli"], f"{hop}-{half}", "teacher"),
    ]
    found = [half for half in found if len(half.kept())]
    macro = any(half.measure is run.of["macro"] for half in found)
    return [half for half in found if not (macro and half.measure is run.of["glue"])]  # one model under two names


def layers(run: Run) -> Answer | None:
    """How many layers: what half of them keep of the teacher, at which size and speed, and what the depths between cost."""
    found = halves(run)
    if not found:
        return None
    compared = [Compared(h.measure.study, h.measure.name, f"{h.student} / {h.teacher}", h.kept() - 100) for h in found]
    kept = [f"{_percent(h.kept())} on {c.name} ({h.student}){unsure(c.difference)}" for h, c in zip(found, compared)]
    text = f"Of the teacher's score, a student of half its layers keeps {'; '.join(kept)}.{_cost(run, found)}"
    if overall(compared) == "worse" and any(side(c.difference) != "worse" for c in compared):
        follows = f"Half the layers cost on {names(compared, 'worse')}; elsewhere no cost is shown. Try half on your own task."
    else:
        follows = advice(
            compared,
            better="Take half the layers: where anything is shown, it is a gain.",
            worse="Half the layers cost wherever it was measured: keep as many as your time and space allow.",
            level="Take half the layers: next to nothing is lost.",
            open="No cost of half the layers is shown, nor that there is none: try half on your own task.",
        )
    between, depths = _between(run)
    return Answer("the number of layers", "How many layers?", f"{text}{between}", f"{follows}{depths}", compared)


def _percent(share: pd.Series) -> str:
    """ "84.0 % [81.2, 86.7]"; without brackets for one seed."""
    i = interval(share)
    return f"{i.mean:.1f} %" + ("" if isnan(i.low) else f" [{i.low:.1f}, {i.high:.1f}]")


def _cost(run: Run, found: Sequence[Half]) -> str:
    """Parameters and speed of those students, as ranges over the studies."""
    size = [100 * run.ratio(h.measure.study, h.student, h.teacher, "parameters") for h in found]
    speed = [run.ratio(h.measure.study, h.teacher, h.student, "latency_s") for h in found]
    told = [f"has {_range(size, 0)} % of the parameters"] if all(size) else []
    told += [f"is {_range(speed, 1)} times as fast"] if all(speed) else []
    return f" It {' and '.join(told)}." if told else ""


def _range(values: Sequence[float], digits: int) -> str:
    low, high = (f"{end:.{digits}f}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _between(run: Run) -> tuple[str, str]:
    """The cascade's depths above half against the teacher, and what follows; two empty strings where there are none."""
    whole, found = teacher_layers(run.results), chains(run.results).get("cascade", [])
    steps = {n: run.of["xnli"].compare(f"cascade-{n}", "teacher").difference for n in found if n > whole // 2}
    steps = {n: d for n, d in steps.items() if len(d)}
    if not steps:
        return "", ""
    parts = [f"{number_of(n, 'layer')}: {with_interval(interval(d))}{unsure(d)}" for n, d in steps.items()]
    text = f" Between, in the cascade from {whole} layers, in points: {'; '.join(parts)}."
    if all(side(d) == "worse" for d in steps.values()):
        return text, f" By the cascade even the step from {whole} layers to {max(steps)} costs."
    kept = [n for n, d in steps.items() if side(d) in ("level", "better")]
    return text, f" By the cascade {min(kept)} of {whole} layers lose next to nothing." if kept else ""


def way(run: Run) -> Answer | None:
    """One hop, a cascade of assistants, or no pretraining of the student at all."""
    half, question = teacher_layers(run.results) // 2, "One hop, a cascade, or no pretraining of the student?"
    return answer("the way down", question, _hop(run, half), _pretrained(run, half))


def _hop(run: Run, half: int) -> Part | None:
    hop = measured([run.of["xnli"].compare(f"direct-{half}", f"cascade-{half}")])
    if not hop:
        return None
    follows = advice(
        hop,
        better="Take one hop rather than the cascade.",
        worse="Take the cascade rather than one hop.",
        level="One hop and the cascade come to the same; one hop is simpler.",
        open="One hop and the cascade this run cannot tell apart; one hop is simpler.",
    )
    return Part(f"One hop against the cascade: {told(hop)}.", follows, hop)


def _pretrained(run: Run, half: int) -> Part | None:
    trained = measured(
        [
            run.of["xnli"].compare(f"direct-{half}", f"truncated-{half}"),
            run.of["xnli"].compare(f"cascade-{half}", f"truncated-{half}"),
            run.of["herbert"].compare("S3", "truncated"),
        ]
    )
    if not trained:
        return None
    found = f"Against the teacher's layers as they are, fine-tuned without any pretraining: {told(trained)}."
    return Part(found, _pays(trained), trained)


def _pays(trained: Sequence[Compared]) -> str:
    """Whether training the student pays at all, on each task that was measured."""
    free = "the cut teacher costs nothing, so fine-tune it first and compare"
    better, worse, level = ([c for c in trained if side(c.difference) == one] for one in ("better", "worse", "level"))
    if len(better) == len(trained):
        return "Do train the student: the cut teacher as it is does worse."
    if worse:
        return (
            f"Not all training helps: on {_where(worse)} the cut teacher did better. It is free, so fine-tune it first."
        )
    if better:
        rest = [c for c in trained if side(c.difference) != "better"]
        return f"Training the student pays on {_where(better)}; on {_where(rest)} that is not shown: {free}."
    if len(level) == len(trained):
        return f"Training the student adds next to nothing: {free}."
    return f"That training the student pays at all is not shown: {free}."


def _where(comparisons: Sequence[Compared]) -> str:
    return listed(f"{c.name} ({c.pair})" for c in comparisons)


def spoken(run: Run) -> Answer | None:
    """Many languages: whether a shallower student loses more in those it is not fine-tuned in."""
    half, by = teacher_layers(run.results) // 2, by_scenario(run.results)
    student = next((name for name in (f"direct-{half}", f"cascade-{half}") if len(difference(by, name, "teacher"))), "")
    lost = {code: difference(by, student, "teacher", code) for code in languages(run.results)} if student else {}
    others = [code for code in lost if code != "en"]
    if "en" not in lost or not others:
        return None
    gap = lost["en"] - pd.concat([lost[code] for code in others], axis=1, join="inner").mean(axis=1)
    spared = Compared("cascade", "XNLI", "English − others", gap.dropna().astype(float))
    most = min(others, key=lambda code: lost[code].mean())
    found = (
        f"From the teacher to its student of half the layers ({student}), fine-tuned in English, in points: English "
        f"{with_interval(interval(lost['en']))}{unsure(lost['en'])}; of the others {_named(most)} loses most, "
        f"{with_interval(interval(lost[most]))}{unsure(lost[most])}. English less the mean of the others: "
        f"{told([spared], pairs=False)}."
    )
    follows = advice(
        [spared],
        better="Expect the languages without fine-tuning data to lose more than English: test each of them.",
        worse="English loses more than the others on average (what is near chance has little to lose): test each language.",
        level="All languages lose alike.",
        open="Whether English is spared, this run cannot tell: test each language.",
    )
    spare = Part(found, follows, [spared])
    return answer("the languages", "Many languages in one student?", spare, _unknown(by("teacher"), others))


def _unknown(teacher: pd.DataFrame, codes: Sequence[str]) -> Part | None:
    """The languages that the teacher itself is not shown to know."""
    weak = [_named(code) for code in codes if decided(teacher[code].dropna() - CHANCE) <= 0]
    if not weak:
        return None
    found = f"The teacher itself is not shown to be above chance in {listed(weak)}."
    return Part(found, "What the teacher does not know in a language, its student will not.", [])


def _named(code: str) -> str:
    return LANGUAGES.get(code, code)
