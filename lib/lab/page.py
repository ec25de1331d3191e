"""The lab's first page: what has run, when, and with which scores; or what to run first."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Markdown

from lib.common import places
from lib.common.errors import InputError
from lib.lab import background, fill
from lib.plan.stages import StagePath
from lib.plan.study import CAPTIONS, Study, scales, studies
from lib.report.page import show

NOTHING = (
    "**Nothing has run yet.** In a terminal, `make report` trains teachers and students on toy "
    "languages and writes the report: a quarter of an hour on two recent cores. `make report "
    "STUDIES=herbert` is the shortest of the four studies, some minutes. Then run this notebook "
    "again; until then every widget below says what it waits for."
)
NOTE = (
    "The best teacher among the deepest models and the best student among the shallowest: mean "
    "score after the last epoch over tasks, metrics, languages and seeds, in percent."
)


def start(
    outputs: Path | None = None, scale: str = "tiny", guesses: int = 5
) -> list[HTML | Markdown]:
    """The first cell's output. Raises InputError if a parameter of the notebook is wrong."""
    outputs = outputs or places.ROOT / "outputs"
    known = list(dict.fromkeys(name for study in studies() for name in scales(study)))
    if scale not in known:
        raise InputError(f"notebooks/lab.ipynb: scale = {scale!r}; allowed are {', '.join(known)}")
    if not isinstance(guesses, int) or not 1 <= guesses <= fill.MOST:
        raise InputError(f"notebooks/lab.ipynb: guesses = {guesses!r}; allowed are 1 … {fill.MOST}")
    table = finished(outputs)
    if table.empty:
        return [show.prose(NOTHING)]
    lines = [f"- {verdicts(outputs / scale)}" for scale in table.index.unique("scale")]
    return [
        show.prose("\n".join(lines)),
        show.table(table, "What has run.", note=NOTE),
        *own_runs(),
    ]


def finished(outputs: Path) -> pd.DataFrame:
    """A row for each scale and study with a finished stage of its own: how many stages are
    finished, those of a study that it uses included, when the last one ended, and the `headline` of
    its scores."""
    rows = {}
    for scale, study in sorted((scale, study) for study in studies() for scale in scales(study)):
        try:
            plan = Study(study, scale, data_dir=None)
            plan.resolve()
        except InputError:  # a mistake in its files, which make report shows
            continue
        times = {}
        for folder in plan.folders.values():
            path = outputs / Path(folder).relative_to("outputs") / "result.json"
            if path.is_file():
                times[folder] = path.stat().st_mtime
        if any(StagePath.parse(folder).study == study for folder in times):
            last = datetime.fromtimestamp(max(times.values()))
            rows[scale, study] = {
                "stages": f"{len(times)} of {len(set(plan.folders.values()))}",
                "last": last.strftime("%Y-%m-%d %H:%M"),
                **headline(outputs / scale / "results.csv", study),
            }
    index = pd.MultiIndex.from_tuples(rows, names=["scale", "study"])
    return pd.DataFrame(rows.values(), index=index)


def headline(path: Path, study: str) -> dict[str, str]:
    """The best teacher, the best student, and the share of the teacher's score that the student
    keeps; "–" if results.csv does not have both."""
    empty = dict.fromkeys(("best teacher", "best student", "keeps"), "–")
    if not path.is_file():
        return empty
    results = pd.read_csv(path, keep_default_na=False)
    results = results[(results["study"] == study) & (results["protocol"] == "final")]
    models = results.groupby("scenario").agg(layers=("layers", "first"), score=("value", "mean"))
    if models["layers"].nunique() < 2:
        return empty
    best = {
        "teacher": models[models["layers"] == models["layers"].max()].nlargest(1, "score"),
        "student": models[models["layers"] == models["layers"].min()].nlargest(1, "score"),
    }
    texts = {
        f"best {kind}": f"{model.index[0]}, {model['layers'].item()} layers: "
        f"{model['score'].item():.1f}"
        for kind, model in best.items()
    }
    share = best["student"]["score"].item() / best["teacher"]["score"].item()
    return {**texts, "keeps": f"{100 * share:.0f} %"}


def verdicts(folder: Path) -> str:
    """The verdicts in a scale's claims.csv and the path of its report, in a sentence."""
    sentence = f"**{folder.name}** ({CAPTIONS.get(folder.name, 'a scale of your own')})"
    if (folder / "claims.csv").is_file():
        counts = pd.read_csv(folder / "claims.csv")["verdict"].value_counts()
        sentence += (
            f"; of {counts.sum()} claims {counts.get('holds', 0)} hold, "
            f"{counts.get('contradicted', 0)} are contradicted, "
            f"{counts.get('unresolved', 0)} stay unresolved"
        )
    if (folder / "report.html").is_file():
        sentence += f"; the report is `{folder.name}/report.html` in the outputs folder"
    return sentence + "."


def own_runs() -> list[HTML]:
    """A table of the user's own scenarios."""
    runs = background.runs()
    if not runs:
        return []
    names = pd.Index([background.title(run) for run in runs], name="run")
    states = pd.DataFrame({"state": [background.read(run).line for run in runs]}, index=names)
    return [show.table(states, "Scenarios of your own.")]
