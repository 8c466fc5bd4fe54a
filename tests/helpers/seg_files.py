"""DICOM segmentations for tests, written by highdicom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def write_seg(
    path: Path,
    files: Sequence[Path],
    labels: NDArray[Any],
    kind: str = "BINARY",
    syntax: str = ExplicitVRLittleEndian,
    **options: Any,
) -> Path:
    """A segmentation of labels (columns, rows, slices in the order of the files) by highdicom.

    With a last axis `labels` holds one mask for each segment; masks may overlap.
    """
    sources = [pydicom.dcmread(file) for file in files]
    count = labels.shape[3] if labels.ndim == 4 else int(labels.max())
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"organ {number}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, count + 1)
    ]
    pixels: NDArray[Any] = np.moveaxis(labels, (2, 1, 0), (0, 1, 2)).astype(np.uint8)
    if kind == "FRACTIONAL":
        pixels = np.stack([pixels == n + 1 for n in range(count)], -1).astype(float) * 0.8
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
        **options,
    )
    seg.save_as(path)
    return path
