"""Imported once by the process that `forked.py` forks from: all that the program imports."""

from fmnist_sweep import environment

environment.load_tensorflow()
environment.quiet_mlflow()

import fmnist_sweep.cli.launch  # noqa: E402 - quietly, so after those
import fmnist_sweep.cli.side_commands  # noqa: E402
import fmnist_sweep.report.reporting  # noqa: E402
import fmnist_sweep.tracking.mlflow.registry  # noqa: E402
import fmnist_sweep.tracking.mlflow.tracker  # noqa: E402
import fmnist_sweep.tuners.opening  # noqa: E402, F401
