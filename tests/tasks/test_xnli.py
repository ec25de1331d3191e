"""XNLI: trained on English pairs, evaluated in every language; files, hub and toy languages; frozen
embeddings."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from lib.common.errors import InputError
from lib.common.places import ROOT
from lib.data.tokenizer import load_tokenizer, train_tokenizer
from lib.plan.stages import validate
from lib.tasks import examples, registry
from lib.tasks import finetune as ft
from lib.tasks.examples import TaskSource
from lib.training import models
from lib.training.batches import Batch
from tests.helpers import small

DATA = ROOT.parent / "shared" / "data"
LANGUAGES = ["en", "es", "ur"]
SIGNS = {
    "en": ("yes", "maybe", "no"),
    "es": ("si", "quizas", "no"),
    "ur": ("haan", "shayad", "nahin"),
}
OTHERS = "the cat sat on a mat dog ran over hill el gato perro billi kutta".split()
ORDER = [
    (2, 0, 1),
    (1, 2, 0),
    (0, 1, 2),
]  # of the labels in each language, so that sets cannot be taken for another


def pairs(language: str, count: int, order=(0, 1, 2)) -> list[dict]:
    """Pairs whose hypothesis ends in the language's word for the label."""
    rng = np.random.default_rng(len(language) + count)
    labels = [order[number % 3] for number in range(count)]
    return [
        {
            "premise": " ".join(rng.choice(OTHERS, 3)),
            "hypothesis": f"{rng.choice(OTHERS)} {SIGNS[language][label]}",
            "label": label,
        }
        for label in labels
    ]


