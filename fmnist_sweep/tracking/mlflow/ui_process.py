"""Runs MLflow's command line as a process that ends with its terminal.

python -m fmnist_sweep.tracking.mlflow.ui_process ui ...
"""

from __future__ import annotations

import runpy
import signal
import threading

_OF_A_TERMINAL = (signal.SIGHUP, signal.SIGQUIT)


def main() -> None:
    """Run MLflow's command line. SIGHUP and SIGQUIT are handled as SIGTERM, which MLflow passes on
    to
    its server: otherwise they would end only this process, and the server would continue and keep
    the port. All child processes inherit the blocked signals."""
    numbers = [one for one in _OF_A_TERMINAL if signal.getsignal(one) is signal.SIG_DFL]
    if numbers:  # not under nohup
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        threading.Thread(target=_wait_for, args=(numbers,), daemon=True).start()
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


def _wait_for(numbers: list[signal.Signals]) -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None  # it started this thread
    signal.sigwait(numbers)
    # To the main thread: a signal to another one would not interrupt waiting for the server.
    signal.pthread_kill(main_thread, signal.SIGTERM)


if __name__ == "__main__":
    main()
