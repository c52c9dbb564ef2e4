"""`python -m fmnist_sweep`, and the command `fmnist-sweep`."""

import sys

from fmnist_sweep import runtime, streams


def run() -> None:
    """Run the program and exit."""
    streams.open_closed_descriptors()
    runtime.show_warnings_only()
    # Imported here, because these imports may open files and show warnings.
    from fmnist_sweep.cli.app import main
    from fmnist_sweep.interrupts import end_process

    code = main()
    if code > 128:  # asked to end: exit without TensorFlow's slow teardown
        end_process(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
