"""A chain of teacher assistants: one entry of a study's scenarios, expanded into its hops (004,
section 3).

An entry with `hop` is a chain: from its teacher down to half of the teacher's layers, `hop` layers
fewer at a time (1, 2, 3, or `half`: all in one hop). Every hop is a stage and a scenario of its
own, named `<chain>-<layers>`.

Which students of a study are trained side by side: in one stage, on one reading of the batches by
their teacher.

Where a scale says `side_by_side: true`, the scenarios that are trained and differ in nothing but
what StudentsOwn names are a group. The stage of its first scenario, the leader, trains them all;
the stages of the others load what was trained there.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lib.common.errors import InputError
from lib.plan.files import stands
from lib.plan.stages import validate
from lib.training.parameters import Distillation, StudentsOwn

OWN = ("hop", "hops", "teacher", "corpus")
"""Keys of a chain itself; all others are parameters of its hops."""
WEIGHTS = {"weight_hidden": 1, "weight_attention": 1, "weight_soft": 0}
"""The weights of a hop's losses, and what they are where nothing is said: as in
parameters_training.CascadeTA."""
OF_THE_PLAN = {
    "layers": "hop says how many",
    "steps": "total_steps is shared out evenly, so that chains compare",
    "epochs": "total_steps says how long",
    "section": "each hop reads its own",
    "teacher_revision": "a teacher's revision stands with the teacher",
    "output_dir": "the plan names the folders",
}
"""Parameters of a hop that only the plan gives, and why."""


class PlannedHop(NamedTuple):
    """One hop: the layers of the assistant, its optimizer steps, and which section of the corpus it
    reads (0: all)."""

    layers: int
    steps: int
    section: int


def depths(teacher_layers: int, hop: int | str) -> list[int]:
    """The layers of every assistant, from the first to the last, which has half of the teacher's;
    the last hop may be smaller.

    >>> depths(12, 1), depths(12, 3), depths(6, 2), depths(12, "half")
    ([11, 10, 9, 8, 7, 6], [9, 6], [4, 3], [6])
    """
    last = teacher_layers // 2
    size = teacher_layers - last if hop == "half" else int(hop)
    return [*range(teacher_layers - size, last, -size), last]


def depths_of(chain: dict, shared: dict, teacher_layers: int) -> list[int]:
    """The layers of every assistant of an entry. Raises ValueError for a `hop` that is not allowed,
    and for `hops` that name a hop there is not, are no mappings, or hold what the plan alone
    gives."""
    hop = chain["hop"]
    if hop != "half" and (isinstance(hop, bool | float) or hop not in (1, 2, 3)):
        raise ValueError(f"hop = {hop!r}; allowed are 1, 2, 3 and half")
    layers, own = depths(teacher_layers, hop), chain.get("hops") or {}
    if not isinstance(own, dict):
        raise ValueError(
            f"hops = {own!r}; allowed are a hop's number and its parameters, as in {{1: {{warmup: "
            f"1.0}}}}"
        )
    for number, given in own.items():
        if isinstance(number, bool | float) or number not in range(1, len(layers) + 1):
            raise ValueError(f"hops: there is no hop {number!r}; there are 1 … {len(layers)}")
        if not isinstance(given, dict | None):
            raise ValueError(f"hops.{number} = {given!r}; allowed are parameters of notebook 4")
        refuse(given or {}, f"hops.{number}.", (*OF_THE_PLAN, *OWN))
        if trained(values(chain, shared, number)) != trained({**shared, **chain}):
            raise ValueError(
                f"hops.{number}: a chain is trained as a whole or not at all; its weights are all "
                f"0, or none is"
            )
    refuse(chain, "", OF_THE_PLAN)
    return layers


def expand(layers: list[int], is_trained: bool, total_steps, sections: int) -> list[PlannedHop]:
    """The hops of a chain with these depths. All chains of a study have the same `total_steps`,
    shared out evenly among their hops, so that they compare; each hop of several reads a section of
    the corpus of its own, a single one reads everything.

    Raises ValueError for more hops than sections, and for steps that are no whole number or less
    than one a hop.
    """
    if not is_trained:
        return [PlannedHop(count, 0, 0) for count in layers]
    try:
        total = float(total_steps)
    except (TypeError, ValueError):
        total = 0.5
    if isinstance(total_steps, bool) or not total.is_integer() or total < len(layers):
        raise ValueError(
            f"cascade.total_steps = {total_steps!r}; allowed is a whole number, {len(layers)} or "
            f"more: one a hop"
        )
    if len(layers) > 1 and len(layers) > sections:
        raise ValueError(
            f"sections = {sections} of the corpus; a chain of {len(layers)} hops needs as many, "
            f"one for each"
        )
    cuts = [round(int(total) * index / len(layers)) for index in range(len(layers) + 1)]
    return [
        PlannedHop(count, cuts[index + 1] - cuts[index], index + 1 if len(layers) > 1 else 0)
        for index, count in enumerate(layers)
    ]


def trained(given: dict) -> bool:
    """Whether assistants are trained at all; with all weights 0 they are the teacher's lowest
    layers as they are."""

    def number(value) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return 1.0  # refused when the stage's parameters are checked

    return any(number(given.get(weight, default)) for weight, default in WEIGHTS.items())


def values(chain: dict, common: dict, number: int) -> dict:
    """The parameters of the hop with this number (from 1): what all share, the chain's own, the
    hop's own."""
    own = (chain.get("hops") or {}).get(number) or {}
    return {**common, **{key: value for key, value in chain.items() if key not in OWN}, **own}


