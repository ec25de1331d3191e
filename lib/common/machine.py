"""common.machine"""

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any


def peak_memory_mib() -> float:
    """The most memory this process has held so far, or one that it has started and seen end, in
    MiB."""
    return (
        max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        / 1024
    )


def machine() -> dict[str, Any]:
    """What this ran on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    return {"cpu": name, "cores": os.cpu_count(), "system": platform.system(), "gpu": _gpu()}


def _gpu() -> str:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(0) if torch is not None and torch.cuda.is_available() else ""


def versions() -> dict[str, str]:
    """Python and the libraries results depend on."""
    from importlib.metadata import version

    names = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
