"""The decisions of someone who distills, each answered from what the studies measured: the answers
of `lib.studies.discussion`.

A decision is a function of a Run that gives an Answer, or None if nothing was measured that bears
on it. Those on depth and on the way to it are in `lib.studies.decisions`. Another decision is one
more function, and its place in `lib.studies.discussion.DECISIONS`.

The decisions on depth: how many layers, by which way down to them, and at whose cost among
languages. As `lib.studies.decisions`.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import NamedTuple

import pandas as pd

from lib.report.claims import efficiency_value
from lib.report.statistics import interval
from lib.report.wording import decided, number_of, with_interval
from lib.studies.ablation import LOSSES, TEMPERATURES
from lib.studies.cascade import (
    CHANCE,
    LANGUAGES,
    by_scenario,
    chains,
    difference,
    languages,
    teacher_layers,
)
from lib.studies.compared import (
    Compared,
    Measure,
    Run,
    advice,
    listed,
    lower,
    measured,
    names,
    overall,
    side,
    told,
    unsure,
)
from lib.studies.transfer_set import SIZES

LARGE, MIDDLE, SMALL = SIZES
NOISE = {
    "randomised": "the same words, shuffled",
    "generated": "words drawn by frequency",
    "bigram": "each word drawn given the one before",
}
"""What each noise is made of."""


class Answer(NamedTuple):
    """`found`: what this run shows, Markdown; `follows`: what to do; `topic` as it stands in an
    enumeration."""

    topic: str
    question: str
    found: str
    follows: str
    comparisons: Sequence[Compared]


class Part(NamedTuple):
    """A part of an answer, of one kind of comparison."""

    found: str
    follows: str
    comparisons: Sequence[Compared]


def answer(topic: str, question: str, *parts: Part | None) -> Answer | None:
    """The parts that there are, as one answer; None if there are none."""
    there = [part for part in parts if part]
    if not there:
        return None
    found, follows = (" ".join(text for text in texts if text) for texts in list(zip(*there))[:2])
    return Answer(topic, question, found, follows, [c for part in there for c in part.comparisons])


def weights(run: Run) -> Answer | None:
    """Which initial weights: the teacher's or random ones, and which of its layers."""
    return answer("the initial weights", "Which initial weights?", _copied(run), _which_layers(run))


def _copied(run: Run) -> Part | None:
    copied = measured(
        [run.of["herbert"].compare("S2", "S1"), run.of["macro"].compare("triple", "random_init")]
    )
    if not copied:
        return None
    follows = advice(
        copied,
        better="Copy layers from the teacher; it costs nothing.",
        worse="Start from random weights: the teacher's layers are shown to harm.",
        level="The teacher's layers or random ones, either will do; copying costs nothing.",
        open="Whether to copy the teacher's layers, this run cannot tell; it costs nothing, so "
        "copy.",
    )
    return Part(
        f"Layers copied from the teacher against random weights, trained alike: {told(copied)}.",
        follows,
        copied,
    )


def _which_layers(run: Run) -> Part | None:
    which = measured([run.of["macro"].compare("triple", "layers_to_top")])
    if not which:
        return None
    follows = advice(
        which,
        better="Take every second layer from the lowest.",
        worse="Take layers up to the teacher's top.",
        level="Which of its layers makes no difference.",
        open="Which of its layers are best, this run cannot tell.",
    )
    return Part(
        f"Every second layer from the lowest against layers up to the top: {told(which)}.",
        follows,
        which,
    )


def losses(run: Run) -> Answer | None:
    """Imitation beside masked language modelling, each loss by itself, and their weights."""
    return answer("the losses", "Which losses?", _imitation(run), _each_loss(run), _weighed(run))


