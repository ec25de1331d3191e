"""Model cards from made-up results: what they say, what they must not say, and that text from data
stays text."""

import json
import re
from html import unescape

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from lib.common import places
from lib.common.errors import InputError
from lib.plan import plan
from lib.plan import study as plan_study
from lib.plan.stages import validate
from lib.report import card, results
from lib.report.latency import Latency
from lib.report.statistics import interval
from lib.report.wording import code, plain
from lib.runner import stage
from tests.helpers.made_up import RESULTS

SECTIONS = [
    "Use",
    "How it was made",
    "Text",
    "Results",
    "Size and speed",
    "Limits",
    "Licences",
    "How to cite",
    "How to make it again",
]
HOSTILE = "<script>alert(1)</script> & `a` ``b`` | [x](y) *c* _d_ \\ $e$ # --- : {f} 'g' \"h\""
CONFIG = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 512,
}
SUMMARY = {
    "layers": 2,
    "parameters": 1234,
    "size_mib": 0.25,
    "steps": 7,
    "tokens_per_parameter": 0.5,
    "tokens_seen": 617,
    "train_seconds": 5400.0,
    "tokens_per_second": 0.1,
    "padding_share": 0.0,
    "waiting_share": 0.0,
}
KNOWS = {"mlm_loss": 2.5, "mlm_accuracy": 40.0, "positions": 99}
FOUND = {
    "machine": {"cpu": "a processor", "cores": 2, "gpu": ""},
    "versions": {"python": "3.11"},
    "stage_seconds": 1.0,
    "peak_memory_mib": 1.0,
    "summary": SUMMARY,
    "before": KNOWS,
    "after": KNOWS,
    "history": [{"step": 7}],
}
S3 = {
    "student_layers": [0, 2],
    "weight_soft": 5,
    "weight_mlm": 2,
    "weight_cosine": 1,
    "temperature": 2,
    "learning_rate": 1e-3,
}
SEEDS = {"S3": [90.0, 91.0, 92.5], "T1": [92.0, 91.5, 94.0]}


@pytest.fixture
def project(tmp_path, monkeypatch, own_params):
    """A folder in place of the checkout, and how to leave a stage's result there. Its scale `tiny`
    trains its teacher, as `smoke` does."""
    monkeypatch.setattr(places, "ROOT", tmp_path)
    smoke = (own_params / "herbert/smoke.yaml").read_text()
    (own_params / "herbert/tiny.yaml").write_text(smoke)

    def leave(
        scenario: str, kind: str, values: dict, scale="tiny", study="herbert", **more
    ) -> dict:
        folder = f"outputs/{scale}/{study}/{scenario}/{kind}"
        p = validate(kind, values | {"output_dir": folder}).model_dump(mode="json")
        found = {"stage": kind, "parameters": p, **FOUND, **more}
        (tmp_path / folder / "model").mkdir(parents=True)
        (tmp_path / folder / "model/config.json").write_text(json.dumps(CONFIG))
        stage.write_json(tmp_path / folder / "result.json", found)
        return found

    leave.folder, leave.params = tmp_path, own_params
    return leave


def corpus(leave, name, sources, scale="tiny", **more):
    statistics = {"sequences": 50, "tokens": 999, "tokens_per_sequence": {"max": 26}}
    tokenizer = {} if "sample_of" in more else {"tokenizer": "train:wordpiece", "sources": sources}
    leave(f"corpus_{name}", "data_prep", tokenizer | more, scale, statistics=statistics)
    return f"outputs/{scale}/herbert/corpus_{name}/data_prep"


def student(leave, sources=None, scale="tiny", teacher=None, **more):
    """A student as S3 of herbert at a scale, its text and its teacher; the student's result."""
    toy = [{"kind": "toy", "language": "toy-pl", "corpus": "web", "lines": 120}]
    text = corpus(leave, "transfer", sources or toy, scale)
    if teacher is None:
        first = corpus(leave, "teacher", sources or toy, scale)
        leave(
            "T1",
            "teacher_continuation",
            {"corpus": first, "learning_rate": 1e-3, "steps": 9},
            scale,
        )
        teacher = f"outputs/{scale}/herbert/T1/teacher_continuation/model"
    return leave("S3", "distillation", {**S3, "teacher": teacher, "corpus": text} | more, scale)


