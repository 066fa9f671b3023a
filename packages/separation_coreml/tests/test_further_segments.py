"""Packages that take inputs of several lengths, which are enumerated."""

import dataclasses

import pytest
import torch
from torch import nn

from audio_io.errors import ConfigError
from separation_coreml import registry
from separation_coreml.cli import main
from separation_coreml.config import ConvertConfig
from separation_coreml.convert import convert
from separation_coreml.convert_model import convert_model, prepare
from separation_coreml.mil import load_program
from separation_coreml.realize.capture import capture
from separation_coreml.realize.values import RealizeError
from separation_coreml.verify import sdr

# What to change in the options of a model, so that little is computed.
NARROW = {
    "small": {"width": 8, "narrow": 16},
    "mdx_net_bass": {"network": {"bins": 512, "growth": 8, "levels": 2}},
    "uvr_main": {"network": {"bins": 3072, "growth": 8, "levels": 2}},
    "mdx23c": {"network": {"width": 8, "growth": 4, "levels": 3}},
}


@pytest.mark.parametrize("name", NARROW)
def test_the_core_of_a_network_of_convolutions_takes_each_of_its_lengths(monkeypatch, tmp_path, name):
    spec = registry.get_spec(name)
    changed = dataclasses.replace(spec, options={**spec.options, **NARROW[name]})
    monkeypatch.setitem(registry.MODELS, name, changed)
    settings = {"io": "core", "weights": "random", "segment_seconds": 0.5, "further_segments": (0.3, 0.9)}
    convert_model(name, tmp_path / "x.mlpackage", **settings)
    program = load_program(tmp_path / "x.mlpackage")
    separator = registry.build(name, weights="random", segment_seconds=0.5)
    lengths = [int(text) for text in program.metadata["segments"].split(",")]
    assert lengths == [22050, 13230, 39690]
    spectrograms = [separator.analysis(0.1 * torch.randn(1, 2, length))[0] for length in lengths]
    assert program.inputs[0].shapes == tuple(tuple(each.shape) for each in spectrograms)
    assert program.inputs[0].default == tuple(spectrograms[0].shape)
    for spectrogram in spectrograms:
        found = program.run(spectrogram=spectrogram)["spectrograms"]
        assert sdr(separator.core(spectrogram)[0], found) >= 110
    with pytest.raises(ConfigError, match="spectrogram: found the shape"):
        program.run(spectrogram=spectrograms[0][..., :-1])


def test_verify_compares_at_each_length(tmp_path, capsys):
    path = tmp_path / "small.mlpackage"
    command = ["convert", "small", "-o", str(path), "--io", "core", "--segment", "0.2"]
    assert main([*command, "--further-segments", "0.1,0.3", "--quantize", "int8"]) == 0
    assert main(["verify", str(path), "--model", "small", "--threshold", "20"]) == 0
    printed = capsys.readouterr().out
    assert "noise: SDR" in printed
    assert "noise of 4410 samples: SDR" in printed
    assert "noise of 13230 samples: SDR" in printed


def test_a_pitch_tracker_takes_other_numbers_of_frames(tmp_path, capsys):
    path = tmp_path / "tiny.mlpackage"
    command = ["convert", "crepe-tiny", "-o", str(path), "--segment", "0.05"]
    assert main([*command, "--further-segments", "0.01,0.02"]) == 0
    assert load_program(path).inputs[0].shapes == ((5, 1024), (1, 1024), (2, 1024))
    assert main(["verify", str(path), "--model", "crepe-tiny"]) == 0
    assert "noise of the shape [1, 1024]: SDR" in capsys.readouterr().out


def test_lengths_that_become_the_same_number_of_frames_are_one_shape(tmp_path):
    convert(
        nn.ReLU(),
        (torch.zeros(1, 4),),
        tmp_path / "x.mlpackage",
        input_names=("x",),
        output_names=("y",),
        further_inputs=((torch.zeros(1, 4),),),
    )
    assert load_program(tmp_path / "x.mlpackage").inputs[0].shapes == ()


class HoldsItsLength(nn.Module):
    def forward(self, x):
        return x.reshape(2, x.shape[-1] // 2).sum(0) / x.shape[-1]


def test_a_graph_that_holds_its_length_is_refused():
    with pytest.raises(RealizeError, match=r"what the model gives for \[12\]"):
        capture(HoldsItsLength(), (torch.randn(8),), further_inputs=((torch.randn(12),),))


def test_models_that_hold_their_length_are_refused_before_anything_is_built(tmp_path, capsys):
    target = str(tmp_path / "x.mlpackage")
    assert main(["convert", "htdemucs", "-o", target, "--further-segments", "2"]) == 2
    assert "found htdemucs with io waveform, expected io core of a network of" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="spleeter_2stems with io core"):
        prepare("spleeter_2stems", io="core", weights="random", further_segments=(1.0,))


def test_settings_that_are_no_lengths(tmp_path, capsys):
    target = str(tmp_path / "x.mlpackage")
    assert main(["convert", "small", "-o", target, "--io", "core", "--further-segments", "1,x"]) == 2
    assert "expected lengths in s with commas between" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="lengths above 0 s"):
        prepare("small", io="core", further_segments=(float("nan"),))
    with pytest.raises(ConfigError, match="found 441 samples, expected at least 2049 samples for small"):
        prepare("small", io="core", further_segments=(0.01,))
    with pytest.raises(ConfigError, match="a module of one input"):
        convert(
            nn.Bilinear(2, 2, 2),
            (torch.zeros(1, 2), torch.zeros(1, 2)),
            target,
            input_names=("a", "b"),
            output_names=("y",),
            further_inputs=((torch.zeros(2, 2), torch.zeros(2, 2)),),
        )
    with pytest.raises(ConfigError, match="capture: found 'export'"):
        convert_model(
            "small",
            target,
            io="core",
            segment_seconds=0.2,
            further_segments=(0.1,),
            config=ConvertConfig(capture="export"),
        )
