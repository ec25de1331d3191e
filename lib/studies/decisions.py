"""What someone who distills has to decide, and what the studies that ran say about it.

DECISIONS, at the end, lists the questions in the order in which they are faced. Each is answered by
functions that take an Analysis and return a Part, or None where nothing was measured.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isnan

from lib.report import tables
from lib.report.declaration import Declaration
from lib.report.results import efficiency_value
from lib.report.section import Analysis
from lib.report.statistics import Sample, interval
from lib.report.wording import capitalised, decided, listed, plain
from lib.studies import cascade
from lib.studies.ablation import LEFT_OUT, TEMPERATURES
from lib.studies.compared import Comparison, Pair, Score, compare, halved, number, numbers, verdict
from lib.studies.transfer_set import COMPOSITIONS, SHARES

HERBERT = Score("herbert", "HerBERT's tasks")
ABLATION = Score("ablation", "GLUE")
GLUE = Score("transfer_set", "GLUE")
SQUAD = Score("transfer_set", "SQuAD F1", column="f1")
XNLI = Score("cascade", "XNLI")
DECIDED = {score.study for score in (HERBERT, ABLATION, GLUE, SQUAD, XNLI)}
"""The studies behind DECISIONS; each other one answers the questions that it declares."""
LARGE, MIDDLE, SMALL = "corpus10pct", "corpus1pct", "corpus0.1pct"


@dataclass(frozen=True)
class Part:
    """A part of an answer: what to do and the numbers behind it, in Markdown, and the comparisons
    that count for how certain it is."""

    advice: str
    evidence: str
    comparisons: Collection[Comparison] = ()


def answers(analysis: Analysis) -> dict[str, Part]:
    """Question -> its parts joined, for every decision that was measured, and for each other study
    that declares questions."""
    parts = {
        question: [part(analysis) for part in functions]
        for question, functions in DECISIONS.items()
    }
    others = [study for study in analysis.studies.values() if study.name not in DECIDED]
    for study in others:
        for title, part in own_questions(analysis, study):
            title = f"{study.short}: {title}" if len(others) > 1 else title
            ending = "" if title.endswith(("?", ".", "!")) else "."
            parts.setdefault(plain(title) + ending, []).append(part(analysis))
    joined = {question: _join([p for p in found if p]) for question, found in parts.items()}
    return {question: answer for question, answer in joined.items() if answer.comparisons}


def _join(parts: list[Part]) -> Part:
    return Part(
        " ".join(part.advice for part in parts if part.advice),
        " ".join(part.evidence for part in parts),
        [c for part in parts for c in part.comparisons],
    )


# --- parts that several questions have ------------------------------------------------------------

PartOf = Callable[[Analysis], Part | None]


def choice(a: str, b: str, *pairs: Pair, hint: str = "") -> PartOf:
    """Which of two ways is better, by all pairs together. `hint`: what helps where this is not
    decided."""
    clauses = {
        "better": f"prefer {a} to {b}",
        "worse": f"prefer {b} to {a}",
        "level": f"{a} and {b} do equally well",
        "open": f"{a} and {b} cannot be told apart",
    }

    def part(analysis: Analysis) -> Part | None:
        gains = compare(analysis, pairs)
        evidence = f"{capitalised(a)} against {b}: {numbers(gains)}."
        return Part(verdict(gains, clauses, hint), evidence, gains) if gains else None

    return part


def several(
    evidence: str, pairs: Mapping[str, Pair], templates: Mapping[str, str], word: str = "for"
) -> PartOf:
    """Named comparisons: for each side that occurs, its template filled with the names on it.
    `word` stands between a number and its name."""

    def part(analysis: Analysis) -> Part | None:
        gains = {name: gain for name, pair in pairs.items() for gain in compare(analysis, [pair])}
        if not gains:
            return None
        sentences = []
        for side, template in templates.items():
            if names := [name for name, gain in gains.items() if gain.side == side]:
                sentences.append(template.format(listed(names)))
        text = "; ".join(number(gain, f" {word} {name}") for name, gain in gains.items())
        return Part(" ".join(sentences), f"{evidence}: {text}.", list(gains.values()))

    return part


def largest_set_against(a: str, others: Mapping[str, str]) -> list[PartOf]:
    """The largest transfer set, which sentences call `a`, against others (name -> scenario): a part
    for GLUE and one for SQuAD."""
    return [
        several(
            f"What {a} gains on {score.title}",
            {name: (score, LARGE, scenario) for name, scenario in others.items()},
            {
                "better": f"On {score.title} prefer {a} to {{}}.",
                "worse": f"On {score.title} prefer {{}} to {a}.",
                "level": f"On {score.title} {{}} and {a} do equally well.",
                "open": f"On {score.title} {a} cannot be told apart from {{}}.",
            },
            word="over",
        )
        for score in (GLUE, SQUAD)
    ]


def training_time(text: str, scenario: str, other: str) -> PartOf:
    """Evidence alone: the training time of a scenario of herbert over another's."""

    def part(analysis: Analysis) -> Part | None:
        times = _ratio(analysis, "herbert", scenario, other, "train_seconds")
        return Part("", text.format(times)) if times else None

    return part


