"""One stage of the plan."""

from dataclasses import dataclass
from typing import Any

from lib.parameters import NOTEBOOKS


@dataclass(frozen=True)
class Step:
    """One stage of the plan. `folder` is where it publishes, `needs` are the folders of the stages it reads."""

    kind: str
    study: str
    scenario: str
    folder: str
    parameters: dict[str, Any]
    needs: tuple[str, ...]

    @property
    def result(self) -> str:
        return f"{self.folder}/result.json"

    @property
    def notebook(self) -> str:
        return f"notebooks/{NOTEBOOKS[self.kind]}.ipynb"

    @property
    def threads(self) -> int:
        """CPU cores to book; 0 stands for all there are."""
        processes = self.parameters.get("processes", 1)
        threads = self.parameters["threads"]
        return max(threads, processes) if self.kind == "data_prep" else threads * processes

    @property
    def gpus(self) -> int:
        """GPUs to book, where there are any."""
        return 0 if self.kind == "data_prep" else self.parameters.get("processes", 1)
