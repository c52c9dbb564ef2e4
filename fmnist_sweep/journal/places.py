"""Where a sweep's epochs were trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.journal.records import RunsIn


@dataclass
class Places:
    """The environments of a sweep, and for each `RunsIn` the number of its environment and its
    host, which is None for the sweep's owner."""

    environments: list[Environment] = field(default_factory=list)
    _of_records: list[tuple[int, str | None]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._of_records)

    def add(self, record: RunsIn) -> None:
        """Add a record's place; workers of one kind are in one environment."""
        which = len(self.environments)
        if record.host is not None:
            for number, environment in enumerate(self.environments):
                if environment.is_same_place(record.environment):
                    which = number
                    break
        if which == len(self.environments):
            self.environments.append(record.environment)
        self._of_records.append((which, record.host))

    def number_of(self, environment: Environment, host: str) -> int | None:
        """Return the number of a worker's place, None if it is not recorded."""
        for number, (which, there) in enumerate(self._of_records):
            if there == host and self.environments[which].is_same_place(environment):
                return number
        return None

    def environment_at(self, place: int | None) -> int | None:
        """Return the number of a place's environment; of the owner's last one for None.

        Raises:
            ValueError: there is no such place.
        """
        if place is None:
            return next((n for n, host in reversed(self._of_records) if host is None), None)
        if not 0 <= place < len(self):
            raise ValueError(f"place {place}, which was never recorded")
        return self._of_records[place][0]

    @property
    def here(self) -> Environment | None:
        """The environment of the sweep's owner, None before it is recorded."""
        number = self.environment_at(None)
        return None if number is None else self.environments[number]

    @property
    def has_workers(self) -> bool:
        """Whether workers elsewhere trained some epochs."""
        return any(host is not None for _, host in self._of_records)
