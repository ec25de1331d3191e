"""Made-up results of GLUE, SQuAD and XNLI in the shape of results.csv."""

import numpy as np
import pandas as pd

from lib.report.outcomes import TASK
from lib.report.results import EXAMPLES
from lib.report.scores import GLUE
from lib.studies.herbert import TASKS as HERBERT_TASKS

METRICS = {
    "cola": ["matthews"],
    "mrpc": ["accuracy", "f1"],
    "qqp": ["accuracy", "f1"],
    "stsb": ["pearson", "spearman"],
}
RESULTS = [
    "study",
    "scenario",
    "layers",
    "repeat",
    "seed",
    "task",
    "language",
    "metric",
    "protocol",
    "epoch",
    "value",
]
EFFICIENCY = [
    "study",
    "scenario",
    "model",
    "parameters",
    "size_mib",
    "latency_s",
    "tokens_seen",
    "tokens_per_parameter",
    "train_seconds",
    "tokens_per_second",
    "peak_memory_mib",
    "latency_low",
    "latency_high",
]
NO_RESULTS, NO_EFFICIENCY = pd.DataFrame(columns=RESULTS), pd.DataFrame(columns=EFFICIENCY)


def rows(
    study: str,
    scenario: str,
    glue,
    squad=None,
    seeds: int = 5,
    noise: float = 0.3,
    layers: int = 6,
    key: int = 0,
):
    """`glue`: a level for all nine tasks, or task -> level; `squad`: (exact match, F1) or None.
    Percent, final epoch."""
    random, made = np.random.default_rng(key), []
    levels = glue if isinstance(glue, dict) else dict.fromkeys(GLUE, glue)
    wanted = [
        (task, metric, level)
        for task, level in levels.items()
        for metric in METRICS.get(task, ["accuracy"]) + ["accuracy_mismatched"] * (task == "mnli")
    ]
    wanted += [
        ("squad", metric, level) for metric, level in zip(("exact_match", "f1"), squad or ())
    ]
    for seed in range(seeds):
        made += [
            (
                study,
                scenario,
                layers,
                1,
                seed,
                task,
                "en",
                metric,
                "final",
                3,
                level + noise * random.normal(),
            )
            for task, metric, level in wanted
        ]
    return pd.DataFrame(made, columns=RESULTS)


HERBERT = {
    "S0": (80.8, 59.7, 53.2),
    "S1": (81.3, 60.5, 68.3),
    "S2": (85.1, 74.1, 79.1),
    "S3": (86.1, 76.1, 80.6),
    "S4": (87.3, 75.1, 82.2),
    "T1": (90.9, 80.4, 94.5),
}
"""000's Table 2 (PolEmo2.0-IN, PolEmo2.0-OUT, NKJP-NER), its closest pairs drawn a little apart:
here every claim holds."""


def herbert(
    levels=HERBERT, seeds: int = 5, noise: float = 0.05, protocol: str = "final"
) -> pd.DataFrame:
    """Results of the herbert study at these levels."""
    made = []
    for key, (name, level) in enumerate(levels.items()):
        random = np.random.default_rng(key)
        made += [
            (
                "herbert",
                name,
                12 if name[0] == "T" else 6,
                1,
                seed,
                task,
                "pl",
                "accuracy",
                protocol,
                8,
                percent + noise * random.normal(),
            )
            for seed in range(seeds)
            for task, percent in zip(HERBERT_TASKS, level)
        ]
    return pd.DataFrame(made, columns=RESULTS)


def herbert_models(
    teacher: float = 124.443e6,
    student: float = 81.325e6,
    teacher_mib: float = 474.7,
    student_mib: float = 310.2,
    tokens: float = 436e6,
) -> pd.DataFrame:
    """Parameters and MiB of T1 and S3, and the tokens that S3 saw."""
    frame = pd.DataFrame(
        [
            ["herbert", "T1", "teacher", teacher, teacher_mib],
            ["herbert", "S3", "student", student, student_mib],
        ],
        columns=EFFICIENCY[:5],
    ).reindex(columns=EFFICIENCY)
    return frame.assign(tokens_seen=[float("nan"), tokens])


TRANSFER = {
    "teacher": (74.9, (73.9, 82.3)),
    "DistilBERT": (74.3, (69.6, 78.7)),
    "corpus10pct": (72.5, (56.9, 68.5)),
    "corpus1pct": (72.4, (54.7, 66.4)),
    "corpus0.1pct": (70.0, (45.0, 56.5)),
    "randomised": (64.8, (8.7, 16.2)),
    "generated": (59.2, (27.0, 37.3)),
}
"""001's Tables 6, 7, 9, 10: GLUE and (exact match, F1)."""


def transfer_set(levels=TRANSFER, **how) -> pd.DataFrame:
    """Results of the transfer_set study at these levels."""
    return pd.concat(
        [
            rows("transfer_set", name, *level, layers=12 if name == "teacher" else 6, key=k, **how)
            for k, (name, level) in enumerate(levels.items())
        ]
    )


BERT = dict(zip(GLUE, (56.3, 84.7, 88.6, 91.8, 89.6, 69.3, 92.7, 89.0, 53.5)))
DISTILBERT = dict(zip(GLUE, (51.3, 82.2, 87.5, 89.2, 88.5, 59.9, 91.3, 86.9, 56.3)))


def lower(points: float) -> dict:
    """DistilBERT's tasks, each so many points lower."""
    return {task: level - points for task, level in DISTILBERT.items()}


