"""A model as a graph without complex numbers, for coremltools and the ONNX exporters."""

import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from separation_coreml.realize.constants import Constants, Recording
from separation_coreml.realize.mode import RealMode
from separation_coreml.realize.values import Pair, RealizeError, Tall

How: TypeAlias = Literal["trace", "export"]
Program: TypeAlias = "torch.jit.ScriptModule | torch.export.ExportedProgram"

# Rounding in float32 leaves 1e-6 of the largest value or less; a rewrite that went wrong leaves far more.
TOLERANCE = 1e-3


class Realized(nn.Module):
    """A module that computes with real tensors of at most 5 dimensions only.

    It gives the same numbers as the module, for inputs of the shapes it was made with. Its constants
    (windows, DFT tables, positions, masks) are buffers with names that say what they are.

    Args:
        module: Any module whose inputs and outputs are real tensors; it is put into evaluation mode.
        example_inputs: Inputs of the shapes to come. The module is run on them once as it is and once in
            real arithmetic.
        short_sums: Whether means and norms over long spans are taken in two steps, for runtimes that add in
            plain order; see `reductions`.

    Attributes:
        complex_operations: How often each complex operation was replaced.
        expected: What the module itself gave for the example inputs.

    Raises:
        UnsupportedComplexError: If the module uses a complex operation that has no real form here.
        UnsupportedRankError: If it uses tensors of more than 5 dimensions in a way that cannot be regrouped.
        RealizeError: If the result differs from the module's own.
    """

    complex_operations: dict[str, int]
    expected: tuple[Tensor, ...]

    def __init__(
        self, module: nn.Module, example_inputs: Sequence[Tensor], *, short_sums: bool = False
    ) -> None:
        super().__init__()
        self.module = module.eval()
        self.short_sums = short_sums
        self.recording = Recording()
        with torch.no_grad(), _captured():
            # Clones, because a model may write into its input.
            self.expected = _as_tuple(module(*_clones(example_inputs)))
            mode = RealMode(Constants(self.recording, None), short_sums=short_sums)
            found = _as_tuple(mode.run(module, *_clones(example_inputs)))
            self.complex_operations = dict(self.recording.operations)
            for output in found:
                if isinstance(output, Pair | Tall):
                    raise RealizeError(
                        f"output: found a {'complex ' if isinstance(output, Pair) else ''}tensor of shape "
                        f"{list(output.shape)}, expected a real one of at most 5 dimensions"
                    )
            _compare(self.expected, found)
        for index in sorted(self.recording.used):
            self.register_buffer(self.recording.names[index], self.recording.tensors[index].clone())
        # torch.onnx.export puts a module back into the mode it was in, with all that it holds.
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The module's outputs."""
        constants = Constants(self.recording, lambda index: getattr(self, self.recording.names[index]))
        mode = RealMode(constants, short_sums=self.short_sums)
        outputs = _as_tuple(mode.run(self.module, *inputs))
        return outputs[0] if len(outputs) == 1 else outputs


def capture(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    *,
    how: How = "trace",
    further_inputs: Sequence[Sequence[Tensor]] = (),
) -> Program:
    """A module as a graph in which every complex operation has been replaced by real ones.

    Args:
        module: Any module whose inputs and outputs are real tensors, or a `Realized` one.
        example_inputs: Inputs of the shapes that the graph shall take.
        how: `torch.jit.trace`, or `torch.export`.
        further_inputs: Inputs of other shapes that the graph of a trace shall take as well. It can if none
            of its values depends on a size that differs; it is run on them, and compared.

    Returns:
        A TorchScript module or an `ExportedProgram`; no value in it is complex.

    Raises:
        UnsupportedComplexError: See `Realized`.
        UnsupportedRankError: See `Realized`.
        RealizeError: See `Realized`; also if a complex value is left in the graph, or if it holds a size
            that is another one in the further inputs.
    """
    realized = module if isinstance(module, Realized) else Realized(module, example_inputs)
    inputs = _clones(example_inputs)
    program: Program
    with torch.no_grad(), _captured():
        if how == "trace":
            traced = torch.jit.trace(realized, inputs, check_trace=False)  # type: ignore[no-untyped-call]
            program, left = traced, _complex_in_trace(traced)
        else:
            exported = torch.export.export(realized, inputs, strict=False)
            # Functional, but not taken apart: coremltools converts the operations of the model better whole.
            exported = _without_aliases(exported.run_decompositions({}))
            program, left = exported, _complex_in_export(exported)
        if left:
            raise RealizeError(f"{left[0]}: found a complex value in the captured graph, expected none")
        for further in further_inputs:
            _check_shapes(realized.module, program, further)
    return program


def _check_shapes(module: nn.Module, program: Program, inputs: Sequence[Tensor]) -> None:
    expected = _as_tuple(module(*_clones(inputs)))
    try:
        _compare(expected, _as_tuple(program(*_clones(inputs))))
    except (RuntimeError, RealizeError) as error:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in inputs)
        raise RealizeError(
            f"further inputs: found a graph that holds sizes of the first inputs, expected one that gives "
            f"what the model gives for {shapes}"
        ) from error


class _captured:  # noqa: N801 - used like a function
    """What has to be off while a module runs for its graph: warnings, and attention's fused kernel."""

    def __enter__(self) -> None:
        self._fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        self._warnings.__exit__(None, None, None)
        torch.backends.mha.set_fastpath_enabled(self._fast)


def _clones(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(tensor.detach().clone() for tensor in tensors)


def _as_tuple(outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _compare(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> None:
    for index, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one.shape != other.shape:
            raise RealizeError(
                f"output {index}: found the shape {list(other.shape)} in real arithmetic, "
                f"expected {list(one.shape)}"
            )
        scale = float(one.abs().max()) if one.numel() else 0.0
        error = float((one - other).abs().max()) if one.numel() else 0.0
        # Written so that NaN is refused too.
        if not error <= TOLERANCE * max(scale, 1e-12):
            raise RealizeError(
                f"output {index}: found a difference of {error:.2g} in real arithmetic, expected at most "
                f"{TOLERANCE * scale:.2g}"
            )


def _without_aliases(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Second names for a tensor, which functionalisation leaves and coremltools does not know, taken out."""
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
        elif node.op == "call_function" and node.target is torch.ops.aten._assert_tensor_metadata.default:
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


def _complex_in_trace(program: torch.jit.ScriptModule) -> list[str]:
    return [
        node.kind()
        for node in program.inlined_graph.findAllNodes("aten::", True)  # type: ignore[attr-defined]
        for value in node.outputs()
        if "Complex" in str(value.type()) or "complex" in str(value.type())
    ]


def _complex_in_export(program: torch.export.ExportedProgram) -> list[str]:
    values = ((node.name, node.meta.get("val")) for node in program.graph.nodes)
    return [name for name, value in values if isinstance(value, Tensor) and value.is_complex()]
