"""The lab: the models and sentences it finds, its first page, controls over views, and its examples
in the report."""

import json
import shutil

import ipywidgets as widgets
import pytest
import torch
from IPython.display import HTML

from lib.common import places
from lib.common.errors import InputError
from lib.common.hub import ModelRef
from lib.lab import attention, browser, examples, fill, form, loss, models, page, similarity
from lib.lab.view import View, live, message, offer
from lib.report import results


def html(parts) -> str:
    return "".join(part.data for part in parts)


def test_every_student_is_found_with_its_teacher(outputs):
    pairs = {pair.name: pair for pair in models.pairs(outputs)}
    assert list(pairs) == ["smoke · herbert · S1 (1 layer)", "smoke · herbert · S3 (1 layer)"]
    assert {pair.teacher for pair in pairs.values()} == {
        ModelRef(str(outputs / "smoke/herbert/T1/teacher_continuation/model"))
    }
    assert all(pair.root == pair.teacher and pair.layers == 1 for pair in pairs.values())


def test_the_root_of_a_chain_is_its_first_teacher_and_who_has_no_teacher_or_head_is_left_out(
    tmp_path,
):
    def publish(name, kind, teacher, **results):
        folder = tmp_path / "smoke/cascade" / name / kind
        (folder / "model").mkdir(parents=True)
        (folder / "model/config.json").write_text("{}")
        stage = {"stage": kind, "parameters": {"teacher": str(teacher)}, "summary": {"layers": 2}}
        (folder / "result.json").write_text(json.dumps(stage | results))
        return folder / "model"

    first = publish("teacher", "teacher_continuation", "")
    second = publish("cascade-3", "cascade_ta", first)
    publish("cascade-2", "cascade_ta", second)
    publish("orphan", "cascade_ta", tmp_path / "gone/model")
    publish("headless", "cascade_ta", second, after={})
    pairs = {pair.student.name: pair for pair in models.pairs(tmp_path)}
    assert sorted(pairs) == [
        str(tmp_path / f"smoke/cascade/cascade-{n}/cascade_ta/model") for n in (2, 3)
    ]
    assert {pair.root.name for pair in pairs.values()} == {str(first)}


def test_a_blank_is_the_tokenizers_mask_however_it_is_written(pair):
    words = models.get_tokenizer(pair.student)
    ids = [
        models.encode(f"a {blank} b", words) for blank in ("[MASK]", "<mask>", "_", "___", "[mask]")
    ]
    assert all(row == ids[0] for row in ids) and ids[0].count(words.mask_token_id) == 1
    assert models.tokens(ids[0], words)[2] == "[MASK]"
    assert words.mask_token_id not in models.encode("snake_case", words)


def test_without_a_word_there_is_one_line(pair):
    with pytest.raises(InputError, match="^sentence: type some words"):
        models.encode("  ", models.get_tokenizer(pair.student))


def test_an_example_hides_one_word_of_a_held_out_sentence(pair):
    words, sentences = models.get_tokenizer(pair.student), set()
    for number in range(5):
        example = models.get_example(pair, number)
        whole, masked = (models.encode(text, words) for text in (example.whole, example.masked))
        assert [place for place, (a, b) in enumerate(zip(whole, masked)) if a != b] == [
            example.place
        ]
        assert masked[example.place] == words.mask_token_id
        assert models.tokens([whole[example.place]], words) == [example.hidden]
        sentences.add(example.whole)
    assert len(sentences) == 5 and models.get_example(pair, 3) == models.get_example(pair, 3)


def test_where_the_corpus_is_gone_an_example_is_made_of_the_vocabulary(pair):
    pair.parameters["corpus"] = "outputs/nowhere"
    example = models.get_example(pair)
    assert (
        example.masked.split()[3] == "[MASK]"
        and example.whole.split()[3] == example.hidden
        and example.place == 4
    )


def test_a_model_trained_again_is_read_again(outputs, tmp_path, pair):
    place = tmp_path / "model"
    model = ModelRef(str(place))
    shutil.copytree(pair.student.name, place)
    ids = models.encode("a b", models.get_tokenizer(model))
    first = models.run_model(model, ids).logits
    assert models.run_model(model, ids).logits is first
    other = next(other for other in models.pairs(outputs) if "S1" in other.name)
    shutil.rmtree(place)
    shutil.copytree(other.student.name, place)
    (place / "config.json").touch()
    assert not torch.equal(models.run_model(model, ids).logits, first)


# --------------------------------------------------------------------------------------- first page


def test_the_first_page_says_what_ran(outputs):
    frame = page.finished(outputs)
    assert list(frame.index) == [("smoke", "herbert")]
    row = frame.iloc[0]
    assert row["stages"].startswith("5 of ") and row["best teacher"] == "T1, 2 layers: 76.5"
    assert row["best student"] == "S3, 1 layers: 71.5" and row["keeps"] == "93 %"


