"""Gets Fashion-MNIST onto this machine and verifies it.

    python -m fmnist_sweep.data.setup [--found-in FILE]

If no source has it, installs Debian's and Ubuntu's package, if this user is allowed to.
Exits with code 2 and one line if the data is unavailable or invalid.
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
from fmnist_sweep.errors import DataError
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.runtime import data_dir_from_environment
from fmnist_sweep.streams import make_steady, open_closed_descriptors

DEBIAN_PACKAGE = "dataset-fashion-mnist"


def main(arguments: Sequence[str] | None = None) -> int:
    """Find, download and verify the data; return the exit code.

    With `--found-in FILE`, writes to FILE where the data was read from: a folder, or a word for the
    download, after which the next call finds the Keras cache.
    """
    parser = argparse.ArgumentParser(
        prog="python -m fmnist_sweep.data.setup",
        description="Get Fashion-MNIST onto this machine and verify it.",
    )
    parser.add_argument("--found-in", type=Path, help="file to write the data's location to")
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
    """Load Fashion-MNIST; if no source has it, install Debian's package and try again.

    Raises DataError if it is unavailable, damaged or altered.
    """
    config = FashionMnistData(source="fashion_mnist", dir=None, limit=None)
    try:
        return load_dataset(config)
    except DataError:
        # A folder given by the user must be corrected by the user: it has priority over the
        # package.
        if data_dir_from_environment() is not None or SYSTEM_FOLDER.exists():
            raise
        if not _install_debian_package():
            raise
    return load_dataset(config)


def _install_debian_package() -> bool:
    """Whether the package was installed."""
    privilege = _privilege()
    if shutil.which("apt-get") is None or privilege is None:
        return False
    _say(f"Fashion-MNIST is not on this machine: installing Debian's package {DEBIAN_PACKAGE}")
    # If an update fails for one of several lists, the needed one may still be updated.
    _run([*privilege, "apt-get", "update", "--quiet=2"])
    install = ["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends"]
    # With `env`, because sudo drops most variables.
    return _run([*privilege, "env", "DEBIAN_FRONTEND=noninteractive", *install, DEBIAN_PACKAGE])


def _privilege() -> list[str] | None:
    """Return the prefix that runs a command as root; None if this user cannot."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    return sudo if shutil.which("sudo") is not None and _run([*sudo, "true"]) else None


def _run(command: Sequence[str]) -> bool:
    """Run without output or standard input; print the output if the command fails."""
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
