"""Which lines have come before: by their hashes, few of them in memory however many there are."""

from bisect import bisect_left
from pathlib import Path

import numpy as np

RECENT = 1 << 19
"""Hashes in memory, some 40 MiB; more are written to disk, sorted."""
LONGEST = 1 << 23
"""Hashes of files that are merged into one."""


class Seen:
    """A set of 64-bit hashes that only grows. Most of many are in files of `folder`, eight bytes each; None: all in memory."""

    def __init__(self, folder: Path | None):
        self.folder, self.recent, self.written = folder, set(), 0
        self.runs: list[np.memmap] = []
        self.views: list[memoryview] = []  # the same, faster to look one up in

    def add(self, key: int) -> bool:
        """Add a hash; whether it is a new one."""
        if key in self.recent or any(_holds(view, key) for view in self.views):
            return False
        self.recent.add(key)
        if self.folder and len(self.recent) == RECENT:
            self._write()
        return True

    def _write(self) -> None:
        """Write the recent hashes to a sorted file, and merge it with files no longer than itself."""
        keys = np.fromiter(self.recent, np.uint64, len(self.recent))
        while self.runs and len(self.runs[-1]) <= len(keys) < LONGEST:
            self.views.pop()
            merged = self.runs.pop()
            keys = np.concatenate([keys, merged])
            Path(merged.filename).unlink()
        keys.sort()
        path = self.folder / f"hashes-{self.written}"
        keys.tofile(path)
        self.written += 1
        self.runs.append(np.memmap(path, np.uint64, "r"))
        self.views.append(memoryview(self.runs[-1]))
        self.recent = set()


def _holds(run: memoryview, key: int) -> bool:
    place = bisect_left(run, key)
    return place < len(run) and run[place] == key
