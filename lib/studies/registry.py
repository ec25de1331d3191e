"""The studies there are: those with code of their own, and those that are folders in params/
alone."""

from collections.abc import Iterable

from lib.report.declaration import Declaration, from_files
from lib.studies import ablation, cascade, herbert, transfer_set

WITH_CODE = {study.NAME: study for study in (herbert, transfer_set, ablation, cascade)}
"""A study needs no entry here if its folder in params/ says all. One whose scores are read in
another way than as the mean of its tasks, or that shows tables of its own, is a module with a NAME
and a function `declared`."""
WITH_METHOD = (herbert.NAME, transfer_set.NAME, ablation.NAME, cascade.NAME)
"""The studies of the papers: notebook 6 has a heading, a method and a cell for each, tagged
`study:<name>`, and shows all others after them."""


def declared(names: Iterable[str]) -> dict[str, Declaration]:
    """The declarations of these studies, those with code first and in their order."""
    names = list(names)
    ordered = [name for name in WITH_CODE if name in names]
    ordered += [name for name in names if name not in WITH_CODE]
    return {
        name: WITH_CODE[name].declared() if name in WITH_CODE else from_files(name)
        for name in ordered
    }


def without_method(studies: Iterable[str]) -> list[str]:
    """Those that notebook 6 has no heading for."""
    return [name for name in studies if name not in WITH_METHOD]
