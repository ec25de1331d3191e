"""The lab's first page: what has run, when, and what came out; and where nothing has run, what to
run."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Markdown

from lib.common import places
from lib.common.errors import InputError
from lib.lab import background, fill
from lib.plan.study import DATA, Study, scales, studies
from lib.report.page import show

NOTHING = (
    "**Nothing has run yet.** In a terminal, `make report` trains teachers and students on toy "
    "languages and writes the report: "
    "a quarter of an hour on two recent cores. `make report STUDIES=herbert` is the shortest of "
    "the four studies, some minutes. "
    "Then run this notebook again; until then every widget below says what it waits for."
)


def ran(outputs: Path | None = None) -> pd.DataFrame:
    """A row for each scale and study of which something is finished: its stages, when the last one
    ended, and what `headline` says of its scores after the last epoch."""
    outputs, rows = outputs or (places.ROOT / "outputs"), {}
    for scale, study in [(scale, study) for study in studies() for scale in scales(study)]:
        plan = Study(study, scale, data_dir=None)
        plan.resolve()
        stage_results = [
            outputs / Path(folder).relative_to("outputs") / "result.json"
            for folder in plan.places.values()
        ]
        if finished := [place for place in stage_results if place.is_file()]:
            when = max(place.stat().st_mtime for place in finished)
            rows[scale, study] = {
                "stages": f"{len(finished)} of {len(stage_results)}",
                "last": datetime.fromtimestamp(when).strftime("%Y-%m-%d %H:%M"),
                **headline(_scores(outputs / scale / "results.csv", study)),
            }
    index = pd.MultiIndex.from_tuples(sorted(rows), names=["scale", "study"])
    return pd.DataFrame([rows[key] for key in sorted(rows)], index=index)


def _scores(path: Path, study: str) -> pd.DataFrame:
    """The rows of a study in a results.csv, protocol `final`; none where it is not written yet."""
    if not path.is_file():
        return pd.DataFrame(columns=["scenario", "layers", "value"])
    results = pd.read_csv(path, keep_default_na=False)
    return results[(results["study"] == study) & (results["protocol"] == "final")]


def headline(scores: pd.DataFrame) -> dict[str, str]:
    """The best teacher (of the deepest models) and the best student (of the shallowest), by the
    mean over tasks, metrics, languages and seeds, in percent, and what the student keeps of the
    teacher's."""
    means = scores.groupby("scenario")["value"].mean()
    deep = scores.groupby("scenario")["layers"].first()
    teachers, students = (
        means[deep == deep.max()],
        means[(deep == deep.min()) & (deep < deep.max())],
    )
    if teachers.empty or students.empty:
        return {"best teacher": "–", "best student": "–", "keeps": "–"}
    best = {
        name: (found.idxmax(), found.max())
        for name, found in (("teacher", teachers), ("student", students))
    }
    said = {
        f"best {kind}": f"{name}, {deep[name]} layers: {value:.1f}"
        for kind, (name, value) in best.items()
    }
    return {**said, "keeps": f"{100 * best['student'][1] / best['teacher'][1]:.0f} %"}


def verdicts(scale: Path) -> str:
    """How the claims of a scale's claims.csv came out, in a sentence with the place of its
    report."""
    there = (scale / "claims.csv").is_file()
    ledger = pd.read_csv(scale / "claims.csv")["verdict"].value_counts() if there else {}
    how = {"holds": "hold", "contradicted": "are contradicted", "unresolved": "stay unresolved"}
    counts = [f"{ledger.get(verdict, 0)} {said}" for verdict, said in how.items()]
    claims = f"; of {sum(ledger)} claims {', '.join(counts)}" if there else ""
    report = (
        f"; the report is `{scale.name}/report.html` in the outputs folder"
        if (scale / "report.html").is_file()
        else ""
    )
    return f"**{scale.name}** ({DATA.get(scale.name, 'a scale of your own')}){claims}{report}."


def start(
    outputs: Path | None = None, scale: str = "tiny", guesses: int = 5
) -> list[HTML | Markdown]:
    """What the first cell shows. Raises InputError where a parameter of the notebook is wrong."""
    outputs = outputs or (places.ROOT / "outputs")
    known = list(dict.fromkeys(name for study in studies() for name in scales(study)))
    if scale not in known:
        raise InputError(f"notebooks/lab.ipynb: scale = {scale!r}; allowed are {', '.join(known)}")
    if not isinstance(guesses, int) or not 1 <= guesses <= fill.MOST:
        raise InputError(f"notebooks/lab.ipynb: guesses = {guesses!r}; allowed are 1 … {fill.MOST}")
    found = ran(outputs)
    if found.empty:
        return [show.prose(NOTHING)]
    there = list(dict.fromkeys(scale for scale, _ in found.index))
    note = (
        "Of the deepest models the best teacher, of the shallowest the best student: mean score "
        "after the last epoch over tasks, "
        "metrics, languages and seeds, in percent."
    )
    return [
        show.prose("\n".join(f"- {verdicts(outputs / scale)}" for scale in there)),
        show.table(found, "What has run.", note=note),
        *own_runs(),
    ]


def own_runs() -> list[HTML]:
    """The scenarios of one's own that were started here."""
    runs = background.runs()
    if not runs:
        return []
    states = pd.DataFrame(
        {"state": [background.read(run).line for run in runs]},
        index=pd.Index([" · ".join(run.parts[-3:]) for run in runs], name="run"),
    )
    return [show.table(states, "Scenarios of your own.")]
