"""NIfTI files through nibabel, which names for them a class without the attributes of an image."""

import os

import nibabel as nib


def load_nifti(path: str | os.PathLike[str]) -> nib.Nifti1Image:
    """A NIfTI-1 or NIfTI-2 image."""
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return image
