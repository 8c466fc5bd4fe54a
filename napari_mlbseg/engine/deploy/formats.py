"""What a trained model can be exported as; knows no torch."""

from enum import StrEnum


class ModelFormat(StrEnum):
    """BUNDLE runs with MONAI, TORCH_EXPORT with torch alone, ONNX with any ONNX runtime."""

    BUNDLE = "bundle"
    TORCH_EXPORT = "torch-export"
    ONNX = "onnx"
