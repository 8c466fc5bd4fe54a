"""The entry of a run in the catalogue of its study."""

from collections.abc import Mapping

from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.study import Study


class Journal:
    """Opens the entry of a run, adds measurements to it, and closes it with the outcome."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._run_id: int | None = None

    def open(self, config: Config, device: str) -> int:
        """Open the entry; returns the number of the run."""
        self._run_id = self._study.runs.start(config.to_dict(), seed=config.seed, device=device)
        return self._run_id

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Add named numbers, measured at `step`, to the open entry."""
        self._study.runs.log(self._number(), step, values)

    def close(self, outcome: str) -> None:
        """Close the entry: ``finished``, ``stopped`` or ``failed``."""
        self._study.runs.finish(self._number(), outcome=outcome)
        self._run_id = None

    def _number(self) -> int:
        assert self._run_id is not None, "no entry is open"
        return self._run_id
