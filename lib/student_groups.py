"""Which students of a study are trained side by side: in one stage, on one reading of the batches by their teacher.

Where a scale says `side_by_side: true`, the scenarios that are trained and differ in nothing but what StudentsOwn names are a
group. The stage of its first scenario, the leader, trains them all; the stages of the others load what was trained there.
"""

from lib.errors import InputError
from lib.parameters import validate
from lib.parameters_training import Distillation, StudentsOwn
from lib.study_files import stands

OF_THE_PLAN = ("beside", "trained_in")
VARIED = set(StudentsOwn.model_fields)


def group_of(name: str, students: dict[str, Distillation]) -> dict[str, Distillation]:
    """Those of the students, `name` among them, that are trained with it, the leader first; empty where it is not trained."""

    def alike(p: Distillation) -> dict:
        return p.model_dump(exclude=VARIED)

    wanted = students[name]
    return {other: p for other, p in students.items() if p.trains and wanted.trains and alike(p) == alike(wanted)}


def placed(study, name: str, side_by_side) -> tuple[dict, list[str]]:
    """The parameters that say where a scenario's student is trained, and the stages that its own one needs for it.

    Of the leader: `beside`, the others' own values by name. Of another one: `trained_in`, the leader's folder beside/<name>.
    Without a group: nothing. Raises InputError for a wrong value of a scenario, or of `side_by_side`.
    """
    own, shared, origins = study.given(name)
    for key in OF_THE_PLAN:
        if key in own or key in shared:
            raise InputError(f"{stands(origins, key)}: {key} cannot be given here: side_by_side, in {study.scale_file} under "
                             "distillation, says whether students are trained together")  # fmt: skip
    if not isinstance(side_by_side, bool):
        raise InputError(
            f"{study.scale_file}: distillation.side_by_side = {side_by_side!r}; allowed are true and false"
        )
    if not side_by_side:
        return {}, []
    group = group_of(name, {other: _checked(study, other) for other, scenario in study.scenarios["scenarios"].items()
                            if not {"same_as", "hop"} & set(scenario or {})})  # fmt: skip
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
    return validate("distillation", values | {"corpus": str(values["corpus"])}, lambda key: stands(origins, key))
