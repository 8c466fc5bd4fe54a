"""What a training remembers on the disk, and how it goes back to that."""

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
    """The checkpoint that a run goes on from, None for a fresh one; true where there is one.

    `passed_over` says what is wrong with newer ones: sentences that begin with their names.
    """

    path: Path | None = None
    passed_over: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.path is not None


class Memory:
    """Keeps a state in the checkpoints of its study, and brings it back to one of them, in place.

    Parameters
    ----------
    latest
        Path of the newest checkpoint.
    design
        What the network was built for; a checkpoint of another one is passed over.
    fresh
        Makes the state that a fresh run begins with.
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
        """Go to the newest checkpoint that is sound and of this network."""
        paths, latest = self._checkpoints.paths(), self._checkpoints.latest
        passed_over = [] if not paths or latest in paths else [f"{latest.name} is gone"]
        for path in paths:
            try:
                self._go_to(self._fitting(path))
            except DamagedError as error:
                passed_over.append(f"{path.name} {error}")
                if path == latest:
                    self._checkpoints.latest_is_damaged()
            except _OtherNetworkError:
                passed_over.append(f"{path.name} is of another network or of other classes")
            else:
                return Restored(path, tuple(passed_over))
        if passed_over:
            self.begin_afresh()
        return Restored(None, tuple(passed_over))

    def go_back(self, nth: int) -> Path | None:
        """Go to the nth newest sound checkpoint of this training, counted from 0, or the oldest.

        Where there is none it begins afresh, and None is returned.
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
        """Go to where a fresh run begins; it stays the same training."""
        began_with = self._state.began_with
        self._state.take(self._fresh().content(self._design.to_plain()), self._device)
        self._state.begin(began_with)
        self._known = self._place

    def save(self) -> None:
        """Write a checkpoint.

        Raises
        ------
        UnstableError
            If it holds numbers that are not finite; nothing is written then.
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
        """Path of the newest checkpoint."""
        return self._checkpoints.latest

    @property
    def has_news(self) -> bool:
        """Whether the training has moved since it was saved or restored; a fresh one has not."""
        return self._place != self._known

    @property
    def _place(self) -> tuple[str, int, int]:
        return self._state.stage.value, self._state.step, self._state.total

    @property
    def is_best(self) -> bool:
        """Whether the state has been scored and does better than the best checkpoint, or as well.

        On the validation slices from either; where there are none it counts as better.
        """
        kept, best = self._state.kept, self._state.best
        if kept is None or kept.worse or kept.total != self._state.total:
            return False
        return best is None or sum(a - b for a, b in paired(kept.dice, best)) >= 0

    def sweep(self) -> None:
        """Remove what a process that was killed while it saved has left."""
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
    """A checkpoint is of another network than the settings ask for."""
