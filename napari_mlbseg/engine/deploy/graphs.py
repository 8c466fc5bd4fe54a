"""The network as a graph that runs without its Python code: torch.export and ONNX.

There is no TorchScript, because torch has deprecated it in favour of `torch.export`.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from napari_mlbseg.engine.deploy.trained import TrainedModel
from napari_mlbseg.errors import UserError

_NAMES_OF_THIS_COMPUTER = ("stack_trace", "nn_module_stack", "source_fn_stack")


def traced(trained: TrainedModel) -> torch.export.ExportedProgram:
    """Trace the network.

    The graph maps ``batch channels y x`` to probabilities, or ``batch channels z y x`` to logits.
    """
    prepared = trained.preparation
    example = torch.zeros(2, prepared.channels, *prepared.size)
    module = trained.network if trained.sees_volumes else trained.averaged()
    any_number = {0: torch.export.Dim("batch", min=1)}
    with _quiet():
        program = torch.export.export(module, (example,), dynamic_shapes=(any_number,))
    for node in program.graph.nodes:
        for name in _NAMES_OF_THIS_COMPUTER:
            node.meta.pop(name, None)
    return program


def write_exported(path: Path, trained: TrainedModel) -> None:
    """Write a ``.pt2`` file, with the description in it, that `torch.export.load` reads."""
    about = json.dumps(trained.description())
    with _quiet():
        torch.export.save(traced(trained), path, extra_files={"model.json": about})


def write_onnx(path: Path, trained: TrainedModel) -> None:
    """Write an ONNX model with the description in its metadata.

    Raises
    ------
    UserError
        If the packages for ONNX are not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401 - the model is checked with it
        import onnxscript  # noqa: F401 - torch writes ONNX with it
    except ImportError as error:
        raise UserError(
            f"ONNX needs the package {error.name}. Install it: pip install 'napari-mlbseg[deploy]'"
        ) from error
    takes, gives = trained.tensor_names
    with _quiet():
        program: Any = torch.onnx.export(
            traced(trained),
            dynamo=True,
            verbose=False,
            input_names=[takes],
            output_names=[gives],
        )
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    model.producer_name = "napari-mlbseg"
    model.producer_version = trained.provenance["software_version"]
    about = {name: json.dumps(value) for name, value in trained.description().items()}
    onnx.helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings that torch's exporters address to their own authors."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
