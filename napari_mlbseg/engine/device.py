"""Which device a run uses, how precisely it multiplies, and what to do when memory is full."""

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


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """What the network computes in; ``auto`` takes bfloat16 where the device multiplies it.

    Parameters, optimiser, losses and all that is made of logits stay in float32.
    """
    if wanted == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Elsewhere torch emulates it, which is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    return False


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
