"""Output files: written beside what is there, then renamed: at each moment a path has the old file or the new one."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE, S_IRWXG, S_IRWXO
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_SUFFIX: Final = ".partial"
#: characters of the file's name in the name of the new file: with all of them it could be longer than a name may be
_NAME_KEPT: Final = 32
#: signals that end a process, by default without a chance to clean up: Ctrl-C, `kill`, a terminal that is closed
_ENDING: Final[list[int]] = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def write_file(path: Path, content: bytes) -> None:
    """Write a file, or replace it: its permissions stay, and a link stays a link.

    After an error the file is as it was. A signal that ends the process does so after the file is complete.

    Raises:
        OSError: naming the path, if it cannot be written.
        ValueError: if it holds a NUL.
    """
    with _naming(path):
        target = _target(path)
        if _is_special(target):  # signals are not held back: a pipe may wait for its reader for ever
            target.write_bytes(content)
        else:
            with signals_held_back(), _new_file(target) as stream:
                stream.write(content)


@contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """A stream to a new file that replaces the file at ``path``, as `write_file` does, at the end of the block.

    If the user interrupts, what was written until then becomes the file: a survey of an hour is not lost.

    Raises:
        KeyboardInterrupt: if the user interrupts.
        OSError: naming the path, if it cannot be written.
        ValueError: if it holds a NUL.
    """
    with _naming(path):
        target = _target(path)
        opened = target.open("wb") if _is_special(target) else _new_file(target)
        with opened as stream:
            yield stream


@contextmanager
def signals_held_back() -> Generator[None]:
    """Signals that end the process take effect after the block.

    Only the main thread can do that: in others the block runs as it is.
    """
    arrived: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    handlers = {number: signal.getsignal(number) for number in _ENDING}
    replaced: list[int] = []
    try:
        with suppress(ValueError):  # not the main thread
            for number, handler in handlers.items():
                if handler is not None:  # a handler that was not set by Python could not be put back
                    signal.signal(number, remember)
                    replaced.append(number)
        yield
    finally:
        for number in replaced:
            signal.signal(number, handlers[number])
        for number in arrived:
            signal.raise_signal(number)


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Errors of the system name the path that the caller gave, and not the file beside it."""
    try:
        yield
    except OSError as error:
        names_another = error.filename is not None and not str(error.filename).endswith(_SUFFIX)
        if names_another or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _target(path: Path) -> Path:
    """The file that a path leads to.

    Raises:
        OSError: if it may not be written, or is a link that leads to itself.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    # a rename needs no permission to write to the file that it replaces
    can_tell = os.access in os.supports_effective_ids
    if target.exists() and not os.access(target, os.W_OK, effective_ids=can_tell):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


def _is_special(target: Path) -> bool:
    """Whether a path is there but not a file: replacing /dev/null would take it from all programs."""
    return target.exists() and not target.is_file()


@contextmanager
def _new_file(target: Path) -> Generator[IO[bytes]]:
    """A stream to a file that takes the place of ``target`` when the block ends, or the user interrupts it."""
    # in the same folder: a rename within one file system replaces the old file at once or not at all
    partial = target.with_name(f".{target.name[:_NAME_KEPT]}.{os.urandom(8).hex()}{_SUFFIX}")
    interruption: KeyboardInterrupt | None = None
    try:
        with _created(partial, target) as stream:
            try:
                yield stream
            except KeyboardInterrupt as error:
                interruption = error
            with signals_held_back():
                stream.flush()
                os.fsync(stream.fileno())  # some file systems tell only now that the disk is full
                stream.close()  # Windows renames no file that is open
                partial.replace(target)
    finally:
        with signals_held_back():
            partial.unlink(missing_ok=True)
    if interruption:
        raise interruption


def _created(partial: Path, target: Path) -> IO[bytes]:
    """A new file that those may read and write who may do so with the old one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        old = target.stat()
    except FileNotFoundError:
        return os.fdopen(os.open(partial, flags, 0o666), "wb")
    stream = os.fdopen(os.open(partial, flags, 0o600), "wb")
    if hasattr(os, "chown"):
        # one at a time: only root can give a file away, but each member of a group can give it to the group
        for user, group in ((-1, old.st_gid), (old.st_uid, -1)):
            with suppress(OSError):  # some file systems know no owners, or not these
                os.chown(partial, user, group)
    mode = S_IMODE(old.st_mode)
    if partial.stat().st_gid != old.st_gid:  # the new group gets what anybody has, not what the old one had
        mode = mode & ~S_IRWXG | (mode & S_IRWXO) << 3
    with suppress(OSError):
        partial.chmod(mode)
    return stream
