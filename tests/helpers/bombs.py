"""Small files that ask for far more than they hold, and the memory that reading them takes."""

import gzip
import struct
import subprocess
import sys
import zlib
from pathlib import Path

READ = """
import resource, sys
from pathlib import Path

# What must not happen must not take the computer down either.
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

import numpy, zarr, h5py, tifffile, pydicom, nibabel
from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import open_image

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

path = Path(sys.argv[1])
before = peak()
try:
    if len(sys.argv) > 2:
        from napari_mlbseg.project.importing.cohort import make_study

        make_study(Path(sys.argv[2]), path)[0].close()
    else:
        for _ in open_image(path).slabs():
            pass
    said = "read"
except UserError as error:
    said = str(error)
print(peak() - before, said)
"""


def read(path: Path, *study: Path) -> tuple[int, str]:
    """MB of memory that reading (or importing) a file took at most, and what came of it."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), *map(str, study)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    taken, _, said = done.stdout.strip().partition(" ")
    return int(taken), said


def gzip_zeros(megabytes: int) -> bytes:
    """Parts one after the other, as gzip allows."""
    part = gzip.compress(bytes(1 << 26), 9, mtime=0)
    return part * (megabytes // 64)


def deflated_zeros(megabytes: int, *, wbits: int = 15) -> bytes:
    """One stream of blocks of which none refers to another one."""
    pack = zlib.compressobj(9, wbits=wbits)
    first = pack.compress(bytes(1 << 26)) + pack.flush(zlib.Z_FULL_FLUSH)
    again = pack.compress(bytes(1 << 26)) + pack.flush(zlib.Z_FULL_FLUSH)
    return first + again * (megabytes // 64 - 1) + pack.flush(zlib.Z_FINISH)


def nifti_header(shape: tuple[int, int, int], code: int = 2, bits: int = 8) -> bytes:
    """Of a NIfTI-1 file; 2 is uint8, 4 is int16."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<hh", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *(float(k == row) for k in range(4)))
    header[344:348] = b"n+1\0"
    return bytes(header)
