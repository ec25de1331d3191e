"""The studies there are: those of the papers, and those that are folders in params/ alone."""

from collections.abc import Iterable

from lib.report.declaration import Declaration, from_files
from lib.studies import ablation, cascade, herbert, transfer_set

OF_THE_PAPERS = {study.NAME: study for study in (herbert, transfer_set, ablation, cascade)}
"""A study of one's own needs no entry here: its folder in params/ says all. One whose scores are
read in another way than as the mean of its tasks, or that shows tables of its own, is a module with
a NAME and a function `declared`, an entry here, and a heading and a cell in notebook 6, both tagged
`study:<name>`: by itself the notebook shows only studies without an entry."""


def declared(names: Iterable[str]) -> dict[str, Declaration]:
    """The declarations of these studies, those of the papers first and in their order."""
    names = list(names)
    own = [name for name in names if name not in OF_THE_PAPERS]
    papers = [name for name in OF_THE_PAPERS if name in names]
    return {name: OF_THE_PAPERS[name].declared() for name in papers} | {
        name: from_files(name) for name in own
    }


def own_studies(studies: Iterable[str]) -> list[str]:
    """Those that are no paper's."""
    return [name for name in studies if name not in OF_THE_PAPERS]
