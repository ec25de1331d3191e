"""The scales mini and gpuday, by the README's command, against a mirror that serves stand-ins under
the hub's own ids and revisions. Replaced are how much is read and how long is trained, and scenarios
are left out of which others of the kind stay. herbert at gpuday is its scale paper."""

import pytest
import yaml

from lib.plan import plan
from lib.report.page.render import external_references
from tests.helpers import standins
from tests.helpers.mirror import Mirror
from tests.helpers.project import copy_project, needs_environment, read_results, run_make
from tests.paper.test_whole_plan import HUB_VARIABLES

pytestmark = needs_environment
LANGUAGES = ["en", "es", "zh", "de", "ar", "ur", "is"]
KEPT = {
    "herbert": ["S1", "S4"],
    "transfer_set": ["corpus10pct", "corpus0.1pct", "bigram", "truncated"],
    "ablation": ["triple", "without_soft", "without_mlm", "random_init"],
    "cascade": ["cascade", "direct", "truncated"],
}
LITTLE_TEXT = {
    "transfer_set": {"held_out_lines": 20, "subset_unit": "bytes", "subset_size": 60_000},
    # The stand-in's tokenizer knows fewer words than the hub's.
    "cascade": {"held_out_lines": 20, "sampled_lines": 600, "max_unknown_share": 0.2},
}
LITTLE_TEXT["herbert"] = LITTLE_TEXT["transfer_set"]
STUDIES = {
    "mini": ["herbert", "transfer_set", "ablation", "cascade"],
    "gpuday": ["transfer_set", "ablation", "cascade"],
}


def shrink(project, scale: str, endpoint: str) -> None:
    """Scale files with one repeat, smaller numbers, and the mirror; scenario files with fewer
    scenarios."""
    for study in STUDIES[scale]:
        path = project / f"params/{study}/{scale}.yaml"
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        found |= {"repeats": 1, "hub": {"endpoint": endpoint, "cache_dir": "../cache"}}
        if study != "ablation":
            corpus = "transfer" if study == "herbert" else "corpus"
            found["corpora"][corpus] |= LITTLE_TEXT[study] | {"processes": 2}
            found["finetune"] |= {"epochs": 1}
            if study == "cascade":
                found["cascade"] |= {"total_steps": 6}
            else:
                found["distillation"] = found.get("distillation", {}) | {"steps": 2}
            if scale == "gpuday" and study == "transfer_set":  # 0.1 % of so little text is none
                found["corpora"]["corpus0.1pct"] = {"share": 0.01}
            for teacher in found.get("teachers", {}).values():
                teacher |= {"steps": 2} if "steps" in teacher else {}
        path.write_text(yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
        path = project / f"params/{study}/scenarios.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["scenarios"] = {name: content["scenarios"][name] for name in KEPT[study]}
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


@pytest.mark.parametrize("scale", STUDIES)
def test_a_scale_runs_on_stand_ins(scale, tmp_path):
    standins.build(tmp_path / "hub", LANGUAGES)
    project = copy_project(tmp_path / "project")
    with pytest.MonkeyPatch.context() as patch, Mirror(tmp_path / "hub") as mirror:
        for name in HUB_VARIABLES:
            patch.delenv(name, raising=False)
        shrink(project, scale, mirror.endpoint)
        studies = " ".join(STUDIES[scale])
        done = run_make(
            project, "report", f"SCALE={scale}", f"STUDIES={studies}", "GPUS=0", "CORES=2"
        )
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_results(project / f"outputs/{scale}")
    layers = {
        name: result["summary"]["layers"]
        for name, result in found.items()
        if "layers" in result.get("summary", {})
    }
    students = [name for name in layers if name.endswith("/distillation")]
    assert len(students) >= 6 and {layers[name] for name in students} == {6}
    last = {"mini": 3, "gpuday": 6}[scale]
    assert layers[f"cascade/direct-{last}/cascade_ta"] == last
    wanted = {step.path.name: step.parameters for step in plan.resolve(scale, STUDIES[scale])}
    replaced = {"subset_unit", "subset_size", "sampled_lines", "held_out_lines", "processes"}
    replaced |= {"steps", "epochs", "beside", "warmup", "max_unknown_share", "share"}
    for name in found.keys() & wanted.keys():
        own = found[name]["parameters"]
        assert {key for key in own if own[key] != wanted[name][key]} <= replaced, name
    page = (project / f"outputs/{scale}/report.html").read_text(encoding="utf-8")
    assert external_references(page) == [] and "Traceback" not in page
