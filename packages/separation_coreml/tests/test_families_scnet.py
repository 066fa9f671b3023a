"""SCNet against a second reading of the paper and the published layout, in float64."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional

from separation_coreml import registry
from separation_coreml.families import scnet
from separation_coreml.families.base import vary
from separation_coreml.onnx_export import export_onnx

LENGTH = 13000
NARROW = {"dims": (8, 16, 24), "layers": 4}


@pytest.fixture(scope="module")
def waveform():
    return 0.2 * torch.randn(2, 2, LENGTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def separator():
    spec = registry.get_spec("scnet")
    spec = dataclasses.replace(spec, options={**spec.options, **NARROW})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = scnet.build(spec, LENGTH).eval()
        vary(network)
    return network.requires_grad_(requires_grad=False)


class Reference:
    """The network as the paper and the published weights describe it, one example at a time."""

    def __init__(self, state):
        self.state = {key: value.double() for key, value in state.items()}

    def get(self, *names):
        return [self.state[name] for name in names]

    def norm(self, x, name):
        weight, bias = self.get(f"{name}.weight", f"{name}.bias")
        shape = (-1,) + (1,) * (x.dim() - 1)
        centred = x - x.mean()
        return centred / (centred.square().mean() + 1e-5).sqrt() * weight.view(shape) + bias.view(shape)

    def conv(self, x, name, **settings):
        weight, bias = self.get(f"{name}.weight", f"{name}.bias")
        function = functional.conv1d if weight.dim() == 3 else functional.conv2d
        return function(x[None], weight, bias, **settings)[0]

    def branch(self, x, name):  # [channels, frames]
        y = self.conv(self.norm(x, f"{name}.0"), f"{name}.1", padding=1)
        first, gate = y.chunk(2)
        y = first * torch.sigmoid(gate)
        y = self.norm(self.conv(y, f"{name}.3", padding=1, groups=len(y)), f"{name}.4")
        return x + self.conv(y * torch.sigmoid(y), f"{name}.6")

    def encode(self, x, level):
        low, both = math.ceil(x.shape[1] * 0.175), math.ceil(x.shape[1] * (0.175 + 0.392))
        parts = [x[:, :low], x[:, low:both], x[:, both:]]
        bands = []
        for index, (part, stride) in enumerate(zip(parts, (1, 4, 16), strict=True)):
            missing = 2 if stride == 1 else math.ceil(part.shape[1] / stride) * stride - part.shape[1]
            before = missing // 2
            zeros = [part.new_zeros(len(x), n, x.shape[2]) for n in (before, missing - before)]
            padded = torch.cat([zeros[0], part, zeros[1]], dim=1)
            y = self.conv(padded, f"encoder.{level}.SDlayer.convs.{index}", stride=(stride, 1))
            rows = []
            for given in y.unbind(1):
                row = given
                for number in range(3 - index):
                    row = self.branch(row, f"encoder.{level}.conv_modules.{index}.layers.{number}")
                rows.append(0.5 * row * (1 + torch.erf(row / math.sqrt(2))))
            bands.append(torch.stack(rows, dim=1))
        skipped = torch.cat(bands, dim=1)
        y = self.conv(skipped, f"encoder.{level}.globalconv", padding=1)
        return y, skipped, [band.shape[1] for band in bands], [part.shape[1] for part in parts]

    def decode(self, x, level, skipped, given, wanted):
        x = x + skipped
        first, gate = self.conv(torch.cat([x, x]), f"decoder.{level}.0.conv", padding=1).chunk(2)
        bands = []
        for index, part in enumerate((first * torch.sigmoid(gate)).split(given, dim=1)):
            name = f"decoder.{level}.1.convtrs.{index}"
            weight, bias = self.get(f"{name}.weight", f"{name}.bias")
            y = functional.conv_transpose2d(part[None], weight, bias, stride=((1, 4, 16)[index], 1))[0]
            start = (y.shape[1] - wanted[index]) // 2
            bands.append(y[:, start : start + wanted[index]])
        return torch.cat(bands, dim=1)

    def lstm(self, rows, name):  # [N, steps, channels]
        outputs = []
        for suffix, order in (("", 1), ("_reverse", -1)):
            w_in, w_state, b_in, b_state = self.get(
                *(f"{name}.{kind}_l0{suffix}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            )
            hidden = memory = rows.new_zeros(len(rows), w_state.shape[1])
            steps = []
            for step in list(rows.unbind(1))[::order]:
                i, f, g, o = (step @ w_in.T + b_in + hidden @ w_state.T + b_state).chunk(4, dim=1)
                memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
                hidden = torch.sigmoid(o) * torch.tanh(memory)
                steps.append(hidden)
            outputs.append(torch.stack(steps[::order], dim=1))
        return torch.cat(outputs, dim=2)

    def dual_path(self, x, name):
        for path, order in enumerate(((2, 1, 0), (1, 2, 0))):
            rows = self.lstm(
                self.norm(x, f"{name}.norm_layers.{path}").permute(order), f"{name}.lstm_layers.{path}"
            )
            weight, bias = self.get(*(f"{name}.linear_layers.{path}.{kind}" for kind in ("weight", "bias")))
            back = rows @ weight.T + bias
            x = x + back.permute((2, 1, 0) if path == 0 else (2, 0, 1))
        return x

    def __call__(self, waveform):
        length = waveform.shape[-1]
        hops = length // 1024 + 1
        hops += hops % 2 == 0
        padded = functional.pad(waveform.double(), (0, hops * 1024 - length))
        padded = functional.pad(padded, (2048, 2048), mode="reflect")
        spectrum = torch.fft.rfft(padded.unfold(1, 4096, 1024)) / 64  # [2, frames, F]
        x = torch.stack([spectrum.real, spectrum.imag], dim=1).flatten(0, 1).transpose(1, 2)
        kept = []
        for level in range(3):
            x, *rest = self.encode(x, level)
            kept.append(rest)
        for index in range(4):
            x = self.dual_path(x, f"separation_net.dp_modules.{index}")
            if index % 2 == 0:
                z = torch.fft.fft(x)[..., : x.shape[2] // 2 + 1] / math.sqrt(x.shape[2])
                x = torch.cat([z.real, z.imag])
            else:
                z = torch.complex(*x.chunk(2))
                x = torch.fft.irfft(z) * math.sqrt(2 * (z.shape[2] - 1))
        for level in range(3):
            x = self.decode(x, level, *kept.pop())
        real, imaginary = x.unflatten(0, (4, 2, 2)).unbind(2)
        frames = torch.fft.irfft(torch.complex(real, imaginary).transpose(2, 3)) * 64
        total, weight = padded.new_zeros(4, 2, padded.shape[1]), padded.new_zeros(padded.shape[1])
        for index in range(frames.shape[2]):
            place = slice(1024 * index, 1024 * index + 4096)
            total[..., place] += frames[:, :, index]
            weight[place] += 1
        return (total / weight)[..., 2048 : 2048 + length]


@torch.inference_mode()
def test_it_is_the_published_network(separator, waveform):
    reference = Reference(separator.state_dict())
    stems = separator(waveform)
    for given, mixture in zip(stems, waveform, strict=True):
        expected = reference(mixture)
        error = (given - expected).square().sum()
        assert 10 * torch.log10(expected.square().sum() / error) > 110
    # Random weights must not make an output so small that a comparison proves nothing.
    assert stems.std(dim=(0, 2, 3)).min() > 1e-3


@torch.inference_mode()
def test_three_steps_are_the_whole_model(separator, waveform):
    # 13 hops, 15 and 13 again: a whole number of hops gets one more, and an even one still one more.
    for length, frames in ((LENGTH, 14), (13 * 1024, 16), (12 * 1024, 14)):
        mixture = functional.pad(waveform, (0, length - LENGTH))
        inputs = separator.analysis(mixture)
        outputs = separator.core(*inputs)
        assert [tuple(value.shape) for value in inputs] == [(2, 4, 2049, frames)]
        assert [tuple(value.shape) for value in outputs] == [(2, 4, 4, 2049, frames)]
        assert not any(value.is_complex() for value in (*inputs, *outputs))
        torch.testing.assert_close(separator.synthesis(outputs, length), separator(mixture))


@pytest.mark.parametrize(("name", "widths"), [("scnet", (32, 64, 128)), ("scnet_large", (64, 128, 256))])
def test_names_and_sizes_are_those_of_the_published_checkpoints(name, widths):
    state = registry.skeleton(name).state_dict()
    assert len(state) == 372
    for key, shape in {
        "encoder.0.SDlayer.convs.2.weight": (widths[0], 4, 16, 1),
        "encoder.0.conv_modules.0.layers.2.1.weight": (widths[0] // 2, widths[0], 3),
        "encoder.2.conv_modules.2.layers.0.3.weight": (widths[2] // 4, 1, 3),
        "encoder.1.globalconv.weight": (widths[1], widths[1], 3, 3),
        "decoder.0.0.conv.weight": (2 * widths[2], 2 * widths[2], 3, 3),
        "decoder.2.1.convtrs.0.weight": (widths[0], 16, 3, 1),
        "separation_net.dp_modules.5.lstm_layers.1.weight_hh_l0_reverse": (8 * widths[2], 2 * widths[2]),
        "separation_net.dp_modules.0.linear_layers.0.weight": (widths[2], 2 * widths[2]),
        "separation_net.dp_modules.0.norm_layers.1.bias": (widths[2],),
    }.items():
        assert tuple(state[key].shape) == shape


def test_checkpoints_are_read(separator, tmp_path):
    spec = registry.get_spec("scnet")
    spec = dataclasses.replace(spec, options={**spec.options, **NARROW})
    state = separator.state_dict()
    # As the authors' program writes them.
    torch.save(
        {"best_state": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "model.th"
    )
    loaded = scnet.build(spec, LENGTH)
    scnet.load(loaded, spec, tmp_path / "model.th")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in state.items())


def test_onnx_runtime_computes_the_same(separator, waveform, tmp_path):
    report = export_onnx(
        separator, (waveform[:1],), tmp_path / "a.onnx", input_names=["waveform"], output_names=["stems"]
    )
    assert report.parity.sdr > 110
