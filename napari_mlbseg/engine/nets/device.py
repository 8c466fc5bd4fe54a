"""The device of a run, its precision, and what to do when its memory is full."""

import ctypes
import gc
from contextlib import suppress

import torch

from napari_mlbseg.errors import UserError

CACHE_BYTES = 512 * 2**20
CACHED_SHARE_OF_GPU = 0.25
"""Share of the GPU memory free at the start of a run; a cohort that fits is read once."""


def choose_device(wanted: str) -> torch.device:
    """Choose a device by name; ``auto`` takes CUDA, then MPS, then the CPU."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[wanted]:
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise UserError(
            f"The settings ask for the device {wanted!r}, but torch finds only {there} on this "
            "computer. Choose one of these, or 'auto'."
        )
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """Choose the number format; ``auto`` takes bfloat16 if the device supports it in hardware.

    Parameters, optimiser, losses and everything computed from logits stay in float32.
    """
    if wanted == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return False


def cache_bytes(device: torch.device) -> int:
    """Bytes of a study's data that are cached on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * CACHED_SHARE_OF_GPU)
    return CACHE_BYTES


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device (or the computer) ran out of memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Free cached memory, so that a smaller batch finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def release_all_memory() -> None:
    """Give the memory of a finished run back to the system, for other programs.

    glibc keeps what a thread has freed, for later threads that may never need it: without this,
    each of a hundred short runs left some megabytes behind.
    """
    with suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()
