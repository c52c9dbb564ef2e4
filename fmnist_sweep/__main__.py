"""`python -m fmnist_sweep`, and the command `fmnist-sweep`."""

import sys

from fmnist_sweep.app import main
from fmnist_sweep.interrupts import end_process


def run() -> None:
    """Be the program."""
    code = main()
    if code > 128:  # asked to end: at once, without taking TensorFlow apart first
        end_process(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
