"""The report on paper: `python -m lib.report.page.pdf pdf report.html` prints the page beside
itself, through headless Chromium.

Without a page the command only says whether the format could be made, so that nothing is computed
in vain.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.common.errors import InputError

FORMATS = ("html", "pdf")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Chromium's options for a box without a desktop, a user or a network."""
PATIENCE = 180
"""Seconds after which a browser that prints nothing is given up."""


def chromium() -> str | None:
    """The headless browser to print with, if there is one."""
    return next((path for path in map(shutil.which, CHROMIUM) if path), None)


def check(format: str) -> None:
    """Raise InputError unless the report can be had in this format on this machine."""
    if format not in FORMATS:
        raise InputError(f"FORMAT={format}: allowed are {', '.join(FORMATS)}")
    if format == "pdf" and not chromium():
        raise InputError(
            f"FORMAT=pdf prints with Chromium, and none is on the PATH (one of: "
            f"{', '.join(CHROMIUM)})"
        )


def write(html: Path, pdf: Path) -> None:
    """Print the page to `pdf`, whole or not at all. Raises InputError where there is no browser, or
    it prints nothing."""
    check("pdf")
    pdf = Path(pdf).resolve()
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / "page.pdf"
        command = [
            chromium(),
            "--headless",
            *QUIET,
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            "--generate-pdf-document-outline",
            f"--print-to-pdf={aside}",
            Path(html).resolve().as_uri(),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{html}: Chromium did not print it within {PATIENCE} seconds"
            ) from None
        if not (aside.is_file() and aside.read_bytes()[:4] == b"%PDF"):
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise InputError(f"{html}: Chromium did not print it: {said}")
        beside = pdf.with_name(
            f".{pdf.name}.{os.getpid()}"
        )  # the temporary folder may be on another disk
        shutil.copyfile(aside, beside)
        os.replace(beside, pdf)


def main(arguments: list[str]) -> int:
    """`format`, or `format page`: see this module's first lines."""
    if len(arguments) not in (1, 2):
        print("usage: python -m lib.report.page.pdf html|pdf [report.html]", file=sys.stderr)
        return 2
    try:
        check(arguments[0])
        if len(arguments) == 2 and arguments[0] == "pdf":
            page = Path(arguments[1])
            write(page, page.with_suffix(".pdf"))
            print(f"printed: {page.with_suffix('.pdf')}")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
