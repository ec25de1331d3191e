"""The lab in the report: one example of each view, of the models that this run has made, in a form
that needs no kernel."""

from IPython.display import HTML, Markdown

from lib.lab import attention, fill, loss
from lib.lab.models import Pair, name_of, pairs
from lib.lab.sentences import example
from lib.plan.stages import StagePath
from lib.report.page import show
from lib.report.results import Results

OPENING = """### In the lab

`make lab` opens these views for any student of this run and any sentence, with controls that move them. Here each is shown once, on
a sentence that no model was trained on."""


def students(found: Results) -> list[Pair]:
    """The students of the studies that were gathered, those first that learned from soft
    targets."""
    studies = {study for study, _, _ in found.stages}
    there = [
        pair
        for pair in pairs(found.folder)
        if (path := StagePath.parse(pair.student)) and path.study in studies
    ]
    return sorted(there, key=lambda pair: -float(pair.parameters.get("weight_soft") or 0))


def examples(found: Results) -> list[Markdown | HTML]:
    """A section for the appendix: what is put into a blank, attention maps, a loss over the
    temperature; nothing where no student has been distilled."""
    parts = [*fill_mask(found), *attention_maps(found), *loss_over_temperature(found)]
    return [show.prose(OPENING), *parts] if parts else []


def fill_mask(found: Results, most: int = 4) -> list[HTML]:
    """A blank filled by a teacher and at most so many of its students, and their distance from it
    token by token."""
    there = students(found)
    if not there:
        return []
    given, root = example(there[0]), there[0].root
    taught = {
        name_of(pair.student).rpartition(" · ")[2]: pair.student
        for pair in there
        if pair.root == root
    }
    return fill.view(given.masked, root, dict(list(taught.items())[:most]), hidden=given.hidden)


def attention_maps(found: Results) -> list[HTML]:
    """The first head of a student's top layer beside its target, of one trained to match attention
    if there is one."""
    there = sorted(students(found), key=lambda pair: not pair.parameters.get("weight_attention"))
    for pair in there[:1]:
        mapping = pair.parameters.get("mapping", "uniform")
        top = max(attention.matched(mapping, pair.layers, pair.layers + 1))
        return attention.view(example(pair).whole, pair, top, 1, mapping)
    return []


def loss_over_temperature(found: Results) -> list[HTML]:
    """Soft targets and losses at one hidden word, at the temperature and weights that the student
    was trained with."""
    for pair in students(found)[:1]:
        given = example(pair)
        return loss.view(
            given.whole,
            pair,
            given.place,
            pair.parameters.get("temperature", 2.0),
            loss.own_weights(pair),
        )
    return []
