"""MLflow's command line as a process that ends with its terminal.

python -m fmnist_sweep.tracking.ui_process ui ...
"""

from __future__ import annotations

import os
import runpy
import signal


def main() -> None:
    """Be MLflow's command line. SIGHUP and SIGQUIT end it as SIGTERM does, which MLflow passes on
    to the server that it starts; else the server would survive them, and keep the port."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)


def _end(_number: int, _frame: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
