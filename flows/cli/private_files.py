"""Files that name customers, or hold keys: only their owner can read them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO


def write_private(path: Path, text: str) -> None:
    """
    Write a file that only its owner can read. It is complete or it is not there: it replaces an older one at its end.

    Raises:
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner only
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def open_private(path: Path) -> BinaryIO:
    """A file to append to, which only its owner can read from now on."""
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    path.chmod(0o600)  # it may be an older one
    return file


def make_private_folder(path: Path) -> None:
    """Make sure that there is a folder, into which only its owner can look."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)  # it may be an older one
