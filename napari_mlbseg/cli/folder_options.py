"""Options that say how folders and label files are read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Frame = Annotated[
    int | None, typer.Option(min=0, help="Frame or channel of files with several, from 0.")
]
Series = Annotated[
    str | None, typer.Option(help="DICOM series of folders with several: a name, largest, or all.")
]
PairNames = Annotated[
    str | None,
    typer.Option("--pair", help="Names of images and labels: 'volume-*=segmentation-*'."),
]
PairTable = Annotated[
    Path | None,
    typer.Option(
        "--table",
        help="CSV file with the columns case, image (or image:NAME for each channel), labels.",
    ),
]
ChannelNames = Annotated[
    str | None,
    typer.Option(
        "--channels",
        help="Channels of a case, in order: 'T1=*_t1.nii.gz,FLAIR=*_flair.nii.gz', or 'frames' "
        "('frames:T2,ADC') for the frames of a file.",
    ),
]
FillMissing = Annotated[
    bool,
    typer.Option(
        "--fill-missing-channels",
        help="Take cases that lack a channel (but the first); the network sees zeros there.",
    ),
]
FolderLayout = Annotated[
    Literal["auto", "flat", "patient-folders"],
    typer.Option(
        "--layout", help="Whether folders inside are searched; auto: if no image lies beside them."
    ),
]
OneHot = Annotated[
    bool, typer.Option("--one-hot", help="Each frame of a label file is the mask of one class.")
]
Renumber = Annotated[
    str | None, typer.Option(help="Labels in files and the classes they stand for: '255=1,4=3'.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show the cases and labels that would be imported.")
]