def _ratio(analysis: Analysis, study: str, a: str, b: str, column: str) -> float:
    """a's value over b's in a column of efficiency.csv; 0 where either is missing."""
    top, base = (efficiency_value(analysis.efficiency, study, x, column) for x in (a, b))
    return top / base if top > 0 and base > 0 else 0.0


# --- parts of one question ------------------------------------------------------------------------

HALVES = [
    (HERBERT, "S3"),
    (ABLATION, "triple"),
    (GLUE, LARGE),
    (SQUAD, LARGE),
    (XNLI, "direct-{half}"),
    (XNLI, "cascade-{half}"),
]
"""Students with half of the layers. Of those with a score of the same title the first counts:
`triple` and LARGE are one model under two names."""


def half_the_layers(analysis: Analysis) -> Part | None:
    """The share of its teacher's score that a student with half of the layers keeps, its size and
    its speed."""
    changes: dict[str, Comparison] = {}
    kept, sizes, speeds = [], [], []
    for score, student in HALVES:
        study = analysis.studies.get(score.study)
        if not study or score.title in changes:
            continue
        student = halved(student, study, analysis.final)
        share = tables.share_kept(study, analysis.final, student, score.column)
        if len(share):
            loss = study.shared(share - 100, "% of teacher")
            change = Comparison(score, f"{student} / {study.teacher}", loss)
            changes[score.title] = change
            kept.append(f"{_percent(share)} on {score.title} ({student}){change.caveat}")
            names = student, study.teacher
            sizes.append(100 * _ratio(analysis, study.name, *names, "parameters"))
            speeds.append(_ratio(analysis, study.name, *reversed(names), "latency_s"))
    if not changes:
        return None
    clauses = {
        "better": "half of the layers do better than all",
        "worse": "half of the layers lose accuracy",
        "level": "half of the layers lose next to nothing",
        "open": "this run cannot tell whether half of the layers lose accuracy",
    }
    advice = verdict(changes.values(), clauses, "try half on your own task")
    costs = [f"has {_range(sizes, 0)} % of the parameters"] if all(sizes) else []
    costs += [f"is {_range(speeds, 1)} times as fast"] if all(speeds) else []
    evidence = f"Of its teacher's score a student with half of the layers keeps {'; '.join(kept)}."
    evidence += f" It {' and '.join(costs)}." if costs else ""
    return Part(advice, evidence, list(changes.values()))


def _percent(share: Sample) -> str:
    """ "84.0 % [81.2, 86.7]"; without brackets for one run."""
    i = interval(share)
    ends = "" if isnan(i.low) else f" [{i.low:.1f}, {i.high:.1f}]"
    return f"{i.mean:.1f} %{ends}".replace("-", "−")


