"""The locations of a workspace's files: a folder with `mlruns/` and `experiments/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fmnist_sweep import runtime
from fmnist_sweep.files import folder_in


@dataclass(frozen=True)
class Workspace:
    """The folder that the program runs in.

    Attributes:
        root: the folder.
        tracking_uri: the tracking store set in the environment, None if not set.
    """

    root: Path
    tracking_uri: str | None = None

    @classmethod
    def here(cls) -> Workspace:
        """Return the workspace of the working directory, with MLFLOW_TRACKING_URI."""
        return cls(Path.cwd(), runtime.tracking_uri_from_environment())

    @property
    def mlruns(self) -> Path:
        """Everything that is written, except configs of winners."""
        return self.root / "mlruns"

    @property
    def database(self) -> Path:
        """MLflow's local store."""
        return self.mlruns / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's files."""
        return self.mlruns / "artifacts"

    @property
    def sweeps(self) -> Path:
        """One folder per sweep, with its journal."""
        return self.mlruns / "sweeps"

    @property
    def reports(self) -> Path:
        """One folder per report."""
        return self.mlruns / "reports"

    @property
    def pictures(self) -> Path:
        """Pictures of data sets, as they were read; may be deleted at any time."""
        return self.mlruns / "pictures"

    @property
    def trainings(self) -> Path:
        """One folder per unfinished single training, with its journal."""
        return self.mlruns / "trainings"

    @property
    def experiments(self) -> Path:
        """The user's config files."""
        return self.root / "experiments"

    @property
    def best(self) -> Path:
        """Exported winners, for `+best=`."""
        return self.experiments / "best"

    @property
    def baselines(self) -> Path:
        """Published systems, for `+baseline=`."""
        return self.experiments / "baseline"

    def sweep(self, name: str) -> Path:
        """Return a sweep's folder, whether or not it exists.

        Raises:
            ConfigError: it is a link.
        """
        return folder_in(self.sweeps, name)

    def training(self, name: str) -> Path:
        """Return a single training's folder, whether or not it exists.

        Raises:
            ConfigError: it is a link.
        """
        return folder_in(self.trainings, name)

    def report(self, name: str) -> Path:
        """Return the folder of a sweep's report, whether or not it exists.

        Raises:
            ConfigError: it is a link.
        """
        return folder_in(self.reports, name)

    def shown(self, path: Path) -> str:
        """Return a path for the console, relative to this folder."""
        return str(path.relative_to(self.root))
