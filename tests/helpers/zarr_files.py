"""OME-Zarr stores for tests."""

from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray


def write_zarr(
    path: Path,
    stored: NDArray[Any],
    version: str = "0.5",
    *,
    axes: str = "zyx",
    unit: str | None = "millimeter",
    **options: Any,
) -> zarr.Group:
    """A store with two levels; the finest is 2 x 0.5 x 0.25 and shifted."""
    new = version == "0.5"
    group = zarr.create_group(path, zarr_format=3 if new else 2, overwrite=True)
    sizes = {"z": 2.0, "y": 0.5, "x": 0.25}
    scale = [sizes.get(a, 1.0) for a in axes]
    datasets = []
    for level, step in enumerate((1, 2)):
        window = tuple(slice(None, None, step) if a in sizes else slice(None) for a in axes)
        data = stored[window]
        array = group.create_array(
            str(level),
            shape=data.shape,
            dtype=data.dtype,
            **({"chunks": tuple(min(3, n) for n in data.shape)} | options),
        )
        array[...] = data
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [
                            s * (step if a in sizes else 1)
                            for s, a in zip(scale, axes, strict=True)
                        ],
                    },
                    {
                        "type": "translation",
                        "translation": [10.0 if a in sizes else 0.0 for a in axes],
                    },
                ],
            }
        )
    kinds = {"t": "time", "c": "channel"}
    described = [
        {"name": a, "type": kinds.get(a, "space")} | ({"unit": unit} if a in sizes and unit else {})
        for a in axes
    ]
    image: dict[str, Any] = {"axes": described, "datasets": datasets, "name": "x"}
    if new:
        group.attrs.put({"ome": {"version": "0.5", "multiscales": [image]}})
    else:
        group.attrs.put({"multiscales": [image | {"version": "0.4"}]})
    return group
