"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell starts programs in the background with SIGINT ignored, and their children inherit that: then no test could
# interrupt a command as Ctrl-C does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
