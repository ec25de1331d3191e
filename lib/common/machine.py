"""What a result records of the machine and the libraries it was computed with."""

import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy")


def peak_memory_mib() -> float:
    """The peak memory of this process, or of one that it started and that has ended, in MiB."""
    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(process).ru_maxrss for process in processes) / 1024


def machine() -> dict[str, Any]:
    """The keys cpu, cores, system and gpu (empty where PyTorch is not loaded or sees none)."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name(0) if torch and torch.cuda.is_available() else ""
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.system(), "gpu": gpu}


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
