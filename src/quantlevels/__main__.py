"""``quantlevels`` and ``python -m quantlevels``."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

#: exit statuses of programs that SIGINT and SIGTERM have ended, as shells give them
_INTERRUPTED: Final = 130
_TERMINATED: Final = 143
#: the SIGTERM that have arrived
_terminations: list[int] = []

#: new objects before Python searches for garbage; its default is 700
_OBJECTS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run the command line on ``sys.argv``; it needs the ``cli`` extra."""
    # what is imported stays: looking for garbage in it takes a tenth of a short command, half of that at its end
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    atexit.register(gc.freeze)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough ends us without a word
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # else the caller wants it to be ignored
        signal.signal(signal.SIGTERM, _terminate)
    try:
        if missing := [name for name in ("click", "rich") if not _is_installed(name)]:
            sys.exit(_refuse(f"the command line needs {' and '.join(missing)}: pip install 'quantlevels[cli]'"))
        from quantlevels.cli.program import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        status = _INTERRUPTED
    sys.exit(_TERMINATED if _terminations else status)


def _terminate(number: int, _: FrameType | None) -> None:
    """Take SIGTERM as Ctrl-C is taken: what has been written stays or goes whole, and nothing is left behind."""
    _terminations.append(number)
    raise KeyboardInterrupt


def _is_installed(name: str) -> bool:
    """Whether a module can be imported; ``importlib.util.find_spec`` says the same, but its import takes longer."""
    if name in sys.modules:
        return sys.modules[name] is not None
    return any(finder.find_spec(name, None) for finder in sys.meta_path)


def _refuse(reason: str) -> int:
    sys.stderr.write(f"quantlevels: {reason}\n")
    return 2


if __name__ == "__main__":
    main()
