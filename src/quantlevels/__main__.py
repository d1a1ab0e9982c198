"""``quantlevels`` and ``python -m quantlevels``."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

#: exit status of a program that a signal has ended, as shells give it: this and the number of the signal
_ENDED_BY: Final = 128
#: the signals of `_ENDING` that have arrived
_arrived: list[int] = []
#: signals by which a service manager, or a terminal that is closed, ends a program
_ENDING: Final[list[int]] = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
#: after these, a signal that was lost is repeated
_SECONDS_TO_REPEAT: Final = 0.05

#: new objects before Python searches for garbage; its default is 700
_OBJECTS_BEFORE_COLLECTION = 100_000


def main() -> None:
    """Run the command line on ``sys.argv``; it needs the ``cli`` extra."""
    # what is imported stays: looking for garbage in it takes a tenth of a short command, half of that at its end
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    atexit.register(gc.freeze)
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:  # else the caller wants it to be ignored, as nohup does
            signal.signal(number, _end)
    if hasattr(signal, "pthread_kill"):
        sys.unraisablehook = _repeat_lost_interrupt
    try:
        if missing := [name for name in ("click", "rich") if not _is_installed(name)]:
            sys.exit(_refuse(f"the command line needs {' and '.join(missing)}: pip install 'quantlevels[cli]'"))
        from quantlevels.cli.program import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        status = _ENDED_BY + signal.SIGINT
    sys.exit(_ENDED_BY + _arrived[0] if _arrived else status)


def _end(number: int, _: FrameType | None) -> None:
    """Take a signal as Ctrl-C is taken: what has been written stays or goes whole, and nothing is left behind."""
    _arrived.append(number)
    raise KeyboardInterrupt


def _repeat_lost_interrupt(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt again, if a signal arrived in a destructor: Python drops what is raised there."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    from threading import Timer, main_thread  # here: it takes a while to import, and is hardly ever needed

    number = _arrived[0] if _arrived else signal.SIGINT
    # not at once: that would be in the destructor too
    again = Timer(_SECONDS_TO_REPEAT, signal.pthread_kill, [main_thread().ident, number])
    again.daemon = True
    again.start()


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
