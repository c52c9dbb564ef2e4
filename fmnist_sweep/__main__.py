"""`python -m fmnist_sweep`."""

import sys

from fmnist_sweep.app import main

sys.exit(main())
