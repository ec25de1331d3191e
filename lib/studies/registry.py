"""The studies there are: those of the papers, and those that are folders in params/ alone."""

from collections.abc import Iterable

from lib.plan.files import read_scenarios
from lib.plan.study import Study
from lib.report import claims, scores
from lib.report.declaration import Declaration, nothing_printed
from lib.studies import ablation, cascade, herbert, transfer_set

OF_THE_PAPERS = {
    "herbert": {
        "scores": lambda results, name: scores.scores(
            results, "herbert", name, herbert.HERBERT_TASKS
        ),
        "printed": herbert.printed_scores,
    },
    "transfer_set": {
        "main": "glue",
        "scores": transfer_set.suites,
        "printed": transfer_set.paper_suites,
    },
    "ablation": {"scores": ablation.all_scores, "printed": ablation.all_printed},
    "cascade": {
        "main": cascade.AVERAGE,
        "scores": cascade.accuracy,
        "printed": cascade.paper_accuracy,
        "measures": {
            "as_printed": cascade.as_printed,
            "more_assistants": cascade.more_assistants,
        },
    },
}


def declared(names: Iterable[str]) -> dict[str, Declaration]:
    """The declarations of these studies, those of the papers first and in their order."""
    names = list(names)
    papers = [name for name in OF_THE_PAPERS if name in names]
    return {name: _declaration(name) for name in dict.fromkeys([*papers, *names])}


def _declaration(name: str) -> Declaration:
    def mean_of_tasks(results, scenario):
        tasks = dict.fromkeys(results.loc[results["study"] == name, "task"])
        return scores.scores(results, name, scenario, list(tasks))

    file = read_scenarios(name)
    models = file.models | file.scenarios
    values = {
        "name": name,
        "short": file.name,
        "title": file.title,
        "source": file.source,
        "question": file.question,
        "words": file.words,
        "teacher": file.teacher,
        "control": file.control or "",
        "labels": {key: entry.label for key, entry in models.items()},
        "colours": {key: entry.colour for key, entry in models.items() if entry.colour},
        "columns": {},
        "questions": [],
        "main": scores.MEAN,
        "scores": mean_of_tasks,
        "printed": nothing_printed,
    }
    return Declaration(**(values | OF_THE_PAPERS.get(name, {})))


def claims_of(names: Iterable[str], scale: str) -> dict[str, list[claims.Claim]]:
    """Study -> the claims of its claims.yaml. Raises InputError for one that names a scenario which
    the study does not have at this scale."""
    return {
        name: claims.read(study, [*study.labels, *Study(name, scale, data_dir=None).teachers()])
        for name, study in declared(names).items()
    }
