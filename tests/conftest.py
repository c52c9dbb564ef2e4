"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every
# program that they start; the tests of interrupts want it as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asserts a time, and a deadline would be one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