def tuned(leave, scenario, kind, scale="tiny"):
    values = {
        "model": f"outputs/{scale}/herbert/{scenario}/{kind}/model",
        "tasks": ["nkjp-ner"],
        "task_source": "toy",
        "epochs": 8,
        "task_language": "toy-pl",
        "seeds": [1, 2, 3],
        "learning_rate": 1e-3,
        "validation_examples": 500,
    }
    leave(
        scenario,
        "finetune",
        values,
        scale,
        model=SUMMARY,
        scores=[
            {
                "seed": seed,
                "task": "nkjp-ner",
                "language": "toy-pl",
                "epoch": 8,
                "metric": "accuracy",
                "value": value,
            }
            for seed, value in enumerate(SEEDS[scenario], 1)
        ],
    )


def written(leave, found, **how) -> str:
    folder = leave.folder / found["parameters"]["output_dir"] / "model"
    return card.write(folder, found, **how).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.*)\n\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def seen(text: str) -> str:
    """What a reader sees of Markdown."""
    page = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script" not in page
    return " ".join(unescape(re.sub("<[^>]*>", "", page)).split())


def test_without_results(project):
    text = written(project, student(project))
    front = ModelCard(text).data.to_dict()
    assert front == {
        "language": ["art"],
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "fill-mask",
        "tags": ["bert", "knowledge-distillation", "toy-language", "herbert", "S3"],
    }
    found = sections(text)
    assert list(found) == SECTIONS and all(body.strip() for body in found.values())
    assert "Not measured yet" in found["Results"] and "measured on no task yet" in found["Limits"]
    assert "40.0" in found["Results"] and "not measured yet" in found["Size and speed"]
    how = found["How it was made"]
    for said in (
        "scenario `S3` of the study `herbert` (Distillation of HerBERT), scale `tiny`",
        "its teacher's layers 0, 2",
        "5 × soft targets",
        "T = 2",
        "2 × cross-entropy",
        "1 × cosine",
        "7 of 64 sequences",
        "617",
        "15 % of the words",
        "1:30:00 of training (1.5 hours)",
        "2 cores of a processor",
        "python 3.11",
        "`T1` (2 layers",
    ):
        assert said in how, said
    assert (
        "120 lines of `web` in the toy language `toy-pl`, generated by this project"
        in found["Text"]
    )
    assert (
        "toy languages" in found["Limits"]
        and "one pretraining" in found["Limits"]
        and "at most 26 tokens" in found["Limits"]
    )
    assert (
        "Text: generated by this project" in found["Licences"]
        and "trained from nothing by this project" in found["Licences"]
    )
    assert "This model: not stated" in found["Licences"]
    assert (
        "Dominika Bankiewicz" in found["How to cite"] and "states no date" in found["How to cite"]
    )
    assert "make report SCALE=tiny STUDIES=herbert\n" in found["How to make it again"]
    parameters = yaml.safe_load(
        re.search(r"```yaml\n(.*?)```", found["How to make it again"], re.S)[1]
    )
    assert validate("distillation", parameters).weight_soft == 5


