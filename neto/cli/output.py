"""Where `--json` goes: a file, or standard output."""

from __future__ import annotations

from pathlib import Path

from neto.errors import InputError, Problem


def write_json(out: str, text: str) -> None:
    """Write a document to a file, or print it where the name is "-".

    Raises InputError when the file cannot be written.
    """
    if out == "-":
        print(text)
        return
    try:
        Path(out).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        problem = Problem("command line", 0, "--json", f"{out} cannot be written: {error.strerror}")
        raise InputError([problem]) from error
