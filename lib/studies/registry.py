"""The studies of the papers, as their report needs them, and their claims."""

from lib.plan.files import read_scenarios
from lib.report import claims, scores
from lib.report.declaration import Declaration
from lib.studies import ablation, cascade, herbert, transfer_set

OF_THE_PAPERS = {
    "herbert": {
        "main": scores.MEAN,
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
    "ablation": {
        "main": scores.MEAN,
        "scores": ablation.all_scores,
        "printed": ablation.all_printed,
    },
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


def declared(name: str) -> Declaration:
    """The declaration of one of the papers' studies."""
    file = read_scenarios(name)
    models = file.models | file.scenarios
    return Declaration(
        name=name,
        short=file.name,
        title=file.title,
        source=file.source,
        question=file.question,
        teacher=file.teacher,
        control=file.control or "",
        labels={key: entry.label for key, entry in models.items()},
        colours={key: entry.colour for key, entry in models.items() if entry.colour},
        columns={},
        questions=[],
        **OF_THE_PAPERS[name],
    )


BY_STUDY = {
    name: claims.read(study, study.labels)
    for name, study in ((name, declared(name)) for name in OF_THE_PAPERS)
}
"""Study -> its claims."""
CLAIMS = [claim for own in BY_STUDY.values() for claim in own]