def test_with_results(project):
    """The whole way of the report: the card gets its results, and no result.json is touched."""
    student(project)
    tuned(project, "S3", "distillation")
    tuned(project, "T1", "teacher_continuation")
    dates = {
        path: path.stat().st_mtime_ns for path in project.folder.glob("outputs/**/result.json")
    }
    gathered = results.Results("tiny", ["herbert"])
    scores = gathered.scores()
    final, efficiency = (
        scores[scores["protocol"] == "final"],
        gathered.efficiency({("herbert", "S3"): Latency(0.0025, 0.0024, 0.0027)}),
    )
    said = card.write_all(gathered, final, efficiency, "outputs/lab/analysis-1")
    assert "left as they are" in said and not list(project.folder.glob("outputs/**/README.md"))
    assert "2 model cards written" in card.write_all(
        gathered, final, efficiency, "outputs/tiny/analysis"
    )
    assert {path: path.stat().st_mtime_ns for path in dates} == dates
    assert not list(project.folder.glob("outputs/**/*.writing"))

    text = (project.folder / "outputs/tiny/herbert/S3/distillation/model/README.md").read_text(
        encoding="utf-8"
    )
    found = sections(text)
    ours, theirs = (pd.Series(values, [1, 2, 3]) for values in (SEEDS["S3"], SEEDS["T1"]))
    i, t, d = interval(ours), interval(theirs), interval(ours - theirs)
    row = (
        f"91.2 [{i.low:.1f}, {i.high:.1f}] | 92.5 [{t.low:.1f}, {t.high:.1f}] | −1.3 "
        f"[−{-d.low:.1f}, +{d.high:.1f}] |"
    )
    assert (
        row in found["Results"]
        and "3 seeds" in found["Results"]
        and "last of 8 epochs" in found["Results"]
    )
    assert "not another pretraining" in found["Results"] and "its teacher, `T1`" in found["Results"]
    assert (
        "| 2.50 |" in found["Size and speed"] and "not measured yet" in found["Size and speed"]
    )  # its teacher's
    assert "500 examples" in found["Limits"]
    (result,) = ModelCard(text).data.eval_results
    assert (result.task_type, result.dataset_type, result.metric_type) == (
        "text-classification",
        "toy/nkjp-ner",
        "accuracy",
    )
    assert result.metric_value == 91.17
    assert result.metric_args == {"seeds": 3, "interval_95": [round(i.low, 2), round(i.high, 2)]}
    teacher = (
        project.folder / "outputs/tiny/herbert/T1/teacher_continuation/model/README.md"
    ).read_text(encoding="utf-8")
    assert "92.5 [" in teacher and "difference" not in sections(teacher)["Results"]


def test_a_model_that_is_made_anew_keeps_its_new_card(project):
    found = student(project)
    tuned(project, "S3", "distillation")
    gathered = results.Results("tiny", ["herbert"])
    fresh = written(project, found)
    stage.write_json(
        project.folder / found["parameters"]["output_dir"] / "result.json",
        found | {"stage_seconds": 2.0},
    )
    scores = gathered.scores()
    assert "1 model card written" in card.write_all(
        gathered, scores, gathered.efficiency({}), "outputs/tiny/analysis"
    )
    assert (project.folder / found["parameters"]["output_dir"] / "model/README.md").read_text(
        encoding="utf-8"
    ) == fresh


def test_hostile_text_is_shown_as_text(project):
    licences = {"text": HOSTILE, "teacher": f"1. {HOSTILE}", "model": HOSTILE}
    path = project.params / "herbert/local.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"licences": licences}))
    sources = [
        {"kind": "files", "path": f"/home/somebody/{HOSTILE.replace('/', '')}", "language": "pl"},
        {"kind": "hub", "dataset": HOSTILE, "config": HOSTILE},
    ]
    found = student(
        project, sources, scale="local", teacher=f"/home/somebody/{HOSTILE.replace('/', '')}"
    )
    found["machine"]["cpu"] = found["machine"]["gpu"] = HOSTILE
    scores = pd.DataFrame(
        [
            ["herbert", "S3", 2, 1, seed, "nkjp-ner", HOSTILE, HOSTILE, "final", 8, 50.0 + seed]
            for seed in (1, 2)
        ],
        columns=RESULTS,
    )
    finetuned = {"task_source": "files", "epochs": 8, "per_task": {}, "validation_examples": 0}
    text = written(project, found, scores=scores, finetuned=finetuned)
    assert "teacher took part" not in text
    taught = written(project, found, scores=scores, finetuned=finetuned | {"teacher": "a/b"})
    assert "epochs of fine-tuning, in which its fine-tuned teacher took part: mean" in taught
    data = ModelCard(text).data
    assert (data.license, data.license_name, data.language) == (
        "other",
        HOSTILE,
        ["pl"],
    ) and "datasets" not in data.to_dict()
    assert (
        data.eval_results[0].metric_type == HOSTILE and HOSTILE in data.eval_results[0].dataset_name
    )
    page = seen(text.split("\n---\n", 1)[1])
    assert page.count(HOSTILE) >= 9, page
    assert HOSTILE.replace("/", "") in page and "somebody" not in text
    assert list(sections(text)) == SECTIONS


