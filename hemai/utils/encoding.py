"""File names and terminals of any encoding."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable

from hemai.utils.errors import UserError, shorten


def use_utf8() -> None:
    """Make a program independent of the locale; for scripts, never on import.

    What a terminal cannot show is printed as an escape. Where file names would be read as ASCII (`LC_ALL=C` with
    `PYTHONUTF8=0`), the program starts once more in Python's UTF-8 mode (PEP 540, 2018).

    Raises:
        UserError: An argument or the working directory is not UTF-8, or the latter does not exist.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if codecs.lookup(sys.getfilesystemencoding()).name == "ascii":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    try:
        check_utf8([*sys.argv, os.getcwd()])
    except OSError as error:
        raise UserError(f"the working directory was deleted, or cannot be read ({error}); cd to another") from error


def _open_closed_streams() -> None:
    """Replace standard streams that the shell closed (`>&-`): a data file would be opened under their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  until the end


def check_utf8(names: Iterable[str | os.PathLike[str]]) -> None:
    r"""Refuse names that are not UTF-8, which Python shows as surrogates: no text file could hold them.

    Raises:
        UserError: The message lists them with `\xff` in place of a byte.
    """
    odd = [escaped for name in names if (escaped := _escaped(name)) != os.fspath(name)]
    if odd:
        raise UserError(
            f"names that are not UTF-8: {shorten(odd)}; rename them, on Linux all below a folder by "
            "convmv -f latin1 -t utf8 -r --notest FOLDER"
        )


def _escaped(name: str | os.PathLike[str]) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
