"""A report page of all four studies from made-up results, quickly: what the tests of the page look
at.

Text out of data holds markup and a formula's sign wherever a user's data could: it must come out as
text.
"""

import pandas as pd

from lib.report import overview
from tests.helpers import made_up
from tests.report import test_analysis
from tests.studies.test_cascade import mixture, toy
from tests.studies.test_cascade_page import Found as CascadeFound
from tests.studies.test_herbert import made_up as herbert_results

HOSTILE = "<script>alert(1)</script> & $x$ *b*"
LANGUAGES = [f"toy-{code}" for code in made_up.XNLI[:-1]] + [HOSTILE]
STUDIES = ["herbert", "transfer_set", "ablation", "cascade"]


class Found(CascadeFound):
    """Gathered results of all studies; languages, tasks, files and machines have hostile names."""

    def __init__(self, scores: dict):
        super().__init__(scores)
        parameters = {
            "model": f"models/{HOSTILE}",
            "model_revision": None,
            "output_dir": HOSTILE,
            "label": HOSTILE,
        }
        stage = {"parameters": parameters, "scores": [{"task": HOSTILE, "seed": 1}]}
        self.stages = {("herbert", "S0", "finetune"): stage}

    def by_scenario(self, kind, study=None):
        if (kind, study) == ("data_prep", "transfer_set"):
            source = {
                "name": HOSTILE,
                "bytes": 9,
                "lines": 9,
                "words": 9,
                "words_per_line": {"mean": 1.0, "median": 1},
            }
            whole = {
                **test_analysis.STATISTICS,
                "words_per_line": {"mean": 1.0, "median": 1.0},
                "sources": [source],
            }
            return super().by_scenario(kind, study) | {"corpus_corpus": {"statistics": whole}}
        if (kind, study) == ("data_prep", "cascade"):
            return {"corpus_corpus": {"statistics": mixture(LANGUAGES)}}
        return super().by_scenario(kind, study)


def scores() -> dict:
    """Results of every study; a task and a language that no list of ours knows."""
    cascade = toy()
    own = herbert_results()[0]
    stray = own[own["task"] == "nkjp-ner"].assign(task=HOSTILE)
    return {
        "herbert": pd.concat([own, stray], ignore_index=True),
        "transfer_set": made_up.transfer_set(),
        "ablation": made_up.ablation(),
        "cascade": cascade.replace({"language": {"toy-ur": HOSTILE}}),
    }


def page(monkeypatch, folder) -> str:
    """The page, also at folder/report.html."""
    monkeypatch.setattr(test_analysis, "Found", Found)
    box = {"cpu": HOSTILE, "cores": 2, "system": "Linux", "gpu": ""}
    monkeypatch.setattr(overview, "machine", lambda: box)
    return test_analysis.run(monkeypatch, folder, scores(), STUDIES)
