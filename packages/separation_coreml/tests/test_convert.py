"""Small models of the kinds that separators are made of, converted and run by the interpreter."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audio_io.errors import ConfigError
from separation_coreml.cli import main
from separation_coreml.config import ConvertConfig
from separation_coreml.convert import ConversionError, convert
from separation_coreml.families.base import RmsNorm
from separation_coreml.mil import load_program
from separation_coreml.mil.interpreter import UnknownOperationError
from separation_coreml.mil.ops import OPERATIONS
from separation_coreml.package import atomic_package

N_FFT, HOP = 256, 64


class StftMask(nn.Module):
    """Complex as channels, an LSTM, attention, GroupNorm, GLU, a rank-6 reshape and an assignment."""

    def __init__(self):
        super().__init__()
        bins = 2 * (N_FFT // 2 + 1)
        self.lstm = nn.LSTM(bins, 16, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(32, 2, batch_first=True)
        self.norm = nn.GroupNorm(2, 32)
        self.conv = nn.Conv1d(32, 128, 3, padding=1)
        self.mask = nn.Linear(64, bins)

    def forward(self, x):
        window = torch.hann_window(N_FFT).to(x)
        z = torch.stft(x[0], N_FFT, HOP, window=window, return_complex=True, normalized=True)
        h, _ = self.lstm(z.abs().permute(2, 0, 1).flatten(1)[None])
        h = h + self.attention(h, h, h, need_weights=False)[0]
        h = F.glu(self.conv(F.gelu(self.norm(h.mT))), 1).mT
        mask = torch.sigmoid(self.mask(h)).reshape(-1, 2, N_FFT // 2 + 1).permute(1, 2, 0)
        z = z * mask * torch.exp(1j * z.angle())
        z[:, 0] = 0
        planes = torch.view_as_real(z).permute(0, 3, 1, 2).reshape(1, 4, N_FFT // 2 + 1, -1)
        planes = planes.view(1, 2, 2, 1, N_FFT // 2 + 1, -1).permute(0, 1, 3, 4, 5, 2)
        z = torch.view_as_complex(planes.contiguous())[0, :, 0]
        return torch.istft(z, N_FFT, HOP, window=window, length=x.shape[-1], normalized=True)[None]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return StftMask().eval()


@pytest.fixture(scope="module")
def waveform():
    return 0.1 * torch.randn(1, 2, 2048, generator=torch.Generator().manual_seed(0))


def sdr(found, expected):
    return float(10 * torch.log10(expected.square().sum() / (found - expected).square().sum()))


@pytest.mark.parametrize(
    ("config", "decibels"),
    [
        (ConvertConfig(), 110),
        (ConvertConfig(precision="fp16", target="iOS16", compute_units="cpu_and_ne"), 50),
        (ConvertConfig(precision="mixed"), 52),
        (ConvertConfig(quantize="int8"), 50),
    ],
    ids=lambda value: (
        str(value) if isinstance(value, int) else f"{value.precision} {value.quantize} {value.target}"
    ),
)
def test_a_converted_model_computes_the_same(tmp_path, model, waveform, config, decibels):
    path = tmp_path / "model.mlpackage"
    with torch.no_grad():
        expected = model(waveform)
    assert expected.std() > 0.005
    report = convert(
        model, (waveform,), path, input_names=["waveform"], output_names=["stems"], config=config,
        metadata={"author": "someone", "license": "MIT", "stems": "a"},
    )  # fmt: skip
    program = load_program(path)
    assert sdr(program.run(waveform=waveform)["stems"], expected) > decibels
    assert report.complex_operations["stft"] == report.complex_operations["istft"] == 1
    assert report.operations == len(program.operations) - sum(
        operation.kind.startswith("constexpr") for operation in program.operations
    )
    assert report.size_mb == pytest.approx(
        sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6
    )
    texts = program.metadata
    assert report.parity.sdr == pytest.approx(sdr(program.run(waveform=waveform)["stems"], expected), abs=0.1)
    assert json.loads(texts["parity"])["sdr_db"] == report.parity.sdr
    assert texts["stems"] == "a"
    assert json.loads(texts["conversion"])["target"] == config.target
    assert texts["compute_units"] == config.compute_units


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            32, 2, 64, batch_first=True, norm_first=True, activation="gelu"
        )

    def forward(self, x):
        z = torch.fft.rfft(x)
        return self.layer((z * z.conj()).real.sqrt()[..., 1:])


def test_a_graph_from_torch_export(tmp_path):
    torch.manual_seed(0)
    model, x = Attention().eval(), torch.randn(1, 5, 64)
    config = ConvertConfig(capture="export")
    path = tmp_path / "m.mlpackage"
    report = convert(model, (x,), path, input_names=["x"], output_names=["y"], config=config, parity=False)
    assert report.parity is None
    program = load_program(path)
    assert "parity" not in program.metadata
    with torch.no_grad():
        assert sdr(program.run(x=x)["y"], model(x)) > 110


def test_a_program_that_the_interpreter_does_not_know_is_written_without_parity(tmp_path, monkeypatch):
    monkeypatch.delitem(OPERATIONS, "relu")
    path = tmp_path / "m.mlpackage"
    report = convert(torch.nn.ReLU(), (torch.ones(3),), path, input_names=["x"], output_names=["y"])
    assert report.parity is None
    with pytest.raises(UnknownOperationError, match="not known here: relu"):
        load_program(path)


def test_what_cannot_be_converted_leaves_nothing(tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    path = tmp_path / "odd.mlpackage"
    with pytest.raises(ConversionError, match=r"coremltools: found .*bessel_j0"):
        convert(Odd(), (torch.rand(3),), path, input_names=["x"], output_names=["y"])
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.mlpackage"):
        convert(Odd(), (torch.rand(3),), tmp_path / "odd.onnx", input_names=["x"], output_names=["y"])
    with pytest.raises(ConfigError, match=r"input_names: found 2 names, expected 1"):
        convert(Odd(), (torch.rand(3),), path, input_names=["x", "z"], output_names=["y"])
    (tmp_path / "mine.mlpackage").mkdir()
    with pytest.raises(ConfigError, match="which is there and no package"):
        convert(Odd(), (torch.rand(3),), tmp_path / "mine.mlpackage", input_names=["x"], output_names=["y"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.mlpackage"]


def test_an_interrupted_package_leaves_the_earlier_one(tmp_path):
    target = tmp_path / "model.mlpackage"

    def write(text):
        with atomic_package(target) as temporary:
            temporary.mkdir()
            (temporary / "Manifest.json").write_text(text)
            if text == "broken":
                raise KeyboardInterrupt

    write("first")
    with pytest.raises(KeyboardInterrupt):
        write("broken")
    assert (target / "Manifest.json").read_text() == "first"
    write("second")
    assert (target / "Manifest.json").read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.mlpackage"]


def test_settings_that_cannot_be():
    with pytest.raises(ConfigError, match="precision: found 'fp8', expected one of fp32, fp16, mixed"):
        ConvertConfig(precision="fp8")
    with pytest.raises(ConfigError, match=r"sparsity: found 1\.5"):
        ConvertConfig(sparsity=1.5)


def test_the_command_refuses_before_it_builds(tmp_path, capsys):
    assert main(["convert", "nothing", "-o", str(tmp_path / "a.mlpackage"), "--weights", "random"]) == 2
    assert "model: found 'nothing', expected one of htdemucs" in capsys.readouterr().err
    assert main(["convert", "htdemucs", "-o", str(tmp_path / "a.zip")]) == 2
    assert "expected a name that ends in .mlpackage" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def mixed(module, x, path):
    """The program of a module in mixed precision."""
    config = ConvertConfig(precision="mixed")
    convert(module.eval(), (x,), path, input_names=["x"], output_names=["y"], config=config)
    return load_program(path)


def test_mixed_keeps_the_limit_below_a_norm_in_float32(tmp_path):
    # In float16 a limit of 1e-12 would be 6e-5, or 0, and a silent band a division by it.
    x = torch.randn(1, 64)
    turn = nn.Linear(64, 64, bias=False)
    nn.init.orthogonal_(turn.weight)
    module = nn.Sequential(RmsNorm(64), turn).requires_grad_(requires_grad=False)
    program = mixed(module, x, tmp_path / "a.mlpackage")
    (quiet,) = program.run(x=1e-8 * x).values()
    torch.testing.assert_close(quiet, module(x), atol=1e-2, rtol=0)
    assert not next(iter(program.run(x=0 * x).values())).any()


class Filter(nn.Module):
    """Two layers, and a gain from powers of powers, as in the Wiener filter of Open-Unmix."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        power = (1e-2 * self.layers(x)) ** 2
        squared = power * power
        return x * squared / (squared + 1e-10)


def test_mixed_keeps_what_follows_the_last_layer_in_float32(tmp_path):
    # In float16 the divisor would be 0.
    torch.manual_seed(0)
    module, x = Filter().requires_grad_(requires_grad=False), torch.randn(8, 64)
    program = mixed(module, x, tmp_path / "a.mlpackage")
    assert sdr(program.run(x=x)["y"], module(x)) > 50
    kinds = {"linear": "fp16", "relu": "fp16", "real_div": "fp32"}
    found = {
        operation.kind: operation.outputs[0].type.dtype
        for operation in program.operations
        if operation.kind in kinds
    }
    assert found == {kind: dtype.replace("fp", "float") for kind, dtype in kinds.items()}