def test_from_the_hub(project):
    """The paper's scale: the licences that its file states, the hub's ids in the front matter, what
    was not stated said plainly."""
    sources = [{"kind": "hub", "dataset": "statmt/cc100", "config": "pl", "language": "pl"}]
    found = student(project, sources, scale="paper", teacher="allegro/herbert-base-cased")
    text = written(project, found)
    front, parts = ModelCard(text).data.to_dict(), sections(text)
    assert front["base_model"] == ["allegro/herbert-base-cased"] and front["datasets"] == [
        "statmt/cc100"
    ]
    assert front["language"] == ["pl"] and "toy-language" not in front["tags"]
    assert "Text: not stated" in parts["Licences"] and "Its teacher: CC BY 4.0" in parts["Licences"]
    assert "never pairs" not in parts["Limits"] and "toy" not in parts["Limits"]
    assert (
        "from the hub" in parts["Text"]
        and "with what it needs from the hub" in parts["How to make it again"]
    )


def test_a_hub_s_licence_and_what_is_not_known(project):
    path = project.params / "herbert/local.yaml"
    path.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text()) | {"licences": {"model": "cc-by-4.0"}})
    )
    found = student(project, [{"kind": "files", "path": "/a/b"}], scale="local")
    (project.folder / "outputs/local/herbert/corpus_transfer/data_prep/result.json").unlink()
    text = written(project, found)
    front, parts = ModelCard(text).data.to_dict(), sections(text)
    assert (
        front["license"] == "cc-by-4.0" and "license_name" not in front and "language" not in front
    )
    assert (
        "where it comes from is not recorded" in parts["Text"]
        and "is not recorded" in parts["Limits"]
    )
    assert (
        "Text: not stated" in parts["Licences"]
        and "DATA_DIR=/path/to/folder" in parts["How to make it again"]
    )


def test_students_that_are_special(project):
    untrained = student(project, weight_soft=0, weight_mlm=0, weight_cosine=0, init="random")
    text = written(project, untrained | {"history": []})
    for said in (
        "random weights; 2 layers of its teacher's shape",
        "nothing: it is published as it starts",
        "not trained after it was",
        "It was itself trained on nothing.",
    ):
        assert said in text
    noise = corpus(
        project,
        "randomised",
        [],
        sample_of="outputs/tiny/herbert/corpus_transfer/data_prep",
        share=0.1,
        composition="randomised",
    )
    teacher = untrained["parameters"]["teacher"]
    text = written(
        project,
        project(
            "noisy",
            "distillation",
            {**S3, "teacher": teacher, "corpus": noise, "beside": {"a": S3_OWN}},
        ),
    )
    assert (
        "then a random sample of 10 % of transfer; then the tokens of every sequence shuffled"
        in text
    )
    assert (
        "no natural text (the tokens of every sequence shuffled)" in text
        and "one pass of the teacher" in text
    )
    hop = {"teacher": teacher, "corpus": noise, "layers": 1, "learning_rate": 1e-3, "section": 2}
    text = written(project, project("cascade-1", "cascade_ta", hop, study="cascade"))
    assert (
        "lowest 1 layers" in text
        and "layers matched by `adjacent`" in text
        and "section 2" in text
        and "Jugal Kalita" in text
    )
    t2 = {"teacher": teacher, "corpus": noise, "learning_rate": 1e-3}
    text = written(project, project("T2", "teacher_continuation", t2))
    assert "all of the model it continues" in text and "| the model it continues | `T1`" in text