def _range(values: list[float], digits: int) -> str:
    ends = [f"{end:.{digits}f}" for end in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def depths_between(analysis: Analysis) -> Part | None:
    """The cascade's students with more than half of the layers, against the teacher."""
    whole = cascade.teacher_layers(analysis.final)
    depths = [n for n in cascade.chains(analysis.final).get("cascade", []) if n > whole // 2]
    part = several(
        f"In the cascade, against the teacher's {whole} layers",
        {str(n): (XNLI, f"cascade-{n}", "teacher") for n in depths},
        {
            "better": "In the cascade {} layers do better than the teacher.",
            "level": "In the cascade {} layers lose next to nothing.",
            "worse": "In the cascade {} layers lose accuracy.",
        },
    )(analysis)
    if part is None:
        return None
    return Part(part.advice, part.evidence)  # the question is about half of the layers


def temperature(analysis: Analysis) -> Part | None:
    """Other temperatures of the soft targets against DistilBERT's 2."""
    others = {f"T = {value}": name for name, value in TEMPERATURES.items() if name != "triple"}
    part = several(
        "Against T = 2, on GLUE",
        {value: (ABLATION, name, "triple") for value, name in others.items()},
        {
            "better": "Better than T = 2: {}.",
            "worse": "Worse than T = 2: {}.",
            "level": "Level with T = 2: {}.",
            "open": "Not told apart from T = 2: {}.",
        },
    )(analysis)
    if part and not any(gain.side == "better" for gain in part.comparisons):
        return Part(f"{part.advice} Stay with T = 2.", part.evidence, part.comparisons)
    return part


def tokens_seen(analysis: Analysis) -> Part | None:
    """Evidence alone: on how many tokens each is trained, which may differ as well as the text."""
    column, study = "tokens_seen", "transfer_set"
    counts = [efficiency_value(analysis.efficiency, study, name, column) for name in SHARES]
    if not all(count > 0 for count in counts):
        return None
    tokens = listed([f"{count:,.0f}" for count in counts])
    differs = max(counts) > 1.05 * min(counts)
    amount = "The amount of training differs too" if differs else "All are trained about as much"
    return Part("", f"{amount}: {tokens} tokens in all.")


def teachers(analysis: Analysis) -> Part | None:
    """Evidence alone: what further training does for the teacher itself."""
    gains = compare(analysis, [(HERBERT, "T2", "T1")])
    return Part("", f"The teacher itself: {numbers(gains)}.") if gains else None


def other_languages(analysis: Analysis) -> Part | None:
    """Whether a shallower student loses more in languages without fine-tuning data than in
    English."""
    students = [(XNLI, f"{chain}-{{half}}", "teacher") for chain in ("direct", "cascade")]
    codes = cascade.languages(analysis.final)
    if not (measured := compare(analysis, students)):
        return None
    pair = measured[0].pair
    scores = [Score("cascade", cascade.LANGUAGES.get(code, code), code) for code in codes]
    lost = {s.column: c for s in scores for c in compare(analysis, [(s, *pair.split(" − "))])}
    english = lost.pop("en", None)
    if not english or not lost:
        return None
    gap = english.difference - sum(loss.difference for loss in lost.values()) / len(lost)
    spared = Comparison(XNLI, "English − others", gap)
    most = min(lost.values(), key=lambda loss: loss.difference.mean())
    clauses = {
        "better": "languages without fine-tuning data lose more than English",
        "worse": "English loses more than the others (a language near chance has little to lose)",
        "level": "all languages lose about the same",
        "open": "this run cannot tell whether English loses less than the others",
    }
    return Part(
        f"{verdict([spared], clauses)} Test each language.",
        f"A student with half of the layers against its teacher ({pair}), both fine-tuned in "
        f"English: English {number(english)}; of the others {most.score.title} loses most, "
        f"{number(most)}. English less the mean of the others: {number(spared)}.",
        [spared],
    )


def unknown_languages(analysis: Analysis) -> Part | None:
    """The languages in which the teacher itself is not shown to be above chance."""
    teacher = cascade.accuracy(analysis.final, "teacher")
    weak = [
        cascade.LANGUAGES.get(code, code)
        for code, score in teacher.items()
        if code not in ("en", cascade.AVERAGE) and decided(score - cascade.CHANCE) <= 0
    ]
    if not weak:
        return None
    return Part(
        "A student will not know a language that its teacher does not know.",
        f"The teacher itself is not shown to be above chance in {listed(weak)}.",
    )


def own_questions(analysis: Analysis, study: Declaration) -> list[tuple[str, PartOf]]:
    """The title of each question that the study declares, and a choice, on its main score; chains
    are compared at their shallowest common depth."""
    score = Score(study.name, tables.columns_of(study, analysis.final)[study.main])
    return [
        (question.title, choice(_called(study, a), _called(study, b), (score, a, b)))
        for question in study.questions
        for a, b in tables.pairs_of(study, analysis.final, question)[:1]
    ]


def _called(study: Declaration, scenario: str) -> str:
    """A scenario's label, in Markdown; its name where no label is its alone."""
    label = study.label(scenario)
    is_clear = label and list(study.labels.values()).count(label) == 1
    return f"*{plain(label if is_clear else scenario)}*"


# --- the decisions --------------------------------------------------------------------------------

DECISIONS: dict[str, list[PartOf]] = {
    "Distill at all, or only cut the teacher?": [
        choice(
            "the trained student",
            "the truncated teacher",
            (HERBERT, "S3", "truncated"),
            (GLUE, LARGE, "truncated"),
            (XNLI, "direct-{half}", "truncated-{half}"),
            (XNLI, "cascade-{half}", "truncated-{half}"),
            hint="truncating costs nothing, so fine-tune that first and compare",
        ),
    ],
    "How many layers?": [half_the_layers, depths_between],
    "Which initial weights?": [
        choice(
            "layers copied from the teacher",
            "random weights",
            (HERBERT, "S2", "S1"),
            (ABLATION, "triple", "random_init"),
            hint="copying costs nothing",
        ),
        choice(
            "every second layer from the lowest",
            "layers up to the top",
            (ABLATION, "triple", "layers_to_top"),
        ),
    ],
    "Which losses?": [
        choice(
            "imitating the teacher",
            "training on text alone",
            (HERBERT, "S3", "S2"),
            hint="text alone is cheaper",
        ),
        training_time("Imitation took {:.1f} times the training time.", "S3", "S2"),
        choice(
            "imitating the teacher",
            "training on text alone for as long",
            (HERBERT, "S3", "S2_longer"),
        ),
        several(
            "What each loss adds to the other two, on GLUE",
            {loss: (ABLATION, "triple", without) for without, loss in LEFT_OUT.items()},
            {
                "better": "Keep {}.",
                "worse": "Leave out {}: the student does better without.",
                "level": "Next to nothing is gained from {}.",
                "open": "This run cannot tell what is gained from {}.",
            },
        ),
        choice(
            "loss weights of 5 / 2 / 1",
            "equal weights",
            (ABLATION, "triple", "equal_weights"),
        ),
    ],
    "Which temperature?": [temperature],
    "How much text?": [
        *largest_set_against(
            "the largest sample", {"a tenth of it": MIDDLE, "a hundredth of it": SMALL}
        ),
        tokens_seen,
    ],
    "Must it be real text?": [
        *largest_set_against(
            "real text", {f"{noise} text": noise for noise in COMPOSITIONS if noise != LARGE}
        ),
        choice(
            "generated text",
            "randomised text",
            (GLUE, "generated", "randomised"),
            (SQUAD, "generated", "randomised"),
        ),
    ],
    "One hop or a cascade?": [
        choice(
            "one hop",
            "the cascade",
            (XNLI, "direct-{half}", "cascade-{half}"),
            hint="one hop is simpler",
        ),
    ],
    "Train the teacher on your text first?": [
        choice(
            "students of a teacher trained further",
            "students of the original",
            (HERBERT, "S4", "S3"),
            hint="leaving the teacher as it is costs nothing",
        ),
        teachers,
        training_time("Its further training took {:.1f} times as long as a student's.", "T2", "S3"),
    ],
    "Many languages in one student?": [other_languages, unknown_languages],
}
"""Question -> the parts of its answer. Another decision is one more entry."""
