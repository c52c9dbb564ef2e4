"""The side command `ui`: opens MLflow's UI, with links to its most useful pages."""

from __future__ import annotations

import socket
import sys

from fmnist_sweep import runtime
from fmnist_sweep.cli.console import console
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.provenance import command
from fmnist_sweep.tracking.mlflow.reader import MlflowReader
from fmnist_sweep.tracking.mlflow.store import is_server
from fmnist_sweep.tracking.opening import SWEEPS, TRAININGS, open_reader, tracking_uri
from fmnist_sweep.tracking.sweep_views import CURVES_VIEW, TABLE_VIEW
from fmnist_sweep.workspace import Workspace

_HOST = "127.0.0.1"
_WORKERS = "2"
# The UI has two modes, and starts in the one for language models by default.
_FACE = "workflowType=machine_learning"


def ui(config: Config, port: str = "5000") -> None:
    """Print the links to the experiments and the latest sweep, and run MLflow's UI in this process
    until Ctrl-C, SIGTERM or the end of its terminal; for a store on a server only print its links.

    Raises:
        ConfigError: tracking is disabled, there is no store, or the port is unavailable.
    """
    if not config.tracking.enabled:
        raise ConfigError("ui: tracking.enabled=false: must be true")
    number = _port(port)
    workspace = Workspace.here()
    uri = tracking_uri(config.tracking, workspace)
    reader = open_reader(config.tracking, workspace)
    if is_server(uri):
        address = without_secrets(uri).rstrip("/")
        _print_links(f"MLflow's UI: {address}", address, reader, config)
        return
    _require_free(number)
    address = f"http://{_HOST}:{number}"
    _print_links(f"MLflow's UI: {address} (Ctrl-C ends it)", address, reader, config)
    artifacts = str(workspace.artifacts)
    served = ("--host", _HOST, "--port", str(number), "--workers", _WORKERS)
    words: tuple[str, ...] = ("-m", "fmnist_sweep.tracking.mlflow.ui_process", "ui", *served)
    words += ("--default-artifact-root", artifacts)
    runtime.become((sys.executable, *words), backend_store=uri)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ConfigError(f"ui: PORT={text}: must be a number from 1 to 65535")
    return int(text)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        # The same option as the server's: a port with only closing connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            other = port + 1 if port < 65535 else port - 1
            raise ConfigError(
                f"ui: PORT={port} is unavailable: {error.strerror}; choose another, as in "
                f"{command(())} ui {other} (make ui PORT={other})"
            ) from error


def _print_links(head: str, address: str, reader: MlflowReader, config: Config) -> None:
    out = console()
    out.print(head, soft_wrap=True)
    links = _links(f"{address}/#/experiments", reader, config)
    width = max(map(len, links), default=0)
    for what, link in links.items():
        out.print(f"  {what:<{width}}  {link}", soft_wrap=True)


def _links(root: str, reader: MlflowReader, config: Config) -> dict[str, str]:
    """Return links by what they show, for everything that exists."""
    sweeps = config.tracking.experiment or SWEEPS
    links = {}
    sweep_id, training_id = reader.experiment_id(sweeps), reader.experiment_id(TRAININGS)
    if sweep_id is not None:
        runs = f"{root}/{sweep_id}/runs?{_FACE}&viewStateShareKey="
        links["sweeps and their trials"] = f"{runs}{TABLE_VIEW}"
        latest = reader.latest(sweeps, "tags.`fmnist.role` = 'sweep'")
        if latest is not None:
            links["learning curves"] = f"{runs}{CURVES_VIEW}&compareRunsMode=CHART"
            links[f"latest sweep, {latest.name}"] = f"{root}/{sweep_id}/runs/{latest.id}?{_FACE}"
    if training_id is not None and training_id != sweep_id:
        links["single trainings"] = f"{root}/{training_id}/runs?{_FACE}"
    return links