S3_OWN = {"student_layers": [0, 2], "weight_soft": 5}


def test_a_stage_run_by_hand(project):
    found = student(project)
    found["parameters"]["output_dir"] = "outputs/lab/distillation-12345678"
    project.folder.joinpath("outputs/lab/distillation-12345678").mkdir(parents=True)
    source = project.folder / "outputs/tiny/herbert/S3/distillation/model"
    source.rename(project.folder / "outputs/lab/distillation-12345678/model")
    text = written(project, found)
    assert (
        "# distillation-12345678" in text
        and "a stage run by hand" in text
        and "of no scenario of a document" in text
    )
    assert "papermill notebooks/3_distillation.ipynb outputs/again.ipynb -f parameters.yaml" in text


def test_a_study_that_cannot_be_read_costs_no_model(project):
    (project.params / "herbert/scenarios.yaml").write_text("scenarios: [")
    text = written(project, student(project))
    assert "of no scenario of a document" in text and "Text: generated by this project" in text


@pytest.mark.parametrize(
    "value, message",
    [
        (
            {"txt": "CC0"},
            r"tiny.yaml: unknown key 'licences.txt'; allowed are text, teacher, model",
        ),
        ("CC0", "tiny.yaml: licences = 'CC0': must hold keys and values"),
        (
            {"text": ""},
            "licences.text = '': give its name or terms in words, 500 characters at most; leave "
            "the key out",
        ),
        ({"text": ["CC0"]}, r"licences.text = \['CC0'\]: give its name"),
        (
            {"teacher": "x" * 501},
            "licences.teacher = 'x+': give its name or terms in words, 500 characters at most",
        ),
    ],
)
def test_wrong_licences_are_refused_by_the_plan(own_params, value, message):
    path = own_params / "herbert/tiny.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"licences": value}))
    with pytest.raises(InputError, match=message) as error:
        plan.resolve("tiny", ["herbert"])
    assert "\n" not in str(error.value)


def test_licences_of_a_study_that_is_used(own_params):
    from lib.plan.study import Study

    path = own_params / "transfer_set/tiny.yaml"
    path.write_text(
        yaml.safe_dump(
            yaml.safe_load(path.read_text()) | {"licences": {"text": "a\n b", "teacher": "c"}}
        )
    )
    used = own_params / "ablation/tiny.yaml"
    used.write_text(used.read_text() + "licences: {teacher: d}\n")
    assert Study("ablation", "tiny").licences == {"text": "a b", "teacher": "d"}
    assert Study("herbert", "tiny").licences == {}


def test_a_licence_changes_no_stage(own_params):
    before = plan.resolve("tiny", ["herbert"])
    path = own_params / "herbert/tiny.yaml"
    path.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text()) | {"licences": {"text": "CC0"}})
    )
    assert plan.resolve("tiny", ["herbert"]) == before


@pytest.mark.parametrize(
    "text",
    [HOSTILE, "1. a", "- a", "+ a", "> a", "a\n\n# b", "`", "``", "&amp; &lt;", "www.a.b", "~~a~~"],
)
def test_markdown_shows_what_it_is_given(text):
    line = " ".join(text.split())
    for shown in (plain(text), code(text)):
        assert seen(shown) == line
        assert seen(f"| a | b |\n| --- | --- |\n| c | {shown} |") == f"a b c {line}"
        assert seen(f"- {shown}") == line
    assert seen(card.block("a ``` b\n````")) == "a ``` b ````"


def test_every_scale_of_the_project_is_described():
    assert set(plan_study.CAPTIONS) >= {"smoke", "tiny", "local", "paper"}