ABLATED = {
    "teacher": BERT,
    "triple": DISTILBERT,
    "without_soft": lower(2.96),
    "without_cosine": lower(1.46),
    "without_mlm": lower(0.31),
    "random_init": lower(3.69),
}
"""002's Tables 1 (with BERT's MNLI as the printed score needs it) and 4."""


def ablation(levels=ABLATED, noise: float = 0.1, **how) -> pd.DataFrame:
    """Results of the ablation study at these levels: of GLUE, or (of GLUE, of SQuAD)."""
    return pd.concat(
        [
            rows(
                "ablation",
                name,
                *(level if isinstance(level, tuple) else (level,)),
                noise=noise,
                layers=12 if name == "teacher" else 6,
                key=k,
                **how,
            )
            for k, (name, level) in enumerate(levels.items())
        ]
    )


def efficiency(
    study: str, scenarios, teacher=(109.482e6, 417.6, 0.0147), student=(66.363e6, 253.2, 0.0080)
) -> pd.DataFrame:
    """Parameters, MiB and seconds of every scenario: the teacher's, or the student's."""
    frame = pd.DataFrame(
        [[study, name, name, *(teacher if name == "teacher" else student)] for name in scenarios],
        columns=EFFICIENCY[:6],
    ).reindex(columns=EFFICIENCY)
    return frame.assign(
        latency_low=0.98 * frame["latency_s"], latency_high=1.02 * frame["latency_s"]
    )


LOSSES = {
    "herbert": {"S0": 4.5, "S1": 4.0, "S2": 3.0, "S3": 2.5, "S4": 2.0},
    "transfer_set": {
        "corpus10pct": 2.0,
        "corpus1pct": 2.1,
        "corpus0.1pct": 2.5,
        "randomised": 4.0,
        "generated": 5.0,
    },
    "ablation": {
        "triple": 2.0,
        "without_mlm": 2.4,
        "without_cosine": 2.8,
        "without_soft": 3.2,
        "random_init": 4.0,
        "temperature1": 3.0,
        "temperature4": 2.1,
        "temperature8": 2.2,
    },
    "cascade": {
        "cascade-11": 2.0,
        "cascade-10": 2.1,
        "cascade-9": 2.2,
        "cascade-8": 2.3,
        "cascade-7": 2.4,
        "cascade-6": 2.5,
        "direct-6": 1.9,
        "truncated-6": 2.505,
        "usual_warmup-11": 2.1,
    },
}
"""Losses on held-out text in nats, by study and scenario, at which every claim holds; the papers
print none."""


def held_out(
    study: str, levels: dict[str, float], repeats: int = 5, noise: float = 0.001
) -> pd.DataFrame:
    """Rows of the loss on held-out text at these levels, a row per scenario and repeat."""
    made = []
    for key, (name, level) in enumerate(levels.items()):
        random = np.random.default_rng(key)
        for repeat in range(1, repeats + 1):
            examples = level + noise * (random.normal() + random.normal(size=50))
            made.append([study, name, 6, repeat, 0, TASK, "", "mlm_loss", "final", 0])
            made[-1] += [examples.mean(), examples]
    return pd.DataFrame(made, columns=[*RESULTS, EXAMPLES])


XNLI = ("en", "es", "zh", "de", "ar", "ur")
CASCADE = {
    "teacher": (82.1, 74.6, 69.1, 72.3, 66.4, 58.5),
    "cascade-11": (81.0, 73.3, 69.3, 70.1, 64.6, 57.1),
    "cascade-10": (79.2, 71.3, 66.1, 67.0, 61.8, 56.4),
    "cascade-9": (79.9, 69.6, 65.9, 65.5, 60.9, 56.4),
    "cascade-8": (77.8, 67.8, 64.9, 64.2, 58.9, 54.5),
    "cascade-7": (77.7, 65.7, 64.6, 62.3, 57.1, 52.3),
    "cascade-6": (76.8, 62.1, 60.7, 60.1, 51.5, 49.6),
    "direct-6": (81.5, 74.7, 69.3, 72.2, 65.0, 59.3),
    "truncated-6": (76.5, 61.7, 60.3, 59.8, 51.3, 49.4),
}
"""004's Table 3, LightMBERT as `direct-6`; mBERT from elsewhere; what is truncated is not printed,
only said to be near."""


def cascade(
    levels=CASCADE,
    seeds: int = 5,
    noise: float = 0.3,
    toy: bool = False,
    languages=XNLI,
    teacher: int = 12,
):
    """Results of the cascade study at these levels (one for every language), a row per language and
    seed."""
    made = []
    for key, (name, level) in enumerate(levels.items()):
        random, layers = (
            np.random.default_rng(key),
            teacher if name == "teacher" else int(name.split("-")[-1]),
        )
        made += [
            (
                "cascade",
                name,
                layers,
                1,
                seed,
                "xnli",
                "toy-" * toy + language,
                "accuracy",
                "final",
                3,
                percent + noise * random.normal(),
            )
            for seed in range(seeds)
            for language, percent in zip(languages, level)
        ]
    return pd.DataFrame(made, columns=RESULTS)


def shallow(levels=CASCADE) -> dict:
    """The same levels in a cascade of a teacher of 6 layers: 11 is 5, 10 is 4, and its last, 6, is
    3."""
    new = {"cascade-11": "cascade-5", "cascade-10": "cascade-4"}
    return {
        new.get(name, name.replace("-6", "-3")): level
        for name, level in levels.items()
        if name in new or name.endswith("-6") or name == "teacher"
    }
