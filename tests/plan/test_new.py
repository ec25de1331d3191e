"""make new: what is found in a teacher, a text and tasks, and a study that can be planned."""

import json
import random

import pytest
import yaml

from lib.common import places
from lib.common.places import ROOT
from lib.data.toy.corpora import corpus_lines
from lib.plan import guess, new, plan
from lib.plan.stages import validate
from lib.plan.study import Study
from tests.helpers import small

LINES = list(corpus_lines("toy-en", "encyclopedia", 600, 0))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A small BERT with its tokenizer, two files of text, and four tasks in folders and files."""
    folder = tmp_path_factory.mktemp("given")
    small.save_bert(LINES, folder / "bert", layers=4)
    (folder / "text").mkdir()
    (folder / "text/a.txt").write_text("\n".join(LINES[:400]), encoding="utf-8")
    rows = [json.dumps({"id": n, "content": line}) for n, line in enumerate(LINES[400:])]
    (folder / "text/b.jsonl").write_text("\n".join(rows), encoding="utf-8")
    write_tasks(folder / "tasks")
    return folder


def write_tasks(folder) -> None:
    mood, names = folder / "mood", folder / "names"
    mood.mkdir(parents=True)
    names.mkdir()
    rng = random.Random(0)
    for split, size in ("train", 60), ("dev", 20):
        rows = [f'{n},"{rng.choice(LINES)}",{n % 3}' for n in range(size)]
        (mood / f"{split}.csv").write_text("\n".join(["nr,review,stars", *rows]))
    sentence = "\n".join(["Anna\tB-PER", "sleeps\tO"])
    (names / "train.conll").write_text("\n\n".join([sentence] * 40))
    pairs = [
        {"idx": n, "first": rng.choice(LINES), "second": rng.choice(LINES), "label": n % 2}
        for n in range(50)
    ]
    (folder / "2020.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    rows = [f"{rng.choice(LINES)}\t{rng.random():.2f}" for _ in range(50)]
    (folder / "how-long.tsv").write_text("\n".join(["sentence\tscore", *rows]))


def make_new(given, *more: str, **changed: str) -> int:
    values = {"study": "mine", "teacher": given / "bert", "text": given / "text"}
    values |= {"tasks": given / "tasks", "cores": "2"} | changed
    return new.main([f"--{name}={value}" for name, value in values.items()])


@pytest.fixture
def quick(monkeypatch):
    """A machine on which nothing needs timing."""
    speed = new.Speed(2e-5, 5e-5, 4e-5, 2e-5, threads=1, slots=2)
    monkeypatch.setattr(new, "measure", lambda *_: speed)


def test_a_study_is_written_and_can_be_planned(given, own_params, capsys):
    assert make_new(given) == 0
    said = capsys.readouterr().out
    assert "bert, 4 layers of 32, a vocabulary of 600, sequences of 64 tokens" in said
    assert "2 files, 600 lines, about" in said and "0 % of them unknown" in said
    assert "mood: classification with 3 classes (0, 1, 2)" in said and "60 training and 20" in said
    assert "names: token classification" in said and "10% of train.conll is cut off" in said
    assert said.rstrip().splitlines()[-1].startswith("make report STUDIES=mine SCALE=local  takes")
    study = Study("mine", "local")
    stages = {stage.path.name: stage.parameters for stage in study.resolve()}
    assert set(study.design.scenarios) == {*new.TRAINED, *new.UNTRAINED}
    for name in study.design.scenarios:
        p = validate("distillation", stages[f"mine/{name}/distillation"])
        assert p.trains == (name in new.TRAINED), name
    s3 = stages["mine/S3/distillation"]
    assert (s3["teacher"], s3["student_layers"]) == (str(given / "bert"), "alternate")
    assert (s3["weight_soft"], s3["weight_mlm"], s3["weight_cosine"]) == (5, 2, 1)
    tuned = stages["mine/S3/finetune (repeat 3)"]
    kinds = {name: task["kind"] for name, task in tuned["own_tasks"].items()}
    assert kinds == {
        "how-long": "regression",
        "mood": "classification",
        "names": "token_classification",
        "2020": "pair",
    }
    assert tuned["own_tasks"]["2020"]["text"] == ["first", "second"]
    assert tuned["own_tasks"]["mood"]["text"] == "review"
    assert stages["mine/corpus_transfer/data_prep"]["max_length"] <= 64
    assert study.design.models["teacher"].label == "bert"
    assert plan.main(["--check", "--scale", "local", "--studies", "mine"]) == 0


def test_sizes_follow_the_hours(given, own_params, quick, capsys):
    steps = []
    for hours in "0.1", "1":
        assert make_new(given, study=f"in-{hours}", hours=hours) == 0
        sizes = yaml.safe_load((own_params / f"in-{hours}/local.yaml").read_text())
        steps.append(sizes["distillation"]["steps"])
    passes = 3 * 600 / new.BATCH  # a text of 600 lines is read three times at the most
    assert steps[0] <= steps[1] == pytest.approx(passes, rel=0.15)


def lengths(tokens: int, sequences: int) -> new.Text:
    return new.Text("t", "text", 1, sequences, True, sequences, tokens, 0, 64, (), 1e-6)


def test_repeats_and_steps_of_a_large_text():
    task = guess.FoundTask("mood", {"kind": "classification"}, 5000, 500, 40, 64, "")
    slow = new.Speed(1e-3, 3e-3, 2e-3, 1e-3, threads=1, slots=2)
    fast = new.Speed(1e-6, 3e-6, 2e-6, 1e-6, threads=1, slots=2)
    text = lengths(50_000_000, 1_000_000)
    little, much = (new.plan_sizes(1, text, [task], speed) for speed in (slow, fast))
    assert (little.repeats, much.repeats) == (1, 3) and little.share < 1
    assert much.hours == pytest.approx(1, rel=0.2) or much.passes == pytest.approx(3, rel=0.05)
    assert new.plan_sizes(8, text, [task], slow).repeats == 3
    assert new.plan_sizes(0.01, text, [task], slow).hours > 0.1  # the smallest run


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"study": ""}, "STUDY: give a name for the study"),
        ({"study": "../x"}, "STUDY: give a name for the study"),
        ({"study": "herbert"}, "STUDY: params/herbert is there already"),
        ({"teacher": ""}, "TEACHER is missing, as in make new STUDY=mine"),
        ({"teacher": "/no/such"}, "TEACHER: there is no folder /no/such"),
        ({"teacher": ROOT / "params/herbert"}, "TEACHER: .* no config.json; there is one in .*T1"),
        ({"text": "/no/such"}, "TEXT: .*/no/such does not exist"),
        ({"tasks": "/no/such"}, "TASKS: .*there is no folder /no/such"),
        ({"hours": "long"}, "HOURS: 'long' must be a number, at least 0.01"),
    ],
)
def test_what_is_wrong_is_one_line(given, own_params, quick, capsys, changed, message):
    assert make_new(given, **changed) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and pytest.importorskip("re").match(f"error: {message}", lines[0]), lines
    assert not (places.ROOT / "params/mine").exists()


def test_unknown_text_and_unclear_columns_are_refused(given, own_params, quick, tmp_path, capsys):
    (tmp_path / "thai.txt").write_text("\n".join("ภาษาไทย" * n for n in range(1, 50)), "utf-8")
    assert make_new(given, text=tmp_path) == 2
    assert "% of the tokens of" in capsys.readouterr().err
    (tmp_path / "thai.txt").write_text(f"{LINES[0]}\n" * 200)  # a corpus has no line twice
    assert make_new(given, text=tmp_path) == 2
    assert "has 1 different line, and" in capsys.readouterr().err
    for content, message in (
        (
            "a,b\nx y z,one\n" + "\n".join(f"w {n},v{n}" for n in range(30)),
            "is the label; name it label",
        ),
        ("label,id\n0,1\n1,2\n", "none of the columns id holds text"),
        ("label,text\n", "has no records"),
        ("\n".join(f"{line},{n % 2}" for n, line in enumerate(LINES)), "begins with a record"),
    ):
        (tmp_path / "task.csv").write_text(content)
        assert make_new(given, tasks=tmp_path) == 2
        assert message in capsys.readouterr().err, content
    (tmp_path / "task.tsv").touch()
    assert make_new(given, tasks=tmp_path) == 2
    assert "task.csv and task.tsv are both the task task" in capsys.readouterr().err
    for path in tmp_path.glob("task.*"):
        path.unlink()
    (tmp_path / "thai.txt").rename(tmp_path / "thai.md")
    assert make_new(given, tasks=tmp_path) == 2
    assert "has no task: each is a subfolder with a file called train" in capsys.readouterr().err


def test_the_only_column_of_numbers_is_the_label(tmp_path):
    rows = [f"{n},{line},{len(line)}" for n, line in enumerate(LINES)]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["id,sentence,characters", *rows]).replace(" ,", " "), "utf-8")
    found = guess.guess_columns(path)
    assert found == {"kind": "regression", "text": "sentence", "label": "characters"}


def test_an_empty_line_makes_no_table_a_file_of_words(tmp_path):
    path, table = (
        tmp_path / "train.tsv",
        "\n".join(f"{line}\t{n % 2}" for n, line in enumerate(LINES)),
    )
    path.write_text(f"text\tlabel\n\n{table}\n", encoding="utf-8")
    assert guess.guess_columns(path)["kind"] == "classification"
    for between in "\t", " ":
        path.write_text(f"Anna{between}B-PER\n\nso{between}O\n")
        assert guess.guess_columns(path) == {"kind": "token_classification"}
    path.write_text("Anna NOUN\n\nso ADV\n")  # of no entities
    assert guess.guess_columns(path)["metrics"] == ["accuracy"]


def test_the_teacher_predicts_while_it_is_timed_as_a_teacher(given, monkeypatch):
    """With dropout only where it is fine-tuned itself, last."""
    _, model, tokenizer = new.look_at_teacher(str(given / "bert"))
    text, modes = new.look_at_text(str(given / "text"), tokenizer, 64), []

    def seconds_of(run, gpus):
        run()
        modes.append(model.training)
        return 1.0

    monkeypatch.setattr(new, "seconds_of", seconds_of)
    speed = new.measure(model, tokenizer, text, batch_size=4, cores=1, gpus=0)
    assert modes == [False, False, False, True] and speed.teacher == speed.taught > 0
