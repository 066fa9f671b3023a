"""The real-arithmetic STFT leaves PyTorch: torch.export, ONNX, TorchScript and Core ML."""

import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from audio_io.realstft import RealISTFT, RealSTFT

N_FFT, HOP_LENGTH, WIN_LENGTH, LENGTH = 96, 30, 80, 1000
PAD_MODES = ["constant", "reflect", "edge"]

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


class RoundTrip(nn.Module):
    """Analysis and synthesis with a mask between, as in a separation model."""

    def __init__(self, pad_mode="reflect"):
        super().__init__()
        self.analysis = RealSTFT(N_FFT, HOP_LENGTH, WIN_LENGTH, pad_mode=pad_mode, normalized=True)
        self.synthesis = RealISTFT(N_FFT, HOP_LENGTH, WIN_LENGTH, normalized=True)

    def forward(self, x):
        real, imag = self.analysis(x)
        mask = torch.sigmoid(real.square() + imag.square())
        return self.synthesis(mask * real, mask * imag)


def noise(length=LENGTH, seed=0):
    return torch.randn(1, 2, length, generator=torch.Generator().manual_seed(seed))


def assert_close(found, reference):
    found, reference = torch.as_tensor(found), torch.as_tensor(reference)
    assert found.shape == reference.shape
    assert (found - reference).abs().max() < 1e-5 * reference.abs().max()


def exported(module, x):
    return torch.export.export(module.eval(), (x,), dynamic_shapes=({2: torch.export.Dim.DYNAMIC},))


def traced(module, x):
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        return torch.jit.trace(module.eval(), x)


def test_torch_export_keeps_the_length_dynamic_and_has_no_complex_tensor():
    module = RoundTrip()
    program = exported(module, noise()).run_decompositions()
    values = [
        node.meta["val"] for node in program.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)
    ]
    assert len(values) > 20
    assert not any(value.is_complex() for value in values)
    for length in (LENGTH, 777):
        assert_close(program.module()(noise(length)), module(noise(length)))


def test_jit_trace_is_silent_and_has_no_complex_tensor():
    module = RoundTrip()
    graph = traced(module, noise())
    assert_close(graph(noise(seed=1)), module(noise(seed=1)))
    assert "complex" not in str(graph.inlined_graph).lower()


@pytest.mark.parametrize("pad_mode", PAD_MODES)
def test_onnx_runtime_computes_the_same(pad_mode, tmp_path):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    module = RoundTrip(pad_mode)
    torch.onnx.export(exported(module, noise()), dynamo=True, verbose=False).save(
        tmp_path / "round_trip.onnx"
    )
    model = onnx.load(tmp_path / "round_trip.onnx")
    onnx.checker.check_model(model, full_check=True)
    types = {
        value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    assert onnx.TensorProto.FLOAT in types
    assert not types & {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    assert not {"DFT", "STFT", "ScatterND", "Loop"} & {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(tmp_path / "round_trip.onnx", providers=["CPUExecutionProvider"])
    for length in (LENGTH, 777):
        x = noise(length, seed=1)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert_close(found, module(x))


def core_ml(source, **arguments):
    coremltools = pytest.importorskip("coremltools")
    return coremltools.convert(
        source,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS17,
        compute_precision=coremltools.precision.FLOAT32,
        **arguments,
    )


def core_ml_round_trip(capture, pad_mode):
    coremltools = pytest.importorskip("coremltools")
    module = RoundTrip(pad_mode)
    if capture == "export":
        return core_ml(torch.export.export(module.eval(), (noise(),)).run_decompositions({}))
    return core_ml(traced(module, noise()), inputs=[coremltools.TensorType(name="x", shape=(1, 2, LENGTH))])


@pytest.mark.skipif(sys.platform == "win32", reason="coremltools has no Windows build")
@pytest.mark.parametrize(
    ("capture", "pad_mode"), [*(("trace", mode) for mode in PAD_MODES), ("export", "reflect")]
)
def test_core_ml_program_has_no_complex_operation(capture, pad_mode):
    function = core_ml_round_trip(capture, pad_mode)._mil_program.functions["main"]
    assert [output.shape for output in function.outputs] == [(1, 2, 33 * HOP_LENGTH)]
    assert {"matmul", "pad"} <= {operation.op_type for operation in function.operations}
    assert not [
        operation.op_type for operation in function.operations if operation.op_type.startswith("complex")
    ]
    variables = [output for operation in function.operations for output in operation.outputs]
    assert max(len(variable.shape) for variable in variables if hasattr(variable, "shape")) <= 5
    assert not any("complex" in str(variable.sym_type) for variable in variables)


@pytest.mark.mac
@pytest.mark.skipif(sys.platform != "darwin", reason="only macOS can run a Core ML program")
@pytest.mark.parametrize("pad_mode", PAD_MODES)
def test_core_ml_computes_the_same(pad_mode):
    model = core_ml_round_trip("trace", pad_mode)
    (found,) = model.predict({"x": noise(seed=1).numpy()}).values()
    assert_close(np.asarray(found), RoundTrip(pad_mode)(noise(seed=1)))
