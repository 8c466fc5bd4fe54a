"""The formats that a trained model can be exported in; does without torch."""

from enum import StrEnum


class ModelFormat(StrEnum):
    """Format of an exported model.

    BUNDLE runs with MONAI, TORCH_EXPORT with torch alone, ONNX with any ONNX runtime.
    """

    BUNDLE = "bundle"
    TORCH_EXPORT = "torch-export"
    ONNX = "onnx"