def refuse(given: dict, where: str, keys: Iterable[str]) -> None:
    """Raise ValueError if one of `keys` is given; `where` stands before it."""
    for key in given:
        if key in keys:
            why = OF_THE_PLAN.get(key, "it belongs to the chain as a whole, in scenarios.yaml")
            raise ValueError(f"{where}{key} cannot be given here: {why}")


def check_teacher(layers, where: str) -> int:
    """The teacher's number of layers, which a chain must know before anything runs."""
    if isinstance(layers, bool) or not isinstance(layers, int) or layers < 2:
        raise InputError(
            f"{where}.layers = {layers!r}; a chain of teacher assistants needs a whole number, 2 "
            f"or more"
        )
    return layers


SET_BY_THE_PLAN = ("beside", "trained_in")
VARIED = set(StudentsOwn.model_fields)


def group_of(name: str, students: dict[str, Distillation]) -> dict[str, Distillation]:
    """Those of the students, `name` among them, that are trained with it, the leader first; empty
    where it is not trained."""

    def alike(p: Distillation) -> dict:
        return p.model_dump(exclude=VARIED)

    wanted = students[name]
    return {
        other: p
        for other, p in students.items()
        if p.trains and wanted.trains and alike(p) == alike(wanted)
    }


def placed(study, name: str, side_by_side) -> tuple[dict, list[str]]:
    """The parameters that say where a scenario's student is trained, and the stages that its own
    one needs for it.

    Of the leader: `beside`, the others' own values by name. Of another one: `trained_in`, the
    leader's folder beside/<name>. Without a group: nothing. Raises InputError for a wrong value of
    a scenario, or of `side_by_side`.
    """
    own, shared, origins = study.given(name)
    for key in SET_BY_THE_PLAN:
        if key in own or key in shared:
            raise InputError(
                f"{stands(origins, key)}: {key} cannot be given here: side_by_side, in "
                f"{study.scale_file} under "
                "distillation, says whether students are trained together"
            )
    if not isinstance(side_by_side, bool):
        raise InputError(
            f"{study.scale_file}: distillation.side_by_side = {side_by_side!r}; allowed are true "
            f"and false"
        )
    if not side_by_side:
        return {}, []
    group = group_of(
        name,
        {
            other: _checked(study, other)
            for other, scenario in study.scenarios.items()
            if not {"same_as", "hop"} & set(scenario)
        },
    )
    leader = next(iter(group), name)
    if leader != name:
        _, (folder,) = study.student(leader)
        return {"trained_in": f"{folder}/beside/{name}"}, [folder]
    others = {other: p.model_dump(include=VARIED) for other, p in group.items() if other != name}
    return ({"beside": others} if others else {}), []


def _checked(study, name: str) -> Distillation:
    """The parameters of a scenario's student, with teacher and corpus as its study names them."""
    own, shared, origins = study.given(name)
    values = {"corpus": "transfer", **shared, **own, "teacher": str(own.get("teacher", "T1"))}
    return validate(
        "distillation", values | {"corpus": str(values["corpus"])}, lambda key: stands(origins, key)
    )
