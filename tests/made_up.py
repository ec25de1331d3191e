"""Made-up results of GLUE and SQuAD in the shape of results.csv."""

import numpy as np
import pandas as pd

from lib.glue import TASKS

METRICS = {"cola": ["matthews"], "mrpc": ["accuracy", "f1"], "qqp": ["accuracy", "f1"], "stsb": ["pearson", "spearman"]}
RESULTS = ["study", "scenario", "layers", "seed", "task", "language", "metric", "protocol", "epoch", "value"]
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
]
NO_RESULTS, NO_EFFICIENCY = pd.DataFrame(columns=RESULTS), pd.DataFrame(columns=EFFICIENCY)


def rows(
    study: str, scenario: str, glue, squad=None, seeds: int = 5, noise: float = 0.3, layers: int = 6, key: int = 0
):
    """`glue`: a level for all nine tasks, or task -> level; `squad`: (exact match, F1) or None. Percent, final epoch."""
    random, made = np.random.default_rng(key), []
    levels = glue if isinstance(glue, dict) else dict.fromkeys(TASKS, glue)
    wanted = [
        (task, metric, level)
        for task, level in levels.items()
        for metric in METRICS.get(task, ["accuracy"]) + ["accuracy_mismatched"] * (task == "mnli")
    ]
    wanted += [("squad", metric, level) for metric, level in zip(("exact_match", "f1"), squad or ())]
    for seed in range(seeds):
        made += [
            (study, scenario, layers, seed, task, "en", metric, "final", 3, level + noise * random.normal())
            for task, metric, level in wanted
        ]
    return pd.DataFrame(made, columns=RESULTS)


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


BERT = dict(zip(TASKS, (56.3, 84.7, 88.6, 91.8, 89.6, 69.3, 92.7, 89.0, 53.5)))
DISTILBERT = dict(zip(TASKS, (51.3, 82.2, 87.5, 89.2, 88.5, 59.9, 91.3, 86.9, 56.3)))


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
    """Results of the ablation study at these levels."""
    return pd.concat(
        [
            rows("ablation", name, level, noise=noise, layers=12 if name == "teacher" else 6, key=k, **how)
            for k, (name, level) in enumerate(levels.items())
        ]
    )


def efficiency(
    study: str, scenarios, teacher=(109.482e6, 417.6, 0.0147), student=(66.363e6, 253.2, 0.0080)
) -> pd.DataFrame:
    """Parameters, MiB and seconds of every scenario: the teacher's, or the student's."""
    return pd.DataFrame(
        [[study, name, name, *(teacher if name == "teacher" else student)] for name in scenarios],
        columns=EFFICIENCY[:6],
    ).reindex(columns=EFFICIENCY)
