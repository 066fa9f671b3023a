"""What each way of storing weights costs and saves."""

import pytest
import torch
from torch import nn

from separation_coreml.compress import compress, transform_constants
from separation_coreml.config import ConvertConfig
from separation_coreml.convert import convert
from separation_coreml.mil import load_program
from separation_coreml.package import size_mb
from separation_coreml.verify import sdr


class Network(nn.Module):
    """A transform whose tables are large enough to be compressed, and a weight that is."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(513, 400)

    def forward(self, x):
        z = torch.stft(x, 8192, 4096, window=torch.hann_window(8192), return_complex=True)
        return self.linear(z.abs()[:, :513].mT)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The network, its input, and its package."""
    torch.manual_seed(0)
    model, x = Network().eval(), torch.randn(1, 20000)
    path = tmp_path_factory.mktemp("compress") / "plain.mlpackage"
    convert(model, (x,), path, input_names=["x"], output_names=["y"])
    return model, x, path


@pytest.mark.parametrize(
    ("quantize", "megabytes", "decibels"),
    [("none", 1.4, 110), ("int8", 0.8, 40), ("palettize4", 0.7, 19), ("prune", 1.15, 7)],
)
def test_weights_are_smaller_and_transforms_exact(tmp_path, converted, quantize, megabytes, decibels):
    import coremltools as ct

    model, x, plain = converted
    path = tmp_path / "m.mlpackage"
    package = ct.models.MLModel(str(plain), skip_model_load=True)
    compress(package, ConvertConfig(quantize=quantize)).save(str(path))
    with torch.no_grad():
        expected = model(x)
    assert sdr(expected, load_program(path).run(x=x)["y"]) > decibels
    assert size_mb(path) < megabytes
    assert len(transform_constants(ct.models.MLModel(str(path), skip_model_load=True))) >= 8


def test_small_convolutions_keep_their_weights(tmp_path):
    import coremltools as ct

    # As those of the first level of MDX-Net, with 9,216 weights: few, and on the way of everything.
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Conv1d(32, 96, 3), nn.ReLU(), nn.Conv1d(96, 96, 3)).eval(),
        torch.randn(1, 32, 50),
    )
    path = tmp_path / "m.mlpackage"
    config = ConvertConfig(quantize="int8")
    convert(model, (x,), path, input_names=["x"], output_names=["y"], config=config)
    package = ct.models.MLModel(str(path), skip_model_load=True)
    (block,) = package.get_spec().mlProgram.functions["main"].block_specializations.values()
    smaller = [
        operation.outputs[0] for operation in block.operations if operation.type.startswith("constexpr")
    ]
    sizes = [[size.constant.size for size in output.type.tensorType.dimensions] for output in smaller]
    assert sizes == [[96, 96, 3]]
