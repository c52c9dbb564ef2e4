"""`python -m fmnist_sweep`, and the command `fmnist-sweep`."""

import sys

from fmnist_sweep import environment, streams


def run() -> None:
    """Be the program."""
    streams.open_closed_descriptors()
    environment.show_warnings_only()
    # Not before: what these import may open files and give warnings.
    from fmnist_sweep.cli.app import main
    from fmnist_sweep.interrupts import end_process

    code = main()
    if code > 128:  # asked to end: at once, without taking TensorFlow apart first
        end_process(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