def _imitation(run: Run) -> Part | None:
    imitation = measured([run.of["herbert"].compare("S3", "S2")])
    if not imitation:
        return None
    found = f"Soft targets and cosine beside MLM against MLM alone: {told(imitation)}"
    if cost := run.ratio("herbert", "S3", "S2", "train_seconds"):
        found += f", for {cost:.1f} times the training time"
    follows = advice(
        imitation,
        better="Imitate the teacher; do not train on text alone.",
        worse="Train on text alone: imitating the teacher is shown to harm.",
        level="Imitating or not will both do; text alone is cheaper.",
        open="Whether imitating beats text alone, this run cannot tell; text alone is cheaper.",
    )
    return Part(f"{found}.", follows, imitation)


def _each_loss(run: Run) -> Part | None:
    each = {loss: run.of["macro"].compare("triple", without) for without, loss in LOSSES.items()}
    each = {loss: c for loss, c in each.items() if len(c.difference)}
    if not each:
        return None
    parts = [
        f"{loss} {with_interval(interval(c.difference))}{unsure(c.difference)}"
        for loss, c in each.items()
    ]
    by = _by_side(each)
    follows = []
    if "better" in by:
        follows.append(f"Keep {listed(by['better'])}.")
    if "worse" in by:
        follows.append(f"Leave out {listed(by['worse'])}: the student is better without.")
    if "level" in by:
        follows.append(f"Leaving out {' or '.join(by['level'])} costs next to nothing.")
    if "open" in by:
        follows.append(
            f"Whether leaving out {' or '.join(by['open'])} costs, this run cannot tell."
        )
    found = f"What each loss adds to the other two, on GLUE: {'; '.join(parts)}."
    return Part(found, " ".join(follows), list(each.values()))


def _by_side(comparisons: Mapping[str, Compared]) -> dict[str, list[str]]:
    """Side -> what lies on it."""
    by: dict[str, list[str]] = {}
    for name, c in comparisons.items():
        by.setdefault(side(c.difference), []).append(name)
    return by


def _weighed(run: Run) -> Part | None:
    equal = measured([run.of["macro"].compare("triple", "equal_weights")])
    if not equal:
        return None
    follows = advice(
        equal,
        better="Weigh the losses 5 / 2 / 1.",
        worse="Weigh the losses alike.",
        level="How the losses are weighed hardly matters.",
        open="How to weigh the losses, this run cannot tell.",
    )
    return Part(f"Weights 5 / 2 / 1 against 1 / 1 / 1: {told(equal, pairs=False)}.", follows, equal)


def temperature(run: Run) -> Answer | None:
    """The temperature of the soft targets, against DistilBERT's 2."""
    others = {
        str(t): run.of["macro"].compare(name, "triple")
        for name, t in TEMPERATURES.items()
        if name != "triple"
    }
    others = {t: c for t, c in others.items() if len(c.difference)}
    if not others:
        return None
    parts = [
        f"T = {t}: {with_interval(interval(c.difference))}{unsure(c.difference)}"
        for t, c in others.items()
    ]
    by = _by_side(others)
    follows = []
    if "better" in by:
        follows.append(f"Take T = {max(by['better'], key=lambda t: others[t].difference.mean())}.")
    if "worse" in by:
        follows.append(f"Avoid T = {listed(by['worse'])}.")
    if "level" in by:
        follows.append(
            f"T = {listed(by['level'])} {'come' if by['level'][1:] else 'comes'} to the same as 2."
        )
    if "open" in by:
        follows.append(f"T = {listed(by['open'])} this run cannot tell from 2.")
    if "better" not in by:
        follows.append("Stay with 2.")
    found = f"Against T = 2, on GLUE: {'; '.join(parts)}."
    return Answer(
        "the temperature", "Which temperature?", found, " ".join(follows), list(others.values())
    )


