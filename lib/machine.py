"""What `make report` is told about the machine, checked before anything is computed."""

from lib import ROOT, disk
from lib.errors import InputError


def check(scale: str, cores: str, gpus: str) -> None:
    """Raise InputError for numbers that are none, and for a folder of results that nothing can be written into."""
    for name, given, least in (("CORES", cores, 1), ("GPUS", gpus, 0)):
        if not (given.isascii() and given.isdigit() and int(given) >= least):
            raise InputError(f"{name} = {given!r}; allowed is a whole number, {least} or more")
    disk.require_writable(ROOT / "outputs" / scale)
