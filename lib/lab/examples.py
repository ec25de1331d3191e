"""The lab in the report: one example of each view, in a form that needs no kernel."""

import re
from pathlib import Path

from IPython.display import HTML, Markdown

from lib.lab import attention, fill, loss, similarity
from lib.lab.models import Pair, get_example, pairs, short_names
from lib.plan.stages import REPEAT, StagePath
from lib.report.page import show
from lib.report.results import Results

INTRODUCTION = """### In the lab

`make lab` opens these views for any student of this run and any sentence, with controls that change
them. Here each is shown once, on a sentence that no model was trained on."""


def examples(results: Results) -> list[Markdown | HTML]:
    """A section for the appendix: guesses for a blank, attention maps, a loss over the temperature,
    and the layers of one student a study; nothing if no student has been distilled."""
    students = distilled(results)
    if not students:
        return []
    parts = [fill_mask(students), attention_maps(students), loss_over_temperature(students[0])]
    parts += [similarity.view(pair) for pair in one_a_study(students, results)]
    return [show.prose(INTRODUCTION), *sum(parts, [])]


def distilled(results: Results) -> list[Pair]:
    """The students of these studies, of their first repeats; those with the largest weight on soft
    targets come first."""
    folders = [stage["parameters"]["output_dir"] for stage in results.stages.values()]
    places = filter(None, map(StagePath.parse, folders))  # some may be of a study that is used
    studies = {place.study for place in places}
    students = [
        pair
        for pair in pairs(results.folder)
        if study_of(pair, results) in studies and not re.search(f"/{REPEAT}/", pair.student.name)
    ]
    return sorted(students, key=lambda pair: -float(pair.parameters.get("weight_soft") or 0))


def study_of(pair: Pair, results: Results) -> str:
    """The study whose stage made a student."""
    return Path(pair.student.name).relative_to(results.folder).parts[0]


def one_a_study(students: list[Pair], results: Results) -> list[Pair]:
    """The first student of each study."""
    return list({study_of(pair, results): pair for pair in reversed(students)}.values())[::-1]


def fill_mask(students: list[Pair], most: int = 4) -> list[HTML]:
    """A blank filled by a teacher and the first few of its students."""
    first = students[0]
    siblings = [pair for pair in students if pair.root == first.root][:most]
    names = {name: pair.student for name, pair in short_names(siblings).items()}
    example = get_example(first)
    return fill.view(example.masked, first.root, names, hidden=example.hidden)


def attention_maps(students: list[Pair]) -> list[HTML]:
    """The first head of a student's top layer with its target; of a student that was trained to
    match attention, if there is one."""
    pair = max(students, key=lambda pair: bool(pair.parameters.get("weight_attention")))
    mapping = pair.parameters.get("mapping", "uniform")
    top = max(attention.target_layers(mapping, pair.layers, pair.layers + 1))
    return attention.view(get_example(pair).whole, pair, top, 1, mapping)


def loss_over_temperature(pair: Pair) -> list[HTML]:
    """Soft targets and losses at one hidden word, at the temperature and weights that the student
    was trained with."""
    example, temperature = get_example(pair), pair.parameters.get("temperature", 2.0)
    return loss.view(example.whole, pair, example.place, temperature, loss.own_weights(pair))
