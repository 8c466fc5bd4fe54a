"""Which device a run uses, and what to do when its memory is full."""

import torch

from napari_mlbseg.errors import UserError


def choose_device(wanted: str) -> torch.device:
    """The device by name; ``auto`` takes CUDA, then MPS, then the CPU."""
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
            f"The device {wanted!r} was asked for, but torch finds only {there} on this computer. "
            "Choose one of these, or 'auto'."
        )
    return torch.device(wanted)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device (or the computer) has no memory left for a batch."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give cached memory back, so that a smaller batch finds room."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
