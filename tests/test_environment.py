"""Signals and threads of the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from fmnist_sweep.environment import Terminated, stop_if_asked, terminable


class SignalsWhileDestroyed:
    """Python drops whatever an object's destruction raises."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_request_to_stop_is_not_lost(number: signal.Signals, raised: type[BaseException]) -> None:
    with terminable():
        stop_if_asked()
        SignalsWhileDestroyed(number)
        with pytest.raises(raised):
            stop_if_asked()
    stop_if_asked()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    code = (
        "import time\n"
        "from fmnist_sweep.environment import terminable\n"
        "with terminable():\n"
        "    try:\n"
        "        print('waits', flush=True)\n"
        "        time.sleep(600)\n"
        "    except KeyboardInterrupt:\n"
        "        print('cleans up', flush=True)\n"
        "        time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in ("waits\n", "cleans up\n"):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.wait(60) == 128 + number


def test_a_signal_interrupts_at_once_and_its_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