def amount(run: Run) -> Answer | None:
    """How much text: ten and a hundred times less of it."""
    tasks = (run.of["glue"], run.of["squad"])
    steps = {
        less: measured(task.compare(less, LARGE) for task in tasks) for less in (MIDDLE, SMALL)
    }
    if not any(steps.values()):
        return None
    words = {MIDDLE: "Ten times less text to imitate on", SMALL: "A hundred times less"}
    found = [
        f"{words[less]} ({less} − {LARGE}): {told(comparisons, pairs=False)}."
        for less, comparisons in steps.items()
        if comparisons
    ]
    tokens = [
        efficiency_value(run.efficiency, "transfer_set", name, "tokens_seen") for name in SIZES
    ]
    if all(count > 0 for count in tokens):
        found.append(
            f"Less text is less training, too: {listed(f'{count:,.0f}' for count in tokens)} "
            f"tokens in all."
        )
    told_of: dict[str, list[str]] = {}
    for task in tasks:
        text = _enough(*(task.compare(less, LARGE).difference for less in (MIDDLE, SMALL)))
        told_of.setdefault(text, []).append(task.name)
    follows = [f"For {listed(names)} {text}" for text, names in told_of.items() if text]
    all_of_them = [c for comparisons in steps.values() for c in comparisons]
    return Answer(
        "the amount of text", "How much text?", " ".join(found), " ".join(follows), all_of_them
    )


def _enough(with_a_tenth: pd.Series, with_a_hundredth: pd.Series) -> str:
    """What the change of a task with less text says on how much is enough; "" if the task was not
    measured."""
    tenth, hundredth = (side(d) if len(d) else "" for d in (with_a_tenth, with_a_hundredth))
    fine = ("better", "level")
    if not (tenth or hundredth):
        return ""
    if tenth == "worse" and hundredth in fine:
        return "the two samples contradict each other: this run cannot tell how much is enough."
    if hundredth in fine:
        return "a hundredth did better." if hundredth == "better" else "a hundredth is enough."
    if tenth in fine:
        end = ", a hundredth is not" if hundredth == "worse" else ""
        return f"a tenth {'did better' if tenth == 'better' else 'is enough'}{end}."
    if tenth == "worse":
        return "give all the text there is: a tenth of it already costs."
    if hundredth == "worse":
        return "a hundredth is too little" + (
            "; whether a tenth is enough, this run cannot tell." if tenth else "."
        )
    return "this run cannot tell how much is enough."


def kind_of_text(run: Run) -> Answer | None:
    """Must it be real text: natural against three kinds of noise; and which noise, where it cannot
    be used as it is."""
    tasks = (run.of["glue"], run.of["squad"])
    by_noise = {noise: measured(task.compare(LARGE, noise) for task in tasks) for noise in NOISE}
    by_noise = {noise: comparisons for noise, comparisons in by_noise.items() if comparisons}
    if not by_noise:
        return None
    found = [
        f"Real against {noise} text ({NOISE[noise]}): {told(comparisons, pairs=False)}."
        for noise, comparisons in by_noise.items()
    ]
    follows = [_must_be_real(task.name, by_noise) for task in tasks]
    natural = Part(
        " ".join(found),
        " ".join(filter(None, follows)),
        [c for cs in by_noise.values() for c in cs],
    )
    return answer("the kind of text", "Must it be real text?", natural, _instead(run))


def _must_be_real(task: str, by_noise: Mapping[str, Sequence[Compared]]) -> str:
    """What one task says of each noise; "" if it was not measured."""
    own = {
        noise: c for noise, comparisons in by_noise.items() for c in comparisons if c.name == task
    }
    by = _by_side(own)
    words = {
        "better": "real text is better than {}",
        "worse": "real text is worse than {}",
        "level": "real text is level with {}",
        "open": "this run cannot tell about {}",
    }
    parts = [
        text.format(f"{listed(by[found])} text") for found, text in words.items() if found in by
    ]
    return f"For {task} {'; '.join(parts)}." if parts else ""


