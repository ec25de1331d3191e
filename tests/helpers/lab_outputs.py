"""A small outputs folder for the tests of the lab: one corpus, a teacher and two students with
random weights, some scores."""

import json
import shutil

import pandas as pd
import torch

from lib.common import machine
from lib.data import prepare
from lib.data.prepared import open_corpus
from lib.plan import plan
from lib.plan.stages import validate
from lib.report.results import RESULTS
from lib.training import models, pretraining
from tests.helpers import small

TASKS = {"nkjp-ner": 80.0, "polemo2-in": 70.0, "polemo2-out": 60.0}
STUDY = "outputs/smoke/herbert"


def make(outputs):
    """Fill `outputs`/smoke as a run of the study herbert would, in seconds: T1 of two layers, S1
    and S3 of one; its folder."""
    steps = {step.folder: step.parameters for step in plan.resolve("smoke", ["herbert"])}
    corpus = outputs / "smoke/herbert/corpus_teacher/data_prep"
    corpus.mkdir(parents=True)
    parameters = validate("data_prep", steps[f"{STUDY}/corpus_teacher/data_prep"])
    statistics = prepare.prepare(parameters, corpus, say=lambda line: None)
    (corpus / "result.json").write_text(
        json.dumps(
            {
                "stage": "data_prep",
                "parameters": parameters.model_dump(mode="json"),
                "statistics": statistics,
            }
        )
    )
    shutil.copytree(corpus, outputs / "smoke/herbert/corpus_transfer/data_prep")
    words = open_corpus(corpus).tokenizer()
    teacher = small.encoder_for(
        words, layers=2, hidden=32, intermediate=64, max_length=64, initializer_range=0.3, seed=0
    )
    students = {
        "S1": models.random_like(models.truncate(teacher, range(1)), 1),
        "S3": models.truncate(teacher, [0]),
    }
    for name, model, kind in [
        ("T1", teacher, "teacher_continuation"),
        *((n, m, "distillation") for n, m in students.items()),
    ]:
        with torch.no_grad():
            model.cls.predictions.bias.normal_(0, 2)
        folder = outputs / "smoke/herbert" / name / kind
        pretraining.save(model, words, folder / "model")
        text = json.dumps(steps[f"{STUDY}/{name}/{kind}"]).replace('"outputs/', f'"{outputs}/')
        quality = {"mlm_loss": 5.0, "mlm_accuracy": 1.0, "positions": 100}
        result = {
            "stage": kind,
            "parameters": json.loads(text),
            "summary": pretraining.summary(model, []),
            "before": quality,
            "after": quality,
            "history": [],
            "machine": machine.machine(),
            "versions": machine.versions(),
        }
        (folder / "result.json").write_text(json.dumps(result))
    rows = [
        (
            "herbert",
            name,
            layers,
            1,
            seed,
            task,
            "toy-pl",
            "accuracy",
            protocol,
            2,
            level + shift + seed,
        )
        for name, layers, shift in (("T1", 2, 5.0), ("S1", 1, -20.0), ("S3", 1, 0.0))
        for task, level in TASKS.items()
        for seed in (1, 2)
        for protocol in ("final", "best_epoch")
    ]
    pd.DataFrame(rows, columns=RESULTS).to_csv(outputs / "smoke/results.csv", index=False)
    return outputs
