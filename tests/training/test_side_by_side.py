"""Students trained side by side: each is the student trained alone, bit for bit, and the teacher
reads every batch once."""

import copy
import functools
import os
import signal
import time
from types import SimpleNamespace

import nbformat
import pytest
import torch

from lib.common.errors import InputError, Stopped
from lib.common.places import ROOT
from lib.data.prepared import open_corpus
from lib.fast import linear
from lib.plan.stages import validate
from lib.runner import stage
from lib.training import checkpoints, loop, models, pretraining, probes, side_by_side
from lib.training.batches import Batch
from lib.training.objectives import Distillation, Wanted, hidden_states
from lib.training.side_by_side import SharedBatches, SharedReading, train_together
from tests.helpers import small
from tests.helpers.small import batches
from tests.training.test_loop import weights

RECIPE = loop.Recipe(1e-2, weight_decay=0.1, clip=0.5)
STUDENTS = {  # start, and what the objective is given
    "triple": ([0, 2], {"mlm": 2.0, "soft": 5.0, "cosine": 1.0}),
    "hot": ([0, 2], {"mlm": 2.0, "soft": 5.0, "cosine": 1.0, "temperature": 8.0}),
    "without_teacher": ([0, 2], {"mlm": 1.0}),
    "masked": ([1, 3], {"mlm": 0.0, "soft": 1.0, "positions": "masked"}),
    "random": ("random", {"mlm": 0.0, "cosine": 1.0}),
}


@pytest.fixture(scope="module")
def teacher():
    """A teacher with dropout, which its students take over."""
    return small.encoder(dropout=0.3)


def objective(teacher, name):
    start, losses = STUDENTS[name]
    student = (
        models.random_like(models.truncate(teacher, range(2)), 0)
        if start == "random"
        else models.truncate(teacher, start)
    )
    return Distillation(student, None if name == "without_teacher" else teacher, **losses)


def objectives(teacher):
    shared = copy.deepcopy(teacher)
    return [objective(shared, name) for name in STUDENTS]


def without_clock(history):
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "waited")}
        for row in history
    ]


@pytest.fixture(scope="module")
def alone(teacher):
    """alone(micro): weights and history of every student, each trained by itself on a teacher of
    its own."""
    found = {}

    def trained(micro=16, recipe=RECIPE):
        if (micro, recipe) not in found:
            found[micro, recipe] = []
            for name in STUDENTS:
                one = objective(copy.deepcopy(teacher), name)
                history = loop.train(one, batches(micro=micro), recipe, quiet=True)
                found[micro, recipe].append((weights(one.student), without_clock(history)))
        return found[micro, recipe]

    return trained


def assert_same(together, histories, expected):
    for one, history, (weight, told) in zip(together, histories, expected, strict=True):
        assert torch.equal(weights(one.student), weight) and without_clock(history) == told


# ----------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("micro", [16, 6])
def test_each_is_the_student_trained_alone_bit_for_bit(teacher, alone, micro):
    """Five losses and starts, dropout on, in one micro-batch a step and in three."""
    together = objectives(teacher)
    histories = train_together(together, batches(micro=micro), RECIPE, list(STUDENTS), [None] * 5)
    assert_same(together, histories, alone(micro))
    assert len({tuple(weights(one.student).tolist()) for one in together}) == 5


def test_in_bf16_too(teacher, alone):
    recipe = loop.Recipe(1e-2, precision="bf16")
    together = objectives(teacher)
    histories = train_together(together, batches(), recipe, list(STUDENTS), [None] * 5)
    assert_same(together, histories, alone(16, recipe))


def test_a_group_that_is_told_to_stop_keeps_a_checkpoint_of_each(teacher, alone, tmp_path):
    folders, data = [tmp_path / name for name in STUDENTS], batches()
    real = data.at

    def asked(step, *mine):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(step, *mine)

    data.at = asked
    with pytest.raises(Stopped, match="after step [234] of 6; start it again to go on from there"):
        train_together(objectives(teacher), data, RECIPE, list(STUDENTS), folders)
    assert {checkpoints.newest(folder)["step"] for folder in folders} <= {2, 3, 4}
    together = objectives(teacher)
    histories = train_together(together, batches(), RECIPE, list(STUDENTS), folders)
    assert_same(together, histories, alone())