def _instead(run: Run) -> Part | None:
    instead = measured(
        run.of[task].compare("generated", "randomised") for task in ("glue", "squad")
    )
    if not instead:
        return None
    follows = advice(
        instead,
        better="Generate text from its statistics rather than shuffle it.",
        worse="Shuffle it rather than generate text from its statistics.",
        level="Shuffled and generated text come to the same.",
        open="Whether to shuffle or to generate, this run cannot tell.",
    )
    found = f"Generated against randomised: {told(instead, pairs=False)}."
    return Part(found, f"Where it cannot be used as it is: {lower(follows)}", instead)


def teacher(run: Run) -> Answer | None:
    """Is it worth training the teacher further on the student's text first."""
    student = measured([run.of["herbert"].compare("S4", "S3")])
    own = measured([run.of["herbert"].compare("T2", "T1")])
    if not student:
        return None
    found = (
        f"The student of the teacher that was trained further, against that of the teacher as "
        f"it was: {told(student)}."
    )
    if own:
        found += f" The teacher itself: {told(own)}."
    share = run.ratio("herbert", "T2", "S3", "train_seconds")
    if share:
        found += f" It took {share:.1f} times the training time of a student."
    follows = advice(
        student,
        better="Train the teacher on your text first.",
        worse="Leave the teacher as it is: its student is shown to be better.",
        level="Leave the teacher as it is; training it further changes next to nothing.",
        open="This run cannot tell; leaving the teacher as it is costs nothing.",
    )
    return Answer(
        "the teacher's further training",
        "Train the teacher on your text first?",
        found,
        follows,
        student,
    )


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
    return [
        half for half in found if not (macro and half.measure is run.of["glue"])
    ]  # one model under two names


def layers(run: Run) -> Answer | None:
    """How many layers: what half of them keep of the teacher, at which size and speed, and what the
    depths between cost."""
    found = halves(run)
    if not found:
        return None
    compared = [
        Compared(h.measure.study, h.measure.name, f"{h.student} / {h.teacher}", h.kept() - 100)
        for h in found
    ]
    kept = [
        f"{_percent(h.kept())} on {c.name} ({h.student}){unsure(c.difference)}"
        for h, c in zip(found, compared)
    ]
    text = (
        f"Of the teacher's score, a student of half its layers keeps "
        f"{'; '.join(kept)}.{_cost(run, found)}"
    )
    if overall(compared) == "worse" and any(side(c.difference) != "worse" for c in compared):
        follows = (
            f"Half the layers cost on {names(compared, 'worse')}; elsewhere no cost is "
            f"shown. Try half on your own task."
        )
    else:
        follows = advice(
            compared,
            better="Take half the layers: where anything is shown, it is a gain.",
            worse="Half the layers cost wherever it was measured: keep as many as your time and "
            "space allow.",
            level="Take half the layers: next to nothing is lost.",
            open="No cost of half the layers is shown, nor that there is none: try half on your "
            "own task.",
        )
    between, depths = _between(run)
    return Answer(
        "the number of layers",
        "How many layers?",
        f"{text}{between}",
        f"{follows}{depths}",
        compared,
    )


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
    """The cascade's depths above half against the teacher, and what follows; two empty strings
    where there are none."""
    whole, found = teacher_layers(run.results), chains(run.results).get("cascade", [])
    steps = {
        n: run.of["xnli"].compare(f"cascade-{n}", "teacher").difference
        for n in found
        if n > whole // 2
    }
    steps = {n: d for n, d in steps.items() if len(d)}
    if not steps:
        return "", ""
    parts = [
        f"{number_of(n, 'layer')}: {with_interval(interval(d))}{unsure(d)}"
        for n, d in steps.items()
    ]
    text = f" Between, in the cascade from {whole} layers, in points: {'; '.join(parts)}."
    if all(side(d) == "worse" for d in steps.values()):
        return text, f" By the cascade even the step from {whole} layers to {max(steps)} costs."
    kept = [n for n, d in steps.items() if side(d) in ("level", "better")]
    return (
        text,
        f" By the cascade {min(kept)} of {whole} layers lose next to nothing." if kept else "",
    )


