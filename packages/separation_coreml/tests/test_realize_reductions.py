import pytest
import torch
from torch import nn

from separation_coreml.onnx_export import export_onnx
from separation_coreml.realize.capture import Realized
from separation_coreml.realize.constants import Constants, Recording
from separation_coreml.realize.mode import RealMode

PRIME = 1009

CASES = {
    "mean of all": lambda x: x.mean(),
    "mean of one axis": lambda x: x.mean(-1),
    "mean of three axes": lambda x: x.mean(dim=(1, 2, 3), keepdim=True),
    "mean of the first axis": lambda x: x.flatten(0, 2).T.reshape(PRIME, -1).mean(0, keepdim=True),
    "std": lambda x: x.std(dim=(1, 2, 3), keepdim=True),
    "std, biased": lambda x: torch.std(x, 3, unbiased=False),
    "std with a correction": lambda x: torch.std(x, 3, correction=0),
    "std of all": lambda x: x.std(),
    "var": lambda x: x.var((2, 3)),
    "var, biased": lambda x: torch.var(x, False),
    "group norm": lambda x: nn.functional.group_norm(
        x, 2, torch.arange(4.0).double(), torch.ones(4).double()
    ),
    "group norm without scale": lambda x: nn.functional.group_norm(x, 4, eps=0.1),
    "instance norm": lambda x: nn.functional.instance_norm(
        x, weight=torch.arange(4.0).double(), bias=torch.ones(4).double()
    ),
    "instance norm without scale": lambda x: nn.functional.instance_norm(x, eps=0.1),
    "short group norm": lambda x: nn.functional.group_norm(x[..., :7], 2, torch.arange(4.0).double()),
    "instance norm of known statistics": lambda x: nn.functional.instance_norm(
        x, torch.arange(4.0).double(), torch.ones(4).double(), use_input_stats=False
    ),
    "short spans are left to torch": lambda x: x[..., :7].mean(-1) + x[..., :7].std(-1),
}


@pytest.mark.parametrize("name", CASES)
def test_in_two_steps_equals_torch(name):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, PRIME, dtype=torch.float64) + 3
    found = RealMode(Constants(Recording(), None), short_sums=True).run(CASES[name], x.clone())
    torch.testing.assert_close(found, CASES[name](x), rtol=1e-12, atol=1e-12)


class Standardised(nn.Module):
    def forward(self, x):
        dims = (1, 2)
        return (x - x.mean(dims, keepdim=True)) / x.std(dims, keepdim=True)


# What ONNX Runtime's own operations reach here: 107, 121 and 107 dB.
@pytest.mark.parametrize("norm", [nn.GroupNorm(1, 8), nn.InstanceNorm1d(8, affine=True), Standardised()])
def test_onnx_runtime_is_exact_over_long_spans(tmp_path, norm):
    torch.manual_seed(0)
    x = torch.randn(1, 8, 64001) * 3 + 5
    report = export_onnx(norm.eval(), (x,), tmp_path / "norm.onnx", input_names=["x"], output_names=["y"])
    assert report.parity.sdr > 125


def test_core_ml_keeps_torchs_own_norms():
    x = torch.randn(1, 8, 64, 100)
    traced = torch.jit.trace(Realized(nn.GroupNorm(1, 8), (x,)), x, check_trace=False)
    assert "group_norm" in str(traced.inlined_graph)