class Killed(Exception):
    pass


def test_a_killed_group_resumes_bit_for_bit(teacher, alone, tmp_path, monkeypatch):
    """Killed in the middle of a step, so that some are a step further than others; of one, every
    checkpoint is lost."""
    recipe = loop.Recipe(1e-2, weight_decay=0.1, clip=0.5, checkpoint_seconds=1e-9)
    folders = [tmp_path / name for name in STUDENTS]
    real, saved = checkpoints.save, []

    def killing(folder, step, state):
        real(folder, step, state)
        saved.append(step)
        if len(saved) == 3 * 5 + 2:
            raise Killed

    monkeypatch.setattr(checkpoints, "save", killing)
    with pytest.raises(Killed):
        train_together(objectives(teacher), batches(micro=6), recipe, list(STUDENTS), folders)
    monkeypatch.setattr(checkpoints, "save", real)
    assert sorted(checkpoints.newest(folder)["step"] for folder in folders) == [3, 3, 3, 4, 4]
    for path in folders[1].glob("*"):
        path.unlink()
    together = objectives(teacher)
    histories = train_together(together, batches(micro=6), recipe, list(STUDENTS), folders)
    assert_same(together, histories, alone(6))
    finished = objectives(teacher)
    assert_same(
        finished,
        train_together(finished, batches(micro=6), recipe, list(STUDENTS), folders),
        alone(6),
    )


def test_batches_are_masked_and_read_by_the_teacher_once(teacher):
    shared, data, asked, read = copy.deepcopy(teacher), batches(micro=6), [], []
    together = [objective(shared, name) for name in STUDENTS]
    shared.bert.encoder.register_forward_hook(lambda *_: read.append(1))
    masking, data.at = data.at, lambda step, *mine: asked.append(step) or masking(step)
    train_together(together, data, RECIPE, list(STUDENTS), [None] * 5)
    assert sorted(asked) == [0, 1, 2, 3, 4, 5] and len(read) == 6 * 3


def test_another_one_goes_first_at_each_step(teacher):
    together, order = objectives(teacher)[:3], []
    for number, one in enumerate(together):
        one.register_forward_pre_hook(lambda *_, number=number: order.append(number))
    train_together(together, batches(steps=3), RECIPE, "abc", [None] * 3)
    assert order == [0, 1, 2, 1, 2, 0, 2, 0, 1]


def test_seconds_are_a_training_s_own(teacher, monkeypatch):
    """A clock that leaps by 100 s whenever another training has the turn."""
    leaps = []
    monkeypatch.setattr(
        loop, "time", SimpleNamespace(perf_counter=lambda: time.perf_counter() + 100 * len(leaps))
    )
    steps = []
    for done, history in loop.training_steps(
        objective(teacher, "triple"), batches(), RECIPE, quiet=True
    ):
        steps.append(done)
        leaps.append(1)
    assert steps == [0, 1, 2, 3, 4, 5, 6] and 0 < history[-1]["seconds"] < 50
    assert [row["step"] for row in history] == steps[1:]


def test_the_first_training_of_a_process_is_as_any_other(teacher, alone, monkeypatch):
    """What the machine's speed is measured with is random, and must not be drawn from dropout's
    numbers."""
    known = linear.onednn_pays()

    @functools.cache
    def measuring():
        torch.randn(3)
        return known

    for module in (linear, loop):
        monkeypatch.setattr(module, "onednn_pays", measuring)
    first = objective(copy.deepcopy(teacher), "triple")
    assert_same([first], [loop.train(first, batches(), RECIPE, quiet=True)], alone()[:1])


def test_an_exploding_loss_is_named(teacher):
    together = objectives(teacher)[:2]
    with torch.no_grad():
        together[1].student.cls.predictions.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="hot: the loss is nan at step 1"):
        train_together(together, batches(), RECIPE, ["triple", "hot"], [None, None])


def test_one_format_for_all(teacher, tmp_path, monkeypatch):
    """`auto` is measured once, and a group that is resumed goes on as it began."""
    recipe, folders = loop.Recipe(1e-2, precision="auto"), [tmp_path / "a", tmp_path / "b"]
    for measured in ("bf16", "no"):
        monkeypatch.setattr(side_by_side, "fastest", lambda *_, measured=measured: measured)
        monkeypatch.setattr(loop, "fastest", lambda *_: pytest.fail("measured again"))
        train_together(objectives(teacher)[:2], batches(), recipe, "ab", folders)
        assert [checkpoints.newest(folder)["precision"] for folder in folders] == ["bf16", "bf16"]