def write(path, records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """12 training pairs, and test pairs in three languages."""
    write(tmp_path / "glue/mnli/train.jsonl", pairs("en", 12))
    for language, order in zip(LANGUAGES, ORDER):
        write(tmp_path / f"xnli/{language}/test.jsonl", pairs(language, 9, order))
        write(
            tmp_path / f"xnli/{language}/validation.jsonl",
            [{"premise": "never", "hypothesis": "read", "label": 7}],
        )
    return tmp_path


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def model(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    words = [*OTHERS, *(word for signs in SIGNS.values() for word in signs)]
    tokenizer = train_tokenizer([" ".join(words)] * 3, "wordpiece", 200)
    small.save_trunk(request.param, tokenizer, place, layers=1, hidden=16, max_length=32)
    return place


def parameters(**more):
    """Values of 004 where they matter: no warmup, a constant rate, no weight decay, its ε,
    embeddings frozen."""
    values = {
        "model": "m",
        "tasks": ["xnli"],
        "task_source": "files",
        "task_folder": "f",
        "languages": LANGUAGES,
        "seeds": [1, 2],
        "epochs": 2,
        "batch_size": 4,
        "max_length": 16,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup": 0,
        "weight_decay": 0,
        "adam_epsilon": 2e-7,
        "freeze_embeddings": True,
    }
    return validate("finetune", values | more)


# ------------------------------------------------------------------------------- a stage from files


def test_a_row_for_every_language_and_seed(folder, model, tmp_path):
    rows, _ = ft.finetune_tasks(parameters(model=str(model), task_folder=str(folder)), tmp_path)
    assert [(row["seed"], row["epoch"], row["language"]) for row in rows] == [
        (seed, epoch, language) for seed in (1, 2) for epoch in (1, 2) for language in LANGUAGES
    ]
    assert {(row["task"], row["metric"]) for row in rows} == {("xnli", "accuracy")}
    assert all(
        row["value"] * 9 / 100 == pytest.approx(round(row["value"] * 9 / 100)) for row in rows
    )


def test_one_fine_tuning_a_seed_and_every_text_encoded_once(folder, model, tmp_path, monkeypatch):
    tuned, coded = [], []
    one_run, encode = ft.one_run, ft.encode
    monkeypatch.setattr(ft, "one_run", lambda *args: (tuned.append(args[5]), one_run(*args))[1])
    monkeypatch.setattr(
        ft, "encode", lambda *args: (coded.append(len(args[0].texts)), encode(*args))[1]
    )
    ft.finetune_tasks(
        parameters(model=str(model), task_folder=str(folder), evaluate="last"), tmp_path
    )
    assert tuned == [1, 2] and coded == [12, 9, 9, 9]


def test_the_same_model_is_measured_on_each_language(folder, model, tmp_path, monkeypatch):
    """Accuracies by hand, from the predictions of the classifier that the stage itself trained."""
    kept = []
    finetune = ft.finetune
    monkeypatch.setattr(
        ft,
        "finetune",
        lambda objective, *args, **more: (
            kept.append(objective.classifier),
            finetune(objective, *args, **more),
        )[1],
    )
    p = parameters(
        model=str(model),
        task_folder=str(folder),
        seeds=[3],
        evaluate="last",
        epochs=15,
        learning_rate=1e-2,
        freeze_embeddings=False,
    )
    rows, _ = ft.finetune_tasks(p, tmp_path)
    (classifier,) = kept
    tokenizer = load_tokenizer(str(model))
    segments = models.tells_segments(classifier.trunk)
    for row in rows:
        right = 0
        for record in map(
            json.loads, (folder / f"xnli/{row['language']}/test.jsonl").open(encoding="utf-8")
        ):
            tokens = tokenizer(record["premise"], record["hypothesis"], return_tensors="pt")
            batch = Batch(
                tokens["input_ids"],
                tokens["attention_mask"].bool(),
                None,
                tokens["token_type_ids"] if segments else None,
            )
            with torch.inference_mode():
                right += int(classifier.eval()(batch).argmax()) == record["label"]
        assert row["value"] == pytest.approx(100 * right / 9), row["language"]
    assert rows[0]["value"] > 80  # English, the language of training


@pytest.mark.parametrize("limit, used", [({"xnli": 5}, 5), (7, 7), (0, 12)])
def test_how_many_pairs_are_learnt_from(folder, model, limit, used):
    p = parameters(
        model=str(model), task_folder=str(folder), train_examples=limit, validation_examples=6
    )
    assert ft.shared_training(p) == {"xnli": ["xnli"]}
    training, validation = ft.read_data(p, ["xnli"], load_tokenizer(str(model)), segments=True)
    assert len(training.rows) == used
    assert {place: len(encoded.rows) for place, encoded in validation["xnli"].items()} == {
        (language, ""): 6 for language in LANGUAGES
    }


def test_xnli_shares_the_training_of_mnli_if_it_is_the_same():
    together = parameters(tasks=["mnli", "xnli"])
    assert ft.shared_training(together) == {"mnli": ["mnli", "xnli"]}
    assert ft.shared_training(parameters(tasks=["mnli", "xnli"], train_examples={"mnli": 9})) == {
        "mnli": ["mnli", "xnli"]
    }
    apart = {"mnli": ["mnli"], "xnli": ["xnli"]}
    assert (
        ft.shared_training(parameters(tasks=["mnli", "xnli"], train_examples={"xnli": 9})) == apart
    )
    assert (
        ft.shared_training(parameters(tasks=["mnli", "xnli"], per_task={"xnli": {"epochs": 3}}))
        == apart
    )
    own = parameters(per_task={"xnli": {"epochs": 3}}, train_examples={"xnli": 9})
    assert ft.shared_training(own) == {"xnli": ["xnli"]}


# ------------------------------------------------------------------------------------ the optimizer


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_embeddings_do_not_move_and_everything_else_does(
    folder, model, tmp_path, frozen, monkeypatch
):
    """Of word and position vectors only those in use can move; AdamW's decay would move the others
    too."""
    record = {}
    finetune = ft.finetune

    def watched(objective, training, *args, **more):
        classifier = objective.classifier
        record["before"] = {
            name: value.detach().clone() for name, value in classifier.named_parameters()
        }
        record["recipe"], record["classifier"] = more["recipe"], classifier
        return finetune(objective, training, *args, **more)

    monkeypatch.setattr(ft, "finetune", watched)
    p = parameters(
        model=str(model),
        task_folder=str(folder),
        seeds=[1],
        weight_decay=0.1,
        freeze_embeddings=frozen,
        adam_beta1=0.8,
        adam_beta2=0.98,
    )
    ft.finetune_tasks(p, tmp_path)
    moved = {
        name: not torch.equal(record["before"][name], value.detach().cpu())
        for name, value in record["classifier"].named_parameters()
    }
    still = {name for name, did in moved.items() if not did}
    embeddings = {name for name in moved if name.startswith("trunk.embeddings.")}
    assert len(embeddings) >= 4 and still == (embeddings if frozen else set())
    recipe = record["recipe"]
    assert (recipe.epsilon, recipe.betas, recipe.schedule, recipe.warmup) == (
        2e-7,
        (0.8, 0.98),
        "constant",
        0,
    )


def test_frozen_embeddings_cost_no_gradient_and_no_place_in_the_optimizer(
    folder, model, tmp_path, monkeypatch
):
    held, optimizer = [], torch.optim.AdamW
    monkeypatch.setattr(
        torch.optim,
        "AdamW",
        lambda groups, **more: (
            held.extend(p for g in groups for p in g["params"]),
            optimizer(groups, **more),
        )[1],
    )
    classifier = ft.Classifier(models.load_trunk(model), 3, 0.0)
    monkeypatch.setattr(ft, "Classifier", lambda *args: classifier)
    p = parameters(model=str(model), task_folder=str(folder))
    encoded = ft.read_data(p, ["xnli"], load_tokenizer(str(model)), segments=False)
    ft.one_run(p, registry.TASKS["xnli"], classifier.trunk, *encoded, seed=1)
    frozen = list(classifier.trunk.embeddings.parameters())
    assert held and not {id(value) for value in frozen} & {id(value) for value in held}
    out = classifier.trunk.embeddings(torch.tensor([[5, 6]]))
    assert not out.requires_grad and all(value.grad is None for value in frozen)


# ------------------------------------------------------------------------------- before any compute


def test_files_of_every_language_are_read_before_any_compute(folder):
    source = TaskSource("files", folder=str(folder))
    examples.check("xnli", source, LANGUAGES)
    with pytest.raises(InputError, match=r"xnli/de: no test.jsonl and no test.tsv"):
        examples.check("xnli", source, ["en", "de"])
    with pytest.raises(
        InputError,
        match="languages: xnli does not come in 'pl'; available are ar, bg, de, el, en, es",
    ):
        examples.check("xnli", source, ["en", "pl"])
    with pytest.raises(
        InputError, match="languages: xnli is evaluated in several; name at least one of ar, bg"
    ):
        examples.check("xnli", source)
    write(folder / "xnli/ur/test.jsonl", [{"premise": "a", "hypothesis": "b", "label": 3}])
    with pytest.raises(
        InputError,
        match=r"xnli/ur/test.jsonl, record 1: label 3 is not one of entailment, neutral, con",
    ):
        examples.check("xnli", source, LANGUAGES)
    (
        folder / "xnli/en/test.jsonl"
    ).unlink()  # the validation split beside it is not measured on instead
    with pytest.raises(InputError, match=r"xnli/en: no test.jsonl"):
        examples.check("xnli", source, LANGUAGES)
    (folder / "glue/mnli/train.jsonl").unlink()
    with pytest.raises(InputError, match=r"glue/mnli: no train.jsonl"):
        examples.check("xnli", source, LANGUAGES)


def test_a_language_that_is_missing_ends_a_stage_in_one_line(folder, model, tmp_path):
    with pytest.raises(InputError, match="languages: xnli does not come in 'xx'") as caught:
        ft.finetune_tasks(
            parameters(model=str(model), task_folder=str(folder), languages=["en", "xx"]), tmp_path
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"languages": []}, "languages is empty; xnli is evaluated in several: name at least one"),
        (
            {"tasks": ["rte"]},
            r"languages \['en', 'es', 'ur'\] need a task that comes in several, xnli; tasks are rte",
        ),
        ({"languages": ["en", "es", "en"]}, r"languages \['en', 'es', 'en'\] repeat one"),
        ({"adam_epsilon": 0}, "adam_epsilon = 0: input should be greater than 0"),
        ({"adam_beta2": 1}, "adam_beta2 = 1: input should be less than 1"),
        ({"freeze_embeddings": "some"}, "freeze_embeddings = 'some'"),
        ({"train_examples": {"mnli": 5}}, "train_examples names 'mnli', which is not among tasks"),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(InputError, match=message):
        parameters(**wrong)


# ---------------------------------------------------------------------------- hub, toys, real files


def test_the_hub_is_asked_for_a_part_a_language_and_for_the_training_pairs_of_mnli(monkeypatch):
    import datasets

    requests = []

    def load_dataset(*names, **options):
        requests.append((*names, options["split"], options["revision"]))
        return datasets.Dataset.from_list([{"premise": "a", "hypothesis": "b", "label": 2}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    p = parameters(
        task_source="hub",
        task_folder="",
        languages=["es", "ur"],
        task_revisions={"xnli": "abc", "mnli": "def"},
    )
    tokenizer = train_tokenizer([" ".join(OTHERS)] * 3, "wordpiece", 100)
    _, validation = ft.read_data(p, ["xnli"], tokenizer, segments=True)
    assert requests == [
        ("nyu-mll/glue", "mnli", "train", "def"),
        ("facebook/xnli", "es", "test", "abc"),
        ("facebook/xnli", "ur", "test", "abc"),
    ]
    assert validation["xnli"]["es", ""].labels.tolist() == [2]


def test_toy_languages_of_training_and_of_evaluation(monkeypatch):
    """Trained on task_language's records, measured on each language's own."""
    from lib.data.toy import tasks

    requests = []

    def task_records(language, task, split, size, seed):
        requests.append((language, task, split, size))
        return [
            {"premise": language, "hypothesis": split, "label": number % 2}
            for number in range(size)
        ]

    monkeypatch.setitem(tasks.TOY_TASKS, "xnli", tasks.TOY_TASKS["mnli"])
    monkeypatch.setattr(tasks, "task_records", task_records)
    p = parameters(
        task_source="toy",
        task_folder="",
        task_language="toy-en",
        languages=["toy-en", "toy-pl"],
        train_examples={"xnli": 4},
        validation_examples=3,
    )
    source = TaskSource("toy", language="toy-en")
    examples.check("xnli", source, p.languages)
    _, validation = ft.read_data(
        p, ["xnli"], train_tokenizer([" ".join(OTHERS)] * 3, "wordpiece", 100), segments=False
    )
    assert requests == [
        ("toy-en", "xnli", "train", examples.TOY_RECORDS),  # to draw 4 from
        ("toy-en", "xnli", "test", 3),
        ("toy-pl", "xnli", "test", 3),
    ]
    assert list(validation["xnli"]) == [("toy-en", ""), ("toy-pl", "")]
    with pytest.raises(
        InputError, match="languages: xnli does not come in 'en'; available are toy-en, toy-pl"
    ):
        examples.check("xnli", source, ["en"])


@pytest.mark.parametrize(
    "borrows, groups",
    [("mnli", {"mnli": ["mnli", "xnli"]}), ("", {"mnli": ["mnli"], "xnli": ["xnli"]})],
)
def test_toy_tasks_share_a_fine_tuning_only_if_their_training_records_are_the_same(
    monkeypatch, borrows, groups
):
    """A toy task may make training records of its own where the real one borrows them."""
    from lib.data.toy import tasks

    monkeypatch.setitem(
        tasks.TOY_TASKS, "xnli", tasks.ToyTask(tasks.mnli, (0, 1, 2), trains_on=borrows)
    )
    p = parameters(
        task_source="toy",
        task_folder="",
        task_language="toy-en",
        languages=["toy-en"],
        tasks=["mnli", "xnli"],
    )
    assert ft.shared_training(p) == groups


@pytest.mark.skipif(not (DATA / "xnli").is_dir(), reason="real tasks are not here")
def test_the_real_test_sets_have_every_class_1670_times_and_ask_the_same_in_every_language():
    """Conneau et al. 2018, section 3: 5,010 test pairs a language, translated, so their labels are
    alike line by line."""
    loaded = {}
    for language in ("en", "es", "zh", "de", "ar", "ur"):
        loaded[language] = examples.load(
            "xnli", "test", TaskSource("files", folder=str(DATA), language=language)
        )
        assert Counter(loaded[language].labels) == {0: 1670, 1: 1670, 2: 1670}, language
        assert loaded[language].labels == loaded["en"].labels
    assert loaded["zh"].texts != loaded["en"].texts
    training = examples.load(
        "xnli", "train", TaskSource("files", folder=str(DATA), language="zh"), limit=50
    )
    assert training == examples.load(
        "mnli", "train", TaskSource("files", folder=str(DATA)), limit=50
    )
