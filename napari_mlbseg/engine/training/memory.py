"""How a training is saved to its checkpoints, and returns to them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_mlbseg.engine.steps.score import paired
from napari_mlbseg.engine.training.checkpoint import Checkpoint, DamagedError, load
from napari_mlbseg.engine.training.checkpoints import Checkpoints
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.finite import require_finite
from napari_mlbseg.engine.training.state import FORMAT, TrainingState


@dataclass(frozen=True)
class Restored:
    """The checkpoint that a run resumes from, None for a fresh run; true if there is one.

    `passed_over` says what is wrong with newer checkpoints, in sentences that start with their
    names.
    """

    path: Path | None = None
    passed_over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.path is not None


class Memory:
    """Saves a state to the checkpoints of its study, and restores it from one of them, in place.

    Parameters
    ----------
    latest
        Path of the latest checkpoint.
    design
        Design of the network; checkpoints of another design are passed over.
    fresh
        Makes the state that a fresh run starts with.
    """

    def __init__(
        self,
        latest: Path,
        state: TrainingState,
        *,
        design: NetworkDesign,
        device: torch.device,
        fresh: Callable[[], TrainingState],
    ) -> None:
        self._checkpoints, self._state = Checkpoints(latest), state
        self._design, self._device, self._fresh = design, device, fresh
        self._known = self._place

    def restore(self) -> Restored:
        """Restore the newest checkpoint that is sound and of this network."""
        paths, latest = self._checkpoints.paths(), self._checkpoints.latest
        passed_over = [] if not paths or latest in paths else [f"{latest.name} is missing"]
        for path in paths:
            try:
                self._go_to(self._fitting(path))
            except DamagedError as error:
                passed_over.append(f"{path.name} {error}")
                if path == latest:
                    self._checkpoints.latest_is_damaged()
            except _OtherNetworkError:
                passed_over.append(f"{path.name} is of another network or has other classes")
            else:
                return Restored(path, tuple(passed_over))
        if passed_over:
            self.begin_afresh()
        return Restored(None, tuple(passed_over))

    def go_back(self, nth: int) -> Path | None:
        """Restore the nth newest sound checkpoint of this training, counted from 0, or the oldest.

        If there is none, start afresh and return None.
        """
        sound = []
        for path in self._checkpoints.paths():
            try:
                checkpoint = self._fitting(path)
            except (DamagedError, _OtherNetworkError):
                continue
            if checkpoint.content.get("began_with", 0) == self._state.began_with:
                sound.append((path, checkpoint))
        if not sound:
            self.begin_afresh()
            return None
        path, checkpoint = sound[min(nth, len(sound) - 1)]
        self._go_to(checkpoint)
        return path

    def begin_afresh(self) -> None:
        """Return to the state of a fresh run; it remains the same training."""
        began_with = self._state.began_with
        self._state.take(self._fresh().content(self._design.to_plain()), self._device)
        self._state.begin(began_with)
        self._known = self._place

    def save(self) -> None:
        """Write a checkpoint.

        Raises
        ------
        UnstableError
            If it holds non-finite numbers; nothing is written then.
        """
        best = self.is_best
        if best:
            self._state.note_best()
        content = self._state.content(self._design.to_plain())
        require_finite(content, "the network")
        self._checkpoints.save(content, best=best)
        self._known = self._place

    @property
    def latest(self) -> Path:
        """Path of the latest checkpoint."""
        return self._checkpoints.latest

    @property
    def has_news(self) -> bool:
        """Whether the training has advanced since it was saved, restored or started."""
        return self._place != self._known

    @property
    def _place(self) -> tuple[str, int, int]:
        return self._state.stage.value, self._state.step, self._state.total

    @property
    def is_best(self) -> bool:
        """Whether the state has been scored and does at least as well as the best checkpoint.

        They are compared on the validation slices that both were scored on; if there are none, the
        newer one counts as better.
        """
        kept, best = self._state.kept, self._state.best
        if kept is None or kept.worse or kept.total != self._state.total:
            return False
        return best is None or sum(a - b for a, b in paired(kept.dice, best)) >= 0

    def sweep(self) -> None:
        """Remove unfinished files of a process that was killed while saving."""
        self._checkpoints.sweep()

    def _fitting(self, path: Path) -> Checkpoint:
        checkpoint = load(path)
        if checkpoint.content.get("format") != FORMAT or checkpoint.design != self._design:
            raise _OtherNetworkError
        return checkpoint

    def _go_to(self, checkpoint: Checkpoint) -> None:
        try:
            self._state.take(checkpoint.content, self._device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DamagedError(f"lacks a part ({type(error).__name__})") from error
        self._known = self._place


class _OtherNetworkError(Exception):
    """A checkpoint holds another network than the settings ask for."""
