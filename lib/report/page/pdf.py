"""The report on paper: `python -m lib.report.page.pdf pdf report.html` prints the page to
report.pdf, through headless Chromium.

Without a page the command only checks that the format can be made, before anything is computed.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.common.errors import InputError
from lib.common.files import atomic

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
"""Chromium's options for a machine without a desktop, a user or a network."""
TIMEOUT = 180
"""Seconds that Chromium has to print."""


def chromium() -> str | None:
    """The path of a headless browser, if there is one."""
    return next((path for path in map(shutil.which, CHROMIUM) if path), None)


def check(format: str) -> None:
    """Raise InputError unless the report can be made in this format on this machine."""
    if format not in FORMATS:
        raise InputError(f"FORMAT={format}: allowed are {', '.join(FORMATS)}")
    if format == "pdf" and not chromium():
        raise InputError(
            f"FORMAT=pdf prints with Chromium, and none is on the PATH (one of: "
            f"{', '.join(CHROMIUM)})"
        )


def write(html: Path, pdf: Path) -> None:
    """Print the page to `pdf`, whole or not at all. Raises InputError if there is no browser, or it
    prints nothing."""
    check("pdf")
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "page.pdf"
        command = [
            chromium(),
            "--headless",
            *QUIET,
            f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer",
            "--generate-pdf-document-outline",
            f"--print-to-pdf={printed}",
            Path(html).resolve().as_uri(),
        ]
        output = {"capture_output": True, "text": True, "errors": "replace"}
        try:
            done = subprocess.run(command, timeout=TIMEOUT, **output)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{html}: Chromium did not print it within {TIMEOUT} seconds"
            ) from None
        if not (printed.is_file() and printed.read_bytes()[:4] == b"%PDF"):
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise InputError(f"{html}: Chromium did not print it: {reason}")
        with atomic(Path(pdf)) as file:
            file.write(printed.read_bytes())


def main(arguments: list[str]) -> int:
    """The command line: `format` or `format page`; returns the exit code."""
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
