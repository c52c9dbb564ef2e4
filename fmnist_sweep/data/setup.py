"""Gets the real Fashion-MNIST onto this machine and verifies it.

    python -m fmnist_sweep.data.setup [--found-in FILE]

Where no source has it, Debian's and Ubuntu's package is installed, if this user may do that.
Exits with 2, in one line, where the data stays out of reach or is not what it should be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist_sweep.config.data_schema import FashionMnistData
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.fashion_mnist import SYSTEM_FOLDER
from fmnist_sweep.data.loading import load_dataset
from fmnist_sweep.environment import data_dir_from_environment
from fmnist_sweep.errors import DataError
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.streams import make_steady, open_closed_descriptors

DEBIAN_PACKAGE = "dataset-fashion-mnist"


def main(arguments: Sequence[str] | None = None) -> int:
    """Find, fetch and verify the data; return the exit code.

    With `--found-in FILE`, writes to FILE where the data was read from: a folder, or a word on
    the download, after which the next call finds the Keras cache.
    """
    parser = argparse.ArgumentParser(
        prog="python -m fmnist_sweep.data.setup",
        description="Get the real Fashion-MNIST onto this machine and verify it.",
    )
    parser.add_argument("--found-in", type=Path, help="file to note the data's place in")
    options = parser.parse_args(arguments)
    try:
        dataset = load_or_install()
        if options.found_in is not None:
            write_text_whole(options.found_in, f"{dataset.source}\n")
    except DataError as error:
        sys.stderr.write(f"data: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"data: {options.found_in} cannot be written: {error.strerror}\n")
        return DataError.exit_code
    _say(
        f"Fashion-MNIST: {len(dataset.images):,} training images and the official test set, "
        f"verified, from {dataset.source}"
    )
    return 0


def load_or_install() -> Dataset:
    """Load Fashion-MNIST; install Debian's package and try again where nothing has it.

    Raises DataError where it is out of reach, damaged or altered.
    """
    config = FashionMnistData(source="fashion_mnist", dir=None, limit=None)
    try:
        return load_dataset(config)
    except DataError:
        # A folder that the user named is theirs to mend: no package would be read before it.
        if data_dir_from_environment() is not None or SYSTEM_FOLDER.exists():
            raise
        if not _install_debian_package():
            raise
    return load_dataset(config)


def _install_debian_package() -> bool:
    """Whether the package is installed now."""
    privilege = _privilege()
    if shutil.which("apt-get") is None or privilege is None:
        return False
    _say(f"Fashion-MNIST is not on this machine: installing Debian's package {DEBIAN_PACKAGE}")
    # An update that fails for one of several lists may still have brought the one needed.
    _run([*privilege, "apt-get", "update", "--quiet=2"])
    install = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends"]
    # Through `env`, since sudo drops most variables.
    return _run([*privilege, "env", "DEBIAN_FRONTEND=noninteractive", *install, DEBIAN_PACKAGE])


def _privilege() -> list[str] | None:
    """What to put before a command so that it runs as root; None where this user may not."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    return sudo if shutil.which("sudo") is not None and _run([*sudo, "true"]) else None


def _run(command: Sequence[str]) -> bool:
    """Run quietly, without a standard input; say what it printed where it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        _say(f"{' '.join(command)} failed (exit code {done.returncode}): {done.stdout.strip()}")
    return done.returncode == 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    open_closed_descriptors()
    make_steady()
    sys.exit(main())
