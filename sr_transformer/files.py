"""Files that outlast what happens while they are written: kills, full disks, a second process."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a file system answers that knows no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# Windows locks bytes, and no other process can read them: those of a file's text are left alone.
_LOCKED_BYTE = 1 << 30


def write_atomically(path: Path, content: bytes, before: Path | None = None) -> None:
    """Write a temporary file beside ``path``, then put it in place in one step.

    Whoever reads ``path`` sees the old file or the whole new one, even after a power failure.

    Parameters
    ----------
    path : Path
    content : bytes
    before : Path, optional
        Where the old file is moved to, once the new one is written. A kill between these two steps
        leaves no file at ``path``.

    Raises
    ------
    OSError
        If it cannot be written; what was at ``path`` is as it was, and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        if before is not None and path.is_file():
            os.replace(path, before)
        os.replace(temporary, path)
    except OSError as error:
        raise _explained(error, path, "what was there before is as it was") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(path: Path) -> None:
    """Remove what killed processes left of :func:`write_atomically`; none may be writing."""
    for left in path.parent.glob(f".{path.name}.*"):
        if left.suffix[1:].isdecimal():
            left.unlink(missing_ok=True)


def append_line(path: Path, text: str) -> None:
    """Add a line to a file, and see to it that it is on the disk.

    Raises
    ------
    OSError
        If it cannot be written; the lines before it are as they were, and nothing follows them.
    """
    with open(path, "ab", buffering=0) as file:
        before = file.tell()
        line = memoryview(f"{text}\n".encode())
        try:
            while line:  # a disk that fills up takes the beginning of a line without an error
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(before)
            raise _explained(error, path, "the lines before are complete") from error


def _explained(error: OSError, path: Path, state: str) -> OSError:
    return OSError(error.errno, f"{error.strerror or error}; {state}", str(path))


@contextmanager
def held_by_this_process(path: Path) -> Iterator[str | None]:
    """Hold the lock that a file stands for; it ends with the process, however that ends.

    The file stays where it is and means nothing while nobody holds it. On a file system without
    locks nothing is held.

    Yields
    ------
    str or None
        Who holds the lock already; ``None`` where this process does now.
    """
    with open(path, "a+", encoding="utf-8") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                file.seek(0)
                yield file.read().strip() or "another process"
                return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield None


def _lock(descriptor: int) -> None:
    """Lock an open file for this process alone; OSError where another one holds it."""
    if os.name == "nt":
        import msvcrt

        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
