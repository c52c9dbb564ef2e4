"""`python -m fmnist_sweep`."""

import sys

from fmnist_sweep.app import main
from fmnist_sweep.environment import end_process

if __name__ == "__main__":
    code = main()
    if code > 128:  # asked to end: at once, without taking TensorFlow apart first
        end_process(code)
    sys.exit(code)
