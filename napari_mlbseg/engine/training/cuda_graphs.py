"""CUDA graphs: a training step launched on the GPU as a whole.

A step is some thousand small kernels, and launching them one by one takes longer than computing
them. A graph records the kernels of a function once, for inputs of given shapes, and launches them
as a whole from then on. This works for pure functions of tensors only: whatever they decide in
Python is fixed when they are recorded.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from napari_mlbseg.engine.nets.device import is_out_of_memory

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

REHEARSALS = 2
"""Ordinary runs before recording, in which libraries choose algorithms and allocate workspace."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    outputs: Any


class Graphs:
    """Runs functions of tensors; records them as CUDA graphs if the device supports that.

    The next call with the same name and shapes overwrites the memory of the results.
    """

    def __init__(self, device: torch.device) -> None:
        self._records = device.type == "cuda"
        self._known: dict[Hashable, _Recording] = {}
        self._pool: Any = None

    def run(self, name: Hashable, function: Callable[..., Result], *inputs: Any) -> Result:
        """Return the result of ``function(*inputs)``.

        Parameters
        ----------
        name
            Identifies the computation, together with the shapes of the inputs.
        inputs
            Tensors, or mappings and sequences of them.
        """
        if not self._records:
            return function(*inputs)
        tensors, structure = pytree.tree_flatten(inputs)
        shapes = tuple((t.shape, t.dtype) for t in tensors)
        key = (name, shapes, tuple(map(type, inputs)))
        if key not in self._known:
            try:
                self._known[key] = self._record(function, tensors, structure)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                logger.warning("%s: kernels are launched one by one on the GPU: %s", name, error)
                self._records = False
                self.forget()
                return function(*inputs)
        recording = self._known[key]
        torch._foreach_copy_(list(recording.inputs), [t.detach() for t in tensors])
        recording.graph.replay()
        outputs: Result = recording.outputs
        return outputs

    def forget(self) -> None:
        """Free the memory of all recordings."""
        self._known.clear()
        self._pool = None

    def _record(
        self, function: Callable[..., Any], tensors: Sequence[Tensor], structure: pytree.TreeSpec
    ) -> _Recording:
        inputs = [t.detach().clone() for t in tensors]
        arguments = pytree.tree_unflatten(inputs, structure)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(REHEARSALS):
                function(*arguments)
        torch.cuda.current_stream().wait_stream(aside)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = function(*arguments)
        return _Recording(graph, inputs, outputs)
