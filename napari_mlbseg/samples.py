"""Generated phantom patients, with true labels and with rough labels that need correction.

An organ (1) with a lesion (2) inside lies in a body among structures of the same brightness, under
a bias field and noise, so that neither a threshold nor brightness alone separates them. Size,
position, shape and contrast differ from case to case.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.volume import Geometry

SHAPE: Final = (24, 96, 88)
SPACING_MM: Final = (3.0, 1.0, 1.0)

_ORIENTATIONS: Final = ("RAS", "LPS", "LAS", "PIR", "ASL")
_RAS_OF_CODE: Final = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
_TOWARDS_RAS: Final = "RAS"
_DISTRACTORS: Final = 5

_NIFTI: Final[Any] = Nifti1Image  # nibabel does not annotate it

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Phantom:
    """One phantom patient in the display frame (z y x).

    Attributes
    ----------
    image
        int16 intensities.
    truth, rough
        uint8 labels: 0 background, 1 organ, 2 lesion. The rough labels have a Dice of about 0.6 to
        0.8 per class against the truth.
    """

    image: NDArray[np.int16]
    truth: NDArray[np.uint8]
    rough: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float] = SPACING_MM


@dataclass(frozen=True)
class PhantomCohort:
    """Folders of NIfTI files with equal names: images, rough labels, and the truth."""

    images: Path
    labels: Path
    truth: Path


def phantom_volume(seed: int) -> Phantom:
    """One phantom of 24 x 96 x 88 voxels of 3 x 1 x 1 mm; the same seed gives the same phantom."""
    rng = np.random.default_rng(seed)
    points = _warped(rng, _grid_mm())
    centre = np.array([rng.uniform(-5, 5), rng.uniform(-6, 6), rng.uniform(-12, 2)])
    radii = np.array([24.0, 22.0, 18.0]) * rng.uniform(0.85, 1.15, 3)
    organ = _ellipsoid(points, centre, radii)
    inside = centre + radii * rng.uniform(-0.35, 0.35, 3)
    lesion = _ellipsoid(points, inside, np.array([13.0, 9.0, 8.0]) * rng.uniform(0.85, 1.15, 3))
    lesion &= organ
    truth = np.where(lesion, 2, organ).astype(np.uint8)
    image = _image(rng, points, truth)
    rough = _corrupted(rng, organ).astype(np.uint8)
    rough[_corrupted(rng, lesion)] = 2
    return Phantom(image, truth, rough)


def make_phantom_cohort(folder: Path, *, cases: int = 4, seed: int = 0) -> PhantomCohort:
    """Write phantoms as ``phantom_01.nii.gz`` and so on, slightly oblique, variously oriented.

    >>> cohort = make_phantom_cohort(Path("phantoms"), cases=1)
    >>> [path.name for path in cohort.images.iterdir()]
    ['phantom_01.nii.gz']
    """
    cohort = PhantomCohort(folder / "images", folder / "labels", folder / "truth")
    for path in (cohort.images, cohort.labels, cohort.truth):
        path.mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        phantom = phantom_volume(seed * 1009 + number)
        geometry = _geometry(number)
        name = f"phantom_{number + 1:02d}.nii.gz"
        _write(cohort.images / name, phantom.image, geometry)
        _write(cohort.labels / name, phantom.rough, geometry)
        _write(cohort.truth / name, phantom.truth, geometry)
    return cohort


# --- anatomy --------------------------------------------------------------------------------------


def _grid_mm() -> NDArray[np.float64]:
    """Positions in mm from the centre, shape (3, z, y, x)."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(SHAPE, SPACING_MM, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def _warped(rng: np.random.Generator, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions moved by a few smooth waves of up to 3 mm each."""
    moved = points.copy()
    for axis in range(3):
        for _ in range(3):
            wave = rng.normal(size=3)
            wave *= 2 * np.pi / rng.uniform(30, 70) / np.linalg.norm(wave)
            phase = np.tensordot(wave, points, axes=1) + rng.uniform(0, 2 * np.pi)
            moved[axis] += rng.uniform(1, 3) * np.sin(phase)
    return moved


def _ellipsoid(
    points: NDArray[np.float64], centre: NDArray[np.float64], radii: NDArray[np.float64]
) -> Mask:
    scaled = (points - centre[:, None, None, None]) / radii[:, None, None, None]
    return np.asarray(np.square(scaled).sum(axis=0) < 1)