# ------------------------------------------------------------------------------- what is remembered


def test_a_reading_is_of_its_batch_model_what_is_wanted_and_format(teacher):
    first, second = batches(micro=8).at(0)
    model, other = teacher.eval(), models.truncate(teacher, [0, 1]).eval()
    reading, last = SharedReading(2), Wanted(last=True)
    with torch.no_grad():
        for batch in (first, second, first, second):
            expected = hidden_states(model, batch)
            assert torch.equal(reading(model, batch, last).last, expected)
        assert reading(model, first, last) is reading(
            model, Batch(first.inputs, first.kept, first.labels), last
        )
        equal = Batch(first.inputs.clone(), first.kept, first.labels)
        assert reading(model, equal, last) is not reading(model, first, last)
        assert torch.equal(reading(other, first, last).last, hidden_states(other, first))
        relations = reading(model, first, Wanted(relations=2))
        assert relations.last is None and len(relations.vectors) == 3
        before = reading(model, first, last)
        with torch.autocast("cpu", torch.bfloat16):
            assert reading(model, first, last) is not before
        assert len(reading._held) == 2


def test_shared_batches_are_the_same_tensors_and_few_are_kept():
    data = SharedBatches(batches(micro=6), torch.device("cpu"))
    once, again = data.at(3), data.at(3)
    assert all(a.inputs is b.inputs for a, b in zip(once, again, strict=True))
    assert all(
        torch.equal(a.labels, b.labels) for a, b in zip(once, batches(micro=6).at(3), strict=True)
    )
    for step in (4, 5):
        data.at(step)
    assert list(data._held) == [4, 5] and data.steps == 6


# --------------------------------------------------------------------------- parameters, notebook 3


OWN = {
    "triple": {
        "student_layers": [0, 2],
        "weight_soft": 5.0,
        "weight_mlm": 2.0,
        "weight_cosine": 1.0,
    },
    "hot": {
        "student_layers": [0, 2],
        "weight_soft": 5.0,
        "weight_mlm": 0.5,
        "temperature": 8.0,
        "positions": "masked",
    },
    "mlm_alone": {"student_layers": [0], "weight_mlm": 1.0, "init": "random"},
}
TOGETHER = {name: OWN[name] for name in ("hot", "mlm_alone")}


def given(prepared, name="triple", **more):
    return {
        "learning_rate": 1e-2,
        "steps": 4,
        "batch_size": 8,
        "micro_batch_size": 4,
        **prepared,
        **OWN[name],
        **more,
    }


def parameters(prepared, name="triple", **more):
    return validate("distillation", given(prepared, name, **more))


def trained(p, folder):
    corpus = open_corpus(p.corpus)
    teacher = pretraining.load_teacher(p, corpus)
    student = pretraining.starting_student(p, teacher)
    objective = pretraining.objective(p, student, teacher)
    return student, *side_by_side.train_student(p, objective, corpus, folder)


def test_what_a_leader_publishes_its_followers_load(prepared, tmp_path, monkeypatch):
    leader = parameters(prepared, beside=TOGETHER)
    student, history, others = trained(leader, tmp_path / "checkpoints")
    side_by_side.save(leader, others, open_corpus(leader.corpus).tokenizer(), tmp_path / "beside")
    expected, told, none = trained(parameters(prepared), tmp_path / "alone")
    assert torch.equal(weights(student), weights(expected)) and without_clock(
        history
    ) == without_clock(told)
    assert list(others) == ["hot", "mlm_alone"] and none == {}
    held_out = open_corpus(leader.corpus, "held_out")
    for name in others:
        p = parameters(prepared, name, trained_in=str(tmp_path / "beside" / name))
        expected, told, _ = trained(parameters(prepared, name), tmp_path / name)
        monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trains"))
        found, read, none = trained(p, tmp_path / "no")
        monkeypatch.undo()
        assert torch.equal(weights(found), weights(expected)) and without_clock(
            read
        ) == without_clock(told)
        assert (
            probes.probe(found, p, held_out) == probes.probe(expected, p, held_out) and none == {}
        )
        assert torch.equal(weights(models.load(tmp_path / "beside" / name)), weights(expected))