def test_a_study_with_a_mistake_hides_no_other(outputs, own_params):
    (own_params / "mine").mkdir()
    (own_params / "mine/scenarios.yaml").write_text("scenarios: {a: {hop: 1}}")
    (own_params / "mine/smoke.yaml").write_text("teachers: {teacher: {hub: not/downloaded}}")
    assert list(page.finished(outputs).index) == [("smoke", "herbert")]


def test_where_nothing_has_run_every_widget_says_what_to_run(tmp_path, monkeypatch):
    shown = page.start(tmp_path)
    monkeypatch.setattr(places, "ROOT", tmp_path)
    shown += [module.widget(tmp_path) for module in (fill, attention, loss, browser)]
    shown.append(form.widget())
    assert "Nothing has run yet" in shown[0].data
    assert all("`make report" in part.data and "\n" not in part.data for part in shown)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"scale": "huge"}, r"^notebooks/lab.ipynb: scale = 'huge'; allowed are .*tiny.*$"),
        ({"guesses": 0}, r"^notebooks/lab.ipynb: guesses = 0; allowed are 1 … 15$"),
        ({"guesses": "many"}, r"^notebooks/lab.ipynb: guesses = 'many'; allowed are 1 … 15$"),
    ],
)
def test_a_wrong_parameter_of_the_notebook_is_one_line(outputs, parameters, message):
    with pytest.raises(InputError, match=message):
        page.start(outputs, **parameters)


def test_the_parameters_say_what_comes_first(outputs, tmp_path):
    shutil.copytree(outputs / "smoke", tmp_path / "smoke")
    shutil.copytree(outputs / "smoke", tmp_path / "other")
    for scale in ("smoke", "other"):
        assert f"/{scale}/" in models.pairs(tmp_path, scale)[0].student.name
    made = fill.widget(outputs, guesses=3)
    shown = [
        control
        for row in made.widget.children[:-1]
        for control in row.children
        if control.description == "Guesses"
    ]
    assert [control.value for control in shown] == [3]


# ------------------------------------------------------------------------------ controls over views


def test_a_view_is_drawn_again_at_every_change_and_says_what_is_wrong():
    number, drawn = widgets.IntText(value=1), []

    def draw(number):
        drawn.append(number)
        if number < 0:
            raise InputError("number: not below 0 <b>")
        return [HTML(f"<p>{100 / number:.0f}</p>")]

    made = live(draw, {"number": number}, [[number]])
    area = made.widget.children[-1]
    assert made.static == area.value == "<p>100</p>"
    number.value = 4
    assert area.value == "<p>25</p>" and made.static == "<p>100</p>"
    number.value = -1
    assert area.value == message("number: not below 0 <b>", "alert")
    number.value = 0
    assert area.value == message("ZeroDivisionError: division by zero", "alert")
    assert drawn == [1, 4, -1, 0]


def test_what_follows_a_control_moves_before_the_view_is_drawn_once():
    first, second, drawn = widgets.Dropdown(options=["a", "b"]), widgets.Dropdown(), []
    offer(second, [("one", 1)])

    def draw(first, second):
        drawn.append((first, second))
        return []

    live(
        draw,
        {"first": first, "second": second},
        [[first, second]],
        {"first": lambda: offer(second, [("two", 2), ("three", 3)], 3)},
    )
    first.value = "b"
    assert drawn == [("a", 1), ("b", 3)]


def test_one_output_offers_the_widget_and_its_static_view():
    bundle = View(widgets.IntSlider(), "<p>static</p>")._repr_mimebundle_()
    assert (
        bundle["text/html"] == "<p>static</p>"
        and "application/vnd.jupyter.widget-view+json" in bundle
    )
    assert ">&lt;b&gt;</p>" in message("<b>")


def test_controls_move_the_views_of_real_models(outputs):
    for module, name, value in (
        (fill, "Sentence", "a _"),
        (attention, "Mapping", "top"),
        (similarity, "Student", -1),
        (loss, "Temperature", 4.0),
    ):
        made = module.widget(outputs)
        (control,) = [
            control
            for row in made.widget.children[:-1]
            for control in row.children
            if control.description == name
        ]
        area = made.widget.children[-1]
        before = area.value
        control.value = control.options[value][1] if name == "Student" else value
        assert area.value != before and "alert" not in area.value, module.__name__


# --------------------------------------------------------------------------------------- the report


def test_the_examples_of_the_report(outputs):
    gathered = results.Results.__new__(results.Results)
    gathered.folder = outputs / "smoke"
    stage = {"parameters": {"output_dir": "outputs/smoke/herbert/S3/distillation"}}
    gathered.repeats = {("herbert", "S3", "distillation"): {1: stage}}
    shown = examples.examples(gathered)
    whole = html(shown[1:])
    assert shown[0].data.startswith("### In the lab") and whole.count("<svg") == 4
    assert "What each model would put into the blank" in whole and "The losses at T = 2" in whole
    gathered.repeats = {}
    assert examples.examples(gathered) == []
