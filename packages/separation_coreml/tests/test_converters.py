import pytest
import torch
from torch import nn

from separation_coreml.config import ConvertConfig
from separation_coreml.convert import convert
from separation_coreml.mil import load_program


class Recurrent(nn.Module):
    """Two LSTMs, so that the names of their outputs could clash; all three outputs used."""

    def __init__(self, layers, bidirectional, batch_first):
        super().__init__()
        width = 6 * (2 if bidirectional else 1)
        options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
        self.first, self.second = nn.LSTM(5, 6, **options), nn.LSTM(width, 6, **options)

    def forward(self, x):
        x, (hidden, cell) = self.first(x)
        y, _ = self.second(x)
        return y, hidden + cell


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_exported_lstm(tmp_path, layers, bidirectional, batch_first):
    torch.manual_seed(0)
    module, x = Recurrent(layers, bidirectional, batch_first).eval(), torch.randn(3, 4, 5)
    config = ConvertConfig(capture="export")
    path = tmp_path / "lstm.mlpackage"
    convert(module, (x,), path, input_names=["x"], output_names=["y", "last"], config=config)
    found = load_program(path).run(x=x)
    y, state = module(x)
    torch.testing.assert_close(found["y"], y, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["last"], state, rtol=1e-5, atol=1e-6)


def test_an_exported_and(tmp_path):
    class Between(nn.Module):
        def forward(self, x):
            return torch.where((x > 0) & (x < 1), x, -x)

    x = torch.linspace(-2, 2, 9)
    path = tmp_path / "and.mlpackage"
    config = ConvertConfig(capture="export")
    convert(Between(), (x,), path, input_names=["x"], output_names=["y"], config=config)
    torch.testing.assert_close(load_program(path).run(x=x)["y"], Between()(x))