def _image(
    rng: np.random.Generator, points: NDArray[np.float64], truth: NDArray[np.uint8]
) -> NDArray[np.int16]:
    body = _ellipsoid(points, np.zeros(3), np.array([60.0, 44.0, 40.0]))
    brightness = np.array([110.0, 165.0, 215.0]) * rng.uniform(0.95, 1.05, 3)
    clean = np.where(body, brightness[truth], 10.0)
    for number in range(_DISTRACTORS):
        angle = 2 * np.pi * number / _DISTRACTORS + rng.uniform(-0.3, 0.3)
        centre = np.array([rng.uniform(-25, 25), 34 * np.sin(angle), 31 * np.cos(angle)])
        other = _ellipsoid(points, centre, rng.uniform(6, 11, 3) * [1.6, 1, 1])
        clean[other & body & (truth == 0)] = brightness[1 + number % 2]
    clean = ndimage.gaussian_filter(clean, (0.2, 0.7, 0.7))
    slope = rng.normal(size=3)
    slope *= 0.006 / np.linalg.norm(slope)
    bias = 1 + np.tensordot(slope, points, axes=1)
    noise = rng.normal(0, 4, SHAPE) + ndimage.gaussian_filter(rng.normal(0, 20, SHAPE), (0, 1, 1))
    return np.asarray(np.rint(clean * bias + noise), dtype=np.int16)


# --- rough labels ---------------------------------------------------------------------------------


def _corrupted(rng: np.random.Generator, truth: Mask) -> Mask:
    """A mask with the mistakes of a careless annotator, made by the recipe of L2B.

    It is rotated about the centre of the image by up to 20 degrees, half of its slices become
    ellipses, and it is dilated in some slices and eroded in others, just far enough to bring the
    Dice close to a value drawn between 0.68 and 0.78.
    """
    angle = rng.uniform(6, 20) * rng.choice([-1, 1])
    target = rng.uniform(0.68, 0.78)
    turned = ndimage.rotate(truth, angle, axes=(1, 2), order=0, reshape=False)
    while _dice(turned, truth) < target:
        angle *= 0.8
        turned = ndimage.rotate(truth, angle, axes=(1, 2), order=0, reshape=False)
    depth = np.array([_inside_distance(s) for s in _some_ellipses(rng, turned)])
    waves = np.sin(2 * np.pi * np.arange(len(truth)) / rng.uniform(6, 12) + rng.uniform(0, 6))
    growth = np.where(np.abs(waves) < 0.3, 0.3, waves)[:, None, None]
    tries = [depth + amount * growth > 0 for amount in np.linspace(0, 16, 65)]
    return min(tries, key=lambda mask: abs(_dice(mask, truth) - target))


def _some_ellipses(rng: np.random.Generator, mask: Mask) -> Mask:
    """The mask with ellipses of equal moments in half of its groups of four slices."""
    chosen = np.repeat(rng.permutation(np.arange(-(-len(mask) // 4)) % 2 == 0), 4)
    out = mask.copy()
    for index in np.flatnonzero(chosen[: len(mask)] & (mask.sum(axis=(1, 2)) > 20)):
        where = np.argwhere(mask[index])
        offset = np.indices(mask.shape[1:]).reshape(2, -1).T - where.mean(axis=0)
        shape = np.linalg.inv(4 * np.cov(where.T) + np.eye(2) * 0.1)
        inside = np.einsum("pi,ij,pj->p", offset, shape, offset) < 1
        out[index] = inside.reshape(mask.shape[1:])
    return out


def _inside_distance(mask: Mask) -> NDArray[np.float64]:
    """Distance in voxels to the edge of a 2-D mask, negative outside."""
    if not mask.any():
        return np.full(mask.shape, -np.inf)
    inner = ndimage.distance_transform_edt(mask)
    outer = ndimage.distance_transform_edt(~mask)
    return np.asarray(inner - outer, dtype=np.float64)


def _dice(a: Mask, b: Mask) -> float:
    voxels = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / max(voxels, 1)


# --- files ----------------------------------------------------------------------------------------


def _geometry(number: int) -> Geometry:
    """A slightly oblique geometry in one of the orientations."""
    code = _ORIENTATIONS[number % len(_ORIENTATIONS)]
    matrix = np.zeros((3, 3))
    shape = []
    for axis, letter in enumerate(code):
        towards = _RAS_OF_CODE[letter]
        sign = 1 if letter == _TOWARDS_RAS[towards] else -1
        matrix[towards, axis] = sign * SPACING_MM[2 - towards]
        shape.append(SHAPE[2 - towards])
    affine = np.eye(4)
    affine[:3, :3] = _rotation(4.0 + number, -2.5) @ matrix
    affine[:3, 3] = affine[:3, :3] @ -(np.array(shape) - 1) / 2 + [3.5 * number, -12.0, 40.0]
    return Geometry.from_affine((shape[0], shape[1], shape[2]), affine)


def _rotation(about_x_degrees: float, about_z_degrees: float) -> NDArray[np.float64]:
    cx, sx = np.cos(np.deg2rad(about_x_degrees)), np.sin(np.deg2rad(about_x_degrees))
    cz, sz = np.cos(np.deg2rad(about_z_degrees)), np.sin(np.deg2rad(about_z_degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_z)


def _write(path: Path, voxels: NDArray[Any], geometry: Geometry) -> None:
    image: Any = _NIFTI(geometry.to_file(voxels), np.array(geometry.affine))
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
