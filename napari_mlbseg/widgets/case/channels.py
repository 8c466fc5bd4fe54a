"""The channels of a case on one layer: one of them is on view, and each keeps its grey levels."""

from dataclasses import replace
from typing import Final

from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.widgets.case.carried import Limits, carried_limits, contrast_limits

_LAYER: Final = "image"
_NOTHING: Final = Intensity(0.0, 1.0, 0.0, 1.0)


class Channels:
    """Which channel of a case is on view.

    `earlier` are those of the case shown before: the same channel stays on view, and grey levels
    that were chosen are carried on to this case.

    Attributes
    ----------
    place
        The place of the channel on view among those of the study.
    """

    def __init__(self, case: Case, earlier: "Channels | None" = None) -> None:
        self.case, self.place = case, 0
        self._levels: dict[int, Limits] = {}
        if earlier is not None:
            self.place = earlier.place
            for place, chosen in earlier._levels.items():
                own = earlier._own(place), self._own(place)
                self._levels[place] = carried_limits(chosen, *own)

    @property
    def names(self) -> tuple[str, ...]:
        """The channels of the study."""
        return tuple(channel.name for channel in self.case.channels)

    @property
    def array(self) -> ArrayName:
        """The array of the channel on view."""
        return CHANNELS[self.place]

    @property
    def seen(self) -> Case:
        """The case as if the channel on view was its image."""
        return self._through(self.place)

    @property
    def layer_name(self) -> str:
        """What the layer is called; the channel is named if there are several."""
        if not self.case.further:
            return _LAYER
        channel = self.case.channels[self.place]
        return f"{_LAYER}: {channel.name}{' (missing)' if channel.image is None else ''}"

    @property
    def levels(self) -> Limits:
        """The grey levels of the channel on view: its own, or those that were chosen."""
        return self._levels.get(self.place, self._own(self.place))

    def keep(self, levels: Limits) -> None:
        """Keep the grey levels of the channel on view."""
        self._levels[self.place] = levels

    def go_on(self) -> None:
        """The next channel is on view; after the last one, the first."""
        self.place = (self.place + 1) % len(self.names)

    def _own(self, place: int) -> Limits:
        return contrast_limits(self._through(place))

    def _through(self, place: int) -> Case:
        image = self.case.channels[place].image
        if image is None:  # black: the case lacks this channel
            return replace(self.case, intensity=_NOTHING)
        return replace(
            self.case, image_path=image.path, source=image.source, intensity=image.intensity
        )