def test_a_student_of_other_parameters_is_refused(prepared, tmp_path):
    leader = parameters(prepared, beside=TOGETHER, steps=1)
    _, _, others = trained(leader, tmp_path / "checkpoints")
    side_by_side.save(leader, others, open_corpus(leader.corpus).tokenizer(), tmp_path)
    wrong = [
        (
            {"temperature": 4.0},
            "hot': the student there was trained with temperature = 8.0, this stage has 4.0$",
        ),
        (
            {"trained_in": "outputs/none/beside/hot"},
            "^trained_in = 'outputs/none/beside/hot': no student there; run",
        ),
    ]
    for change, message in wrong:
        with pytest.raises(InputError, match=message) as error:
            trained(
                parameters(prepared, "hot", **{"trained_in": str(tmp_path / "hot")} | change),
                tmp_path / "no",
            )
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (
            {"beside": {"hot": OWN["hot"]}, "trained_in": "x"},
            "trained_in and beside exclude each other",
        ),
        (
            {"beside": {"hot": {"student_layers": [0]}}},
            "beside.hot needs a weight above 0: it is not trained",
        ),
        (
            {"beside": {"hot": OWN["hot"] | {"temperature": 0}}},
            "beside.hot.temperature = 0: input should be greater than 0",
        ),
        (
            {"beside": {"hot": OWN["hot"] | {"seed": 1}}},
            "unknown key 'beside.hot.seed'; allowed are init",
        ),
        ({"beside": {"hot": {"weight_soft": 1}}}, "beside.hot.student_layers is missing"),
        (
            {"beside": {"../hot": OWN["hot"]}},
            "beside: string should match pattern",
        ),
        ({"beside": 3}, "beside = 3: input should be a valid dictionary"),
        (
            {"trained_in": "x", "weight_soft": 0, "weight_mlm": 0, "weight_cosine": 0},
            "trained_in and beside need a weight above 0",
        ),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(InputError, match=message) as error:
        parameters({"corpus": "c", "teacher": "t"}, **wrong)
    assert "\n" not in str(error.value)


def test_work_half_done_on_another_training_is_not_gone_on_with(tmp_path):
    p = parameters({"corpus": "c", "teacher": "t"}, "hot", trained_in=str(tmp_path / "beside/hot"))
    (tmp_path / "beside/hot").mkdir(parents=True)
    found = []
    for text in ("first", "second"):
        (tmp_path / "beside/hot/training.json").write_text(text)
        found.append(stage.results(p))
    assert found[0] != found[1] and len(found[0]) == 1


def test_the_notebook_of_a_leader_and_of_a_follower(prepared, tmp_path):
    """Their code cells in turn; what each publishes."""

    def run(**values):
        cells = [
            cell
            for cell in nbformat.read(ROOT / "notebooks/3_distillation.ipynb", as_version=4).cells
            if cell.cell_type == "code"
        ]
        namespace = {}
        exec(cells[0].source, namespace)
        namespace |= values
        for cell in cells[1:]:
            exec(cell.source, namespace)
        return namespace

    small = {"threads": 0, "steps": 2, "warmup": 0.0}
    leader = parameters(prepared, beside=TOGETHER, output_dir=str(tmp_path / "triple"), **small)
    run(**leader.model_dump())
    assert {path.name for path in (tmp_path / "triple").iterdir()} == {
        "model",
        "beside",
        "tracking",
        "held_out.parquet",
        "result.json",
    }
    follower = parameters(
        prepared,
        "hot",
        trained_in=str(tmp_path / "triple/beside/hot"),
        output_dir=str(tmp_path / "hot"),
        **small,
    )
    found = run(**follower.model_dump())
    files = {path.name for path in (tmp_path / "hot").iterdir()}
    assert files == {"model", "held_out.parquet", "result.json"}
    hot = models.load(tmp_path / "hot/model")
    assert torch.equal(weights(hot), weights(models.load(tmp_path / "triple/beside/hot")))
    assert [row["step"] for row in found["history"]] == [1, 2] and found["after"] != found["before"]
