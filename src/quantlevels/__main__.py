"""``quantlevels`` and ``python -m quantlevels``."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line on ``sys.argv``; it needs the ``cli`` extra."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough ends us without a word
    try:
        if missing := [name for name in ("click", "rich") if not _is_installed(name)]:
            sys.exit(_refuse(f"the command line needs {' and '.join(missing)}: pip install 'quantlevels[cli]'"))
        from quantlevels.cli.program import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


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
