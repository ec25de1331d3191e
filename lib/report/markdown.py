"""Markdown made by code: whatever it is made of is seen as it was written, be it a path, a licence
or the name of a task."""

import re
from collections.abc import Iterable, Sequence

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def plain(text) -> str:
    """Text in a sentence, an item or a cell: on one line, and none of it markup.

    >>> plain("*CC* <b> 1|2")
    '\\\\*CC\\\\* &lt;b&gt; 1\\\\|2'
    """
    line = " ".join(str(text).split())
    line = re.sub(r"[\\`*_\[\]|~#$]", r"\\\g<0>", line)
    line = re.sub(r"[&<>]", lambda found: ENTITIES[found[0]], line)
    return re.sub(
        r"^(\d+)([.)])|^([-+=])", lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", line
    )


def code(text) -> str:
    """A name, a path or a number as inline code; as plain text where a table's bar in it would end
    its cell."""
    line = " ".join(str(text).split())
    if "|" in line or not line:
        return plain(line)
    fence = "`" * (_longest_run(line) + 1)
    padding = " " * (line.startswith("`") or line.endswith("`"))
    return f"{fence}{padding}{line}{padding}{fence}"


def block(text: str, language: str = "") -> str:
    """Lines as a block of code."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def bullets(items: Iterable[str]) -> str:
    """A list, an item a line, of what is Markdown already."""
    return "\n".join(f"- {item}" for item in items)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; all columns but the first to the right if there
    are more than two."""
    align = ["---"] + ["---:" if len(head) > 2 else "---"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, align, *rows))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
