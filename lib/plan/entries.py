"""Chains of teacher assistants, and students that are trained side by side."""

from collections.abc import Iterable
from typing import Any

from lib.common.errors import InputError
from lib.plan.schema import Entry
from lib.training.parameters import (
    CascadeTA,
    DistillationParameters,
    StudentParameters,
    loss_weights,
)

SET_BY_PLAN = {
    "layers": "hop sets the number of layers",
    "steps": "total_steps is split evenly among hops, so that chains compare",
    "epochs": "total_steps sets the length",
    "longer": "total_steps sets the length",
    "section": "each hop reads a section of its own",
    "teacher_revision": "a teacher's revision is set under teachers",
    "first_teacher": "it is the chain's teacher",
    "first_teacher_revision": "a teacher's revision is set under teachers",
    "output_dir": "the plan names the folders",
}
"""Parameters of a hop that only the plan sets, and why."""
OF_CHAIN = ("hop", "hops", "teacher", "corpus")
NOT_SHARED = (*SET_BY_PLAN, *OF_CHAIN)
"""What the section `cascade` of a scale file and single hops may not say."""


def chain_layers(teacher_layers: int, hop: int | str) -> list[int]:
    """The layers of every assistant of a chain, down to half of the teacher's (004, section 3). The
    last hop may be smaller.

    >>> chain_layers(12, 1), chain_layers(12, 3), chain_layers(6, 2), chain_layers(12, "half")
    ([11, 10, 9, 8, 7, 6], [9, 6], [4, 3], [6])
    """
    last = teacher_layers // 2
    size = teacher_layers - last if hop == "half" else int(hop)
    return [*range(teacher_layers - size, last, -size), last]


def plan_hops(
    chain: Entry,
    shared: dict[str, Any],
    layers: list[int],
    sections: int,
    scenario: str,
    scale_file: str,
) -> list[dict[str, Any]]:
    """The parameters of every hop of a chain, but for its teacher and its corpus, which has
    `sections`. `shared` is the section `cascade` of the scale file; `scenario` names the chain in
    messages. Raises InputError."""
    shared = dict(shared)
    total_steps = shared.pop("total_steps", None)
    refuse(shared, f"{scale_file}: cascade.", NOT_SHARED)
    hops = hop_parameters(chain, shared, len(layers), scenario)
    reading = [(0, 0)] * len(layers)
    if is_trained(hops[0]):
        reading = share_out(total_steps, len(layers), sections, scale_file)
    return [
        values | {"layers": count, "steps": steps, "section": section}
        for values, count, (steps, section) in zip(hops, layers, reading)
    ]


def hop_parameters(
    chain: Entry, shared: dict[str, Any], hops: int, where: str
) -> list[dict[str, Any]]:
    """The parameters of every hop: those of all chains (`shared`), of the chain, and of the hop.
    Raises InputError, beginning with `where`, for what a chain may not say."""
    refuse(chain.parameters, f"{where}: ", SET_BY_PLAN)
    if unknown := [number for number in chain.hops if number > hops]:
        raise InputError(f"{where}: hops: there is no hop {unknown[0]}; there are 1 … {hops}")
    of_chain = {**shared, **chain.stage_parameters}
    for number, own in chain.hops.items():
        refuse(own, f"{where}: hops.{number}.", NOT_SHARED)
        if is_trained({**of_chain, **own}) != is_trained(of_chain):
            raise InputError(
                f"{where}: hops.{number}: a chain is trained as a whole or not at all: give every "
                f"hop a weight above 0, or none"
            )
    values = [{**of_chain, **chain.hops.get(number, {})} for number in range(1, hops + 1)]
    if any(own.get("vocabulary") for own in values[:-1]) and is_trained(of_chain):
        raise InputError(
            f"{where}: vocabulary: an assistant that teaches the next one needs its teacher's; "
            f"allowed is that of the last hop: hops: {{{hops}: {{vocabulary: corpus}}}}"
        )
    return values


def share_out(
    total_steps: int | None, hops: int, sections: int, where: str
) -> list[tuple[int, int]]:
    """The steps of every hop of a chain that is trained, and the section of the corpus it reads.

    All chains of a study have the same `total_steps`, shared out evenly among their hops, so that
    they compare. Each hop of several reads a section of its own; a single one reads everything (0).
    Raises InputError, beginning with `where`, for fewer steps or sections than hops.
    """
    if total_steps is None or total_steps < hops:
        raise InputError(
            f"{where}: cascade.total_steps = {total_steps!r}; allowed is a whole number, at "
            f"least {hops}, one step per hop"
        )
    if hops == 1:
        return [(total_steps, 0)]
    if sections < hops:
        raise InputError(
            f"{where}: sections = {sections} of the corpus; a chain of {hops} hops needs as many, "
            f"one for each"
        )
    ends = [round(total_steps * number / hops) for number in range(hops + 1)]
    return [(ends[number] - ends[number - 1], number) for number in range(1, hops + 1)]


def is_trained(parameters: dict[str, Any]) -> bool:
    """Whether assistants are trained. With all weights 0 they are the teacher's lowest layers."""
    defaults = {name: field.default for name, field in CascadeTA.model_fields.items()}
    weights = loss_weights(defaults) | loss_weights(parameters)
    return any(weight not in (0, "0") for weight in weights.values())


def refuse(parameters: dict[str, Any], where: str, keys: Iterable[str]) -> None:
    """Raise InputError, beginning with `where`, if one of `keys` is among the parameters."""
    for key in parameters:
        if key in keys:
            why = SET_BY_PLAN.get(key, "it belongs to the chain as a whole, in scenarios.yaml")
            raise InputError(f"{where}{key} cannot be given here: {why}")


# ------------------------------------------------------------------------------------ side by side

VARIED = set(StudentParameters.model_fields)
"""The parameters that students may differ in that are trained side by side."""


def trained_with(name: str, students: dict[str, DistillationParameters]) -> list[str]:
    """The students that can be trained in one stage with `name`, which is one of them, in the order
    of `students`; empty if it is not trained."""
    own = students[name]
    if not own.trains:
        return []
    shared = own.model_dump(exclude=VARIED)
    return [
        other
        for other, p in students.items()
        if p.trains and p.model_dump(exclude=VARIED) == shared
    ]
