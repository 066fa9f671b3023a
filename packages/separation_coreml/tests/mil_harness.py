"""Cases of single operations, and the one program that holds them all.

All cases of one opset are operations of one program, converted without any graph pass, so that each operation
arrives in the package as it was written.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from separation_coreml.mil import load_program

TYPES = {"float32": types.fp32, "int32": types.int32}
RNG = np.random.default_rng(0)


@dataclasses.dataclass
class Case:
    kind: str
    build: Callable[..., Any]
    expected: Callable[..., Any]
    inputs: tuple
    opset: str = "iOS17"
    folds: bool = True
    label: str = ""

    @property
    def name(self):
        return f"{self.kind}{'_' + self.label if self.label else ''}_{self.opset}"


def case(kind, inputs, parameters, expected, *, label="", opset="iOS17", folds=True, first="x"):
    """An operation whose first inputs are computed and whose other parameters are constants."""
    names = (first,) if isinstance(first, str) else first
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)

    def build(*values):
        return getattr(mb, kind)(**dict(zip(names, values, strict=True)), **parameters)

    return Case(kind, build, expected, inputs, opset, folds, label)


def values(kind, inputs, parameters, expected, **options):
    """An operation on several tensors at once."""
    return Case(kind, lambda *v: getattr(mb, kind)(values=v, **parameters), expected, inputs, **options)


def rand(*shape, low=-2.0, high=2.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*shape, low=0, high=5):
    return RNG.integers(low, high, shape).astype(np.int32)


def convert(program, path, opset, pipeline=None):
    model = ct.convert(
        program,
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=getattr(ct.target, opset),
        pass_pipeline=pipeline or ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def run_cases(cases, folder):
    """The outputs of all cases by name, what coremltools folds them to, and the kinds that were run."""
    outputs, folded, kinds = {}, {}, set()
    for opset in sorted({item.opset for item in cases}):
        chosen = [item for item in cases if item.opset == opset]
        assert len({item.name for item in chosen}) == len(chosen), "case names must differ"
        counts, arrays, specs = {}, {}, []
        for number, item in enumerate(chosen):
            for place, value in enumerate(item.inputs):
                # Inputs are arrays of numbers; conditions and scalars are made of them inside the program.
                array = np.atleast_1d(value.astype(np.int32) if value.dtype == bool else value)
                arrays[f"i{number}_{place}"] = torch.tensor(array)
                specs.append(mb.TensorSpec(array.shape, dtype=TYPES[array.dtype.name]))

        def function(*inputs, chosen=chosen, counts=counts, folded=folded):
            remaining, results = list(inputs), []
            for item in chosen:
                arguments = [remaining.pop(0) for _ in item.inputs]
                for place, value in enumerate(item.inputs):
                    if value.dtype == bool:
                        arguments[place] = mb.cast(x=arguments[place], dtype="bool")
                    if value.ndim == 0:
                        arguments[place] = mb.squeeze(x=arguments[place])
                result = item.build(*arguments)
                result = result if isinstance(result, tuple | list) else (result,)
                counts[item.name] = len(result)
                # Outputs of a model are float32 or int32, and each of its own name.
                for value in result:
                    whole = value.dtype in {types.fp32, types.fp16}
                    results.append(mb.cast(x=value, dtype="fp32" if whole else "int32"))
                if item.folds:
                    folded[item.name] = _fold(item)
            return tuple(results)

        names = list(arrays)
        code = f"lambda {', '.join(names)}: function({', '.join(names)})"
        program = mb.program(input_specs=specs, opset_version=getattr(ct.target, opset))(
            eval(code, {"function": function})
        )
        loaded = load_program(convert(program, folder / f"{opset}.mlpackage", opset))
        results = list(loaded.run(**arrays).values())
        kinds |= {operation.kind for operation in loaded.operations}
        for item in chosen:
            outputs[item.name] = [results.pop(0) for _ in range(counts[item.name])]
    return outputs, folded, kinds


def _fold(item):
    # Copies: the folding of some operations (thresholded_relu) writes into its input.
    result = item.build(*[mb.const(val=value.copy()) for value in item.inputs])
    result = result if isinstance(result, tuple | list) else (result,)
    if any(value.val is None for value in result):
        return None
    return [np.asarray(value.val) for value in result]


def check(item, outputs, folded):
    """Compare one case with its reference and with what coremltools folds it to."""
    expected = item.expected(*[torch.tensor(value) for value in item.inputs])
    expected = expected if isinstance(expected, tuple | list) else (expected,)
    assert len(expected) == len(outputs[item.name])
    for result, reference in zip(outputs[item.name], map(torch.as_tensor, expected), strict=True):
        wanted = reference.float() if reference.is_floating_point() else reference.int()
        torch.testing.assert_close(result, wanted, rtol=2e-6, atol=2e-6)
    for result, constant in zip(outputs[item.name], folded.get(item.name) or (), strict=False):
        assert tuple(result.shape) == constant.shape
        np.testing.assert_allclose(result.numpy(), constant.astype(np.float64), rtol=2e-5, atol=2e-5)
