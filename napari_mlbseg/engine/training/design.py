"""The design of a network: a checkpoint resumes only in a training of the same design."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from napari_mlbseg.engine.data.grid import SampleShape
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.project.records.channels import ONE_CHANNEL

_WIDTHS = {True: "large", False: "small"}


@dataclass(frozen=True)
class NetworkDesign:
    """How a network is built, and what it sees at once.

    Attributes
    ----------
    name
        ``unet`` or ``unet++``.
    large
        Whether it is the wider network, for GPUs.
    class_values
        The label value of each class index; index 0 is the background.
    sample
        Channels, size (pixels) and resolution (mm) of a sample.
    """

    name: str
    large: bool
    class_values: tuple[int, ...]
    sample: SampleShape

    @property
    def sees_volumes(self) -> bool:
        """Whether the network sees patches of volumes rather than slices."""
        return self.sample.dimensions == 3

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for `build_network`."""
        return {
            "name": self.name,
            "channels": self.sample.channels,
            "classes": len(self.class_values),
            "large": self.large,
            "dims": self.sample.dimensions,
        }

    def build(self) -> nn.Module:
        """A fresh network, with random parameters."""
        return build_network(**self.arguments)

    def to_plain(self) -> dict[str, Any]:
        """The design as plain data for a checkpoint; slices are square, so one number is enough."""
        size, resolution_mm = list(self.sample.size), list(self.sample.resolution_mm)
        slices = self.sample.dimensions == 2
        labels, named = self.sample.label_channels, self.sample.channel_names
        return {
            **({"label_channels": labels} if labels else {}),
            **({"channel_names": list(named)} if len(named) > 1 else {}),
            "network": f"{self.name}, {_WIDTHS[self.large]}",
            "class_values": list(self.class_values),
            "dimensions": self.sample.dimensions,
            "channels": self.sample.channels,
            "size": size[0] if slices else size,
            "resolution_mm": resolution_mm[0] if slices else resolution_mm,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "NetworkDesign":
        """The inverse of `to_plain`; bad data raises KeyError, TypeError or ValueError."""
        name, _, width = plain["network"].partition(", ")
        sides = plain["dimensions"]
        sample = SampleShape(
            plain["channels"],
            _each(plain["size"], sides),
            _each(plain["resolution_mm"], sides),
            plain.get("label_channels", 0),
            tuple(plain.get("channel_names", (ONE_CHANNEL,))),
        )
        if sample.dimensions != sides or width not in _WIDTHS.values():
            raise ValueError(f"{plain['network']} for {sides} dimensions")
        return cls(name, width == _WIDTHS[True], tuple(plain["class_values"]), sample)


def _each(found: Any, sides: int) -> tuple[Any, ...]:
    return tuple(found) if isinstance(found, (list, tuple)) else (found,) * sides