def way(run: Run) -> Answer | None:
    """One hop, a cascade of assistants, or no pretraining of the student at all."""
    half, question = (
        teacher_layers(run.results) // 2,
        "One hop, a cascade, or no pretraining of the student?",
    )
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
    found = (
        f"Against the teacher's layers as they are, fine-tuned without any pretraining: "
        f"{told(trained)}."
    )
    return Part(found, _pays(trained), trained)


def _pays(trained: Sequence[Compared]) -> str:
    """Whether training the student pays at all, on each task that was measured."""
    free = "the cut teacher costs nothing, so fine-tune it first and compare"
    better, worse, level = (
        [c for c in trained if side(c.difference) == one] for one in ("better", "worse", "level")
    )
    if len(better) == len(trained):
        return "Do train the student: the cut teacher as it is does worse."
    if worse:
        return (
            f"Not all training helps: on {_where(worse)} the cut teacher did better. It is "
            f"free, so fine-tune it first."
        )
    if better:
        rest = [c for c in trained if side(c.difference) != "better"]
        return (
            f"Training the student pays on {_where(better)}; on {_where(rest)} that is not "
            f"shown: {free}."
        )
    if len(level) == len(trained):
        return f"Training the student adds next to nothing: {free}."
    return f"That training the student pays at all is not shown: {free}."


def _where(comparisons: Sequence[Compared]) -> str:
    return listed(f"{c.name} ({c.pair})" for c in comparisons)


def spoken(run: Run) -> Answer | None:
    """Many languages: whether a shallower student loses more in those it is not fine-tuned in."""
    half, by = teacher_layers(run.results) // 2, by_scenario(run.results)
    student = next(
        (
            name
            for name in (f"direct-{half}", f"cascade-{half}")
            if len(difference(by, name, "teacher"))
        ),
        "",
    )
    lost = (
        {code: difference(by, student, "teacher", code) for code in languages(run.results)}
        if student
        else {}
    )
    others = [code for code in lost if code != "en"]
    if "en" not in lost or not others:
        return None
    gap = lost["en"] - pd.concat([lost[code] for code in others], axis=1, join="inner").mean(axis=1)
    spared = Compared("cascade", "XNLI", "English − others", gap.dropna().astype(float))
    most = min(others, key=lambda code: lost[code].mean())
    found = (
        f"From the teacher to its student of half the layers ({student}), fine-tuned in English, "
        f"in points: English "
        f"{with_interval(interval(lost['en']))}{unsure(lost['en'])}; of the others {_named(most)} "
        f"loses most, "
        f"{with_interval(interval(lost[most]))}{unsure(lost[most])}. English less the mean of the "
        f"others: "
        f"{told([spared], pairs=False)}."
    )
    follows = advice(
        [spared],
        better="Expect the languages without fine-tuning data to lose more than English: test "
        "each of them.",
        worse="English loses more than the others on average (what is near chance has little to "
        "lose): test each language.",
        level="All languages lose alike.",
        open="Whether English is spared, this run cannot tell: test each language.",
    )
    spare = Part(found, follows, [spared])
    return answer(
        "the languages", "Many languages in one student?", spare, _unknown(by("teacher"), others)
    )


def _unknown(teacher: pd.DataFrame, codes: Sequence[str]) -> Part | None:
    """The languages that the teacher itself is not shown to know."""
    weak = [_named(code) for code in codes if decided(teacher[code].dropna() - CHANCE) <= 0]
    if not weak:
        return None
    found = f"The teacher itself is not shown to be above chance in {listed(weak)}."
    return Part(found, "What the teacher does not know in a language, its student will not.", [])


def _named(code: str) -> str:
    return LANGUAGES.get(code, code)
