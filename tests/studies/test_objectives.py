"""The study `objectives`, which is its files alone: its plan, its table, its claims."""

import pandas as pd
import pytest
import yaml

from lib.common.errors import InputError
from lib.plan import schema
from lib.plan.study import Study, scales, studies_with
from lib.report import claims, section, tables
from lib.report.declaration import from_files, with_every_task
from lib.report.scores import MEAN
from lib.report.statistics import pm
from lib.training.parameters import loss_weights
from tests.helpers import made_up
from tests.helpers.made_up import NO_EFFICIENCY

STUDY = from_files("objectives")
LEVELS = {"logits": 80, "hidden": 85, "attention": 82, "relations": 90, "triple": 83}
STARTS = {"": 0, "_lowest": 1, "_highest": -1, "_random": -20}


TASKS = ("mnli", "qnli", "rte")


def results() -> pd.DataFrame:
    """Of every scenario on every task."""
    frames = []
    for place, (name, level) in enumerate(LEVELS.items()):
        for key, (start, more) in enumerate(STARTS.items()):
            of_ablation = name == "triple"
            levels = dict.fromkeys(TASKS, level + more)
            if not of_ablation or start in ("", "_random"):
                frames.append(
                    made_up.rows("objectives", name + start, levels, key=10 * place + key)
                )
    return pd.concat(frames)


def rate(study: Study, name: str) -> float:
    return study.stages[study.folders[name, "distillation", 1]].parameters["learning_rate"]


@pytest.mark.parametrize("scale", scales("objectives"))
def test_students_differ_in_objective_and_start_alone(scale):
    assert scale in scales("ablation") and "objectives" not in studies_with(scale)
    study = Study("objectives", scale, data_dir=None)
    study.resolve()
    base = study.stages[study.folders["logits", "distillation", 1]].parameters
    varied = {"init", "student_layers", "learning_rate", "beside", "trained_in", "output_dir"}
    for name in STUDY.grid.rows["relations"] + STUDY.grid.rows["attention maps"]:
        p = study.stages[study.folders[name, "distillation", 1]].parameters
        assert [loss for loss, weight in loss_weights(p).items() if weight] == [name.split("_")[0]]
        others = varied | {f"weight_{loss}" for loss in loss_weights(p)}
        assert {k: v for k, v in p.items() if k not in others} == {
            k: v for k, v in base.items() if k not in others
        }
    for name, other in (("triple", "triple"), ("triple_random", "random_init")):
        shared = study.folders[name, "finetune", 1]
        assert shared == study.used.folders[other, "finetune", 1]
    for objective in ("soft targets", "hidden outputs", "attention maps", "relations"):
        *of_layers, random = (rate(study, name) for name in STUDY.grid.rows[objective])
        assert len(set(of_layers)) == 1
        if scale != "tiny":  # where each objective has its own
            ablation = rate(study.used, "triple"), rate(study.used, "random_init")
            assert (of_layers[0], random) == ablation
    longer = study.stages[study.folders["relations_longer", "distillation", 1]].parameters
    assert max(longer["steps"] / max(base["steps"], 1), longer["epochs"] / base["epochs"]) > 1.1


def test_the_grid_has_the_mean_of_the_tasks():
    study = with_every_task(STUDY, results())
    table = tables.grid_table(study, results())
    own = study.scores(results(), "hidden_random")[MEAN]
    assert table.loc["hidden outputs", "random weights"] == pm(own) != "–"
    assert table.loc["triple loss"].tolist()[1:3] == ["–", "–"]
    assert table.loc["triple loss", "every second layer"].startswith(("82", "83"))
    assert section._grid(study, results()) and not section._grid(from_files("ablation"), results())


def test_claims_of_both_sides_are_decided():
    study = with_every_task(STUDY, results())
    entries = claims.read(study, list(study.labels))
    assert {claim.asks for claim in entries} == {""}
    verdicts = claims.evaluate(results(), NO_EFFICIENCY, entries).set_index("id")["verdict"]
    expected = {
        "relations-best": "holds",
        "logits-lag-random": "holds",
        "attention-best": "contradicted",  # 82 is below 85
        "lower-for-logits": "holds",
        "attention-whatever-the-start": "unresolved",  # 2 points, the bound
        "soft-matters-most": "contradicted",
        "relations-over-triple": "holds",
    }
    assert {name: verdicts[f"objectives-{name}"] for name in expected} == expected
    papers = claims.evaluate(results(), NO_EFFICIENCY, entries).set_index("id")["paper_value"]
    assert papers["objectives-relations-over-triple"] == pytest.approx(3.1)


@pytest.mark.parametrize(
    "grid, message",
    [
        ({"columns": ["a"], "rows": {"r": ["S3", "S2"]}}, "the row 'r' has 2 scenarios, .* 1 col"),
        (
            {"columns": ["a"], "rows": {"r": ["S9"]}},
            "grid: there is no scenario 'S9'; there are S0",
        ),
    ],
)
def test_a_grid_that_does_not_fit_is_one_line(own_params, grid, message):
    path = own_params / "herbert/scenarios.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"grid": grid}))
    with pytest.raises(InputError, match=f"params/herbert/scenarios.yaml: .*{message}") as error:
        schema.read_scenarios("herbert")
    assert "\n" not in str(error.value)
