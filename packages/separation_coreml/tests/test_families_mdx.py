"""MDX-Net, the UVR models and MDX23C against the authors' classes, and ONNX files against ONNX Runtime."""

import copy
import dataclasses
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from audio_io.errors import FileError
from separation_coreml import registry
from separation_coreml.checkpoints import fill
from separation_coreml.cli import main
from separation_coreml.families import mdx23c, mdx_net
from separation_coreml.verify import sdr

GOLDENS = Path(__file__).parent / "goldens" / "mdx"
LENGTH = 22050
SMALL = {
    "mdx_net": {"bins": 512, "growth": 6, "levels": 3},
    "uvr_kim_vocal_2": {"bins": 3072, "growth": 6, "levels": 3},
    "mdx23c": {"width": 8, "growth": 4, "levels": 3},
}


@pytest.fixture(scope="module")
def waveform():
    return 0.1 * torch.randn(1, 2, LENGTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def narrow(monkeypatch):
    """Registers narrow models in the place of the published ones, and builds them."""

    def build(name, seed=0, **changes):
        spec = registry.get_spec(name)
        family = "mdx_net" if name.startswith("mdx_net") else name
        options = {**spec.options, "network": {**SMALL[family], **changes}}
        monkeypatch.setitem(registry.MODELS, name, dataclasses.replace(spec, options=options))
        return registry.build(name, weights="random", seed=seed, segment_seconds=0.5)

    return build


# --- the networks ---


def _golden(name):
    golden = np.load(GOLDENS / f"{name}.npz")
    return {key: torch.from_numpy(golden[key]) for key in golden.files}


@torch.inference_mode()
def test_the_network_of_mdx_net_is_that_of_the_authors():
    golden = _golden("mdx_net")
    settings = mdx_net.NetworkSettings(bins=32, growth=3, levels=2, convolutions=2, bottleneck=4)
    network = mdx_net.ConvTdfNet(4, settings).eval()
    given, expected = golden.pop("input"), golden.pop("output")
    fill(network, golden, GOLDENS, title="mdx_net", spare=("window", "freq_pad"))
    torch.testing.assert_close(network(given), expected)
    assert expected.std() > 0.1


@torch.inference_mode()
def test_mdx23c_is_that_of_the_authors_from_waveform_to_stems():
    golden = _golden("mdx23c")
    settings = mdx23c.NetworkSettings(bins=64, bands=2, width=4, growth=2, levels=2, blocks=2, bottleneck=2)
    separator = mdx23c.Mdx23cSeparator(
        ("vocals", "bass", "other"), settings,
        n_fft=128, hop_length=32, sample_rate=44100, channels=2, segment=224, overlap=0.5
    ).eval()  # fmt: skip
    given, expected = golden.pop("input"), golden.pop("output")
    fill(separator.network, golden, GOLDENS, title="mdx23c")
    torch.testing.assert_close(separator(given), expected)
    assert expected.std() > 0.1


@pytest.mark.parametrize("name", [n for n, s in registry.MODELS.items() if s.family in {"mdx_net", "mdx23c"}])
def test_the_official_configuration_has_the_published_size_and_shape(name):
    spec, separator = registry.get_spec(name), registry.skeleton(name)
    assert sum(value.numel() for value in separator.parameters()) == spec.parameters
    assert (separator.stems, separator.segment) == (spec.stems, spec.segment)
    # At the authors' own segment nothing is completed.
    parts = separator.members if isinstance(separator, mdx_net.MdxNetBag) else [separator]
    assert all(part.padded_length(spec.segment) == spec.segment for part in parts)


def test_published_sizes():
    # Files of 4 bytes a parameter, but for the names: Kim_Vocal_2.onnx has 66,759,214 bytes.
    assert 66_759_214 - 4 * registry.get_spec("uvr_kim_vocal_2").parameters in range(20_000)
    assert registry.get_spec("mdx23c").segment == registry.get_spec("uvr_main").segment == 261_120
    assert registry.get_spec("mdx_net").segment == 1024 * (2 * 256 - 1)


@pytest.mark.parametrize("name", ["mdx_net", "mdx_net_bass", "uvr_kim_vocal_2", "mdx23c"])
@torch.inference_mode()
def test_three_steps_are_the_whole_model(name, narrow, waveform):
    separator = narrow(name)
    for mixture in (waveform, waveform[..., :9000].repeat(2, 1, 1)):
        stems = separator(mixture)
        inputs = separator.analysis(mixture)
        outputs = separator.core(*inputs)
        assert len(inputs) == len(separator.core_inputs)
        assert len(outputs) == len(separator.core_outputs)
        assert not any(value.is_complex() for value in (*inputs, *outputs))
        assert max(value.dim() for value in (*inputs, *outputs)) <= 5
        assert stems.shape == (len(mixture), len(separator.stems), 2, mixture.shape[-1])
        deviations = stems.std(dim=(0, 2, 3))
        assert deviations.min() > 1e-3
        assert deviations.max() < 10


@torch.inference_mode()
def test_a_core_that_changes_nothing_gives_the_mixture(narrow, waveform):
    separator = narrow("uvr_kim_vocal_2")
    stems = separator(waveform)
    # The second stem is what is left of the mixture, above the bins of the network too.
    torch.testing.assert_close(stems.sum(1), waveform, atol=1e-5, rtol=0)
    separator.gain = 0.0
    torch.testing.assert_close(separator(waveform)[:, 1], waveform, atol=1e-5, rtol=0)
    (spectrogram,) = separator.analysis(waveform)
    expected = torch.stft(
        waveform[0, 1], 7680, 1024, window=torch.hann_window(7680), pad_mode="reflect", return_complex=True
    )
    inner = slice(4, expected.shape[-1] - 8)
    torch.testing.assert_close(spectrogram[0, 3, :, inner], expected.imag[:, inner], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_bag_gives_what_its_members_give_alone(narrow, waveform):
    bag = narrow("mdx_net")
    for index, stem in enumerate(bag.stems):
        alone = narrow(f"mdx_net_{stem}")
        alone.load_state_dict(bag.members[index].state_dict())
        assert torch.equal(bag(waveform)[:, index], alone(waveform)[:, 0])


@pytest.mark.parametrize("name", ["mdx_net_drums", "mdx23c"])
@torch.inference_mode()
def test_random_weights_do_not_multiply_rounding_and_show_every_depth_and_the_input(name, narrow, waveform):
    separator = narrow(name, levels=5)
    stems = separator(waveform)
    assert sdr(copy.deepcopy(separator).double()(waveform.double()), stems) > 115
    # Of outputs for two noises, what they share is a constant.
    other = separator(waveform.flip(-1))
    assert (stems - other).square().mean() > 0.5 * (stems.square() + other.square()).mean()
    # A wrong layer in the deepest place would be far below the bar of 110 dB.
    weight = next(value for value in separator.network.bottleneck_block.parameters() if value.dim() == 4)
    weight.copy_(weight.flip(0))
    assert sdr(stems, separator(waveform)) < 80


# --- published files ---


def _export(network, path, *, folded, frames=16):
    """An ONNX file in the published layout. The exporter folds norms, in the very module."""
    bins = network.settings.bins
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(network), (torch.zeros(1, 4, bins, frames),), str(path),
            opset_version=13, do_constant_folding=folded, training=mode, dynamo=False,
            input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "batch_size"}, "output": {0: "batch_size"}},
        )  # fmt: skip
    return onnx.load(str(path))


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("changes", [{}, {"bias": True, "convolutions": 2}, {"bottleneck": 0}])
@torch.inference_mode()
def test_a_published_file_is_the_network_that_was_exported(folded, changes, narrow, tmp_path):
    separator = narrow("mdx_net_drums", seed=5, **changes)
    path = tmp_path / "UVR.onnx"
    graph = _export(separator.network, path, folded=folded).graph
    norms = sum(node.op_type == "BatchNormalization" for node in graph.node)
    convolutions = sum(node.op_type == "Conv" for node in graph.node)
    if folded:
        # Those behind linear layers and transposed convolutions are there still.
        assert 0 < norms < convolutions
    else:
        assert norms > convolutions
    # The file says what the network looks like: the registered one is of another width.
    narrow("mdx_net_drums", growth=8)
    loaded = registry.build("mdx_net_drums", checkpoint=path, segment_seconds=0.5)
    assert loaded.network.settings == separator.network.settings
    given = 3 * torch.randn(2, 4, 512, 16)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": given.numpy()})
    size = float(np.abs(expected).max())
    found = loaded.network(given)
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-5 * size, rtol=0)
    torch.testing.assert_close(found, separator.network(given), atol=1e-5 * size, rtol=0)


@torch.inference_mode()
def test_files_of_all_stems_are_found_in_a_folder_or_an_archive(narrow, tmp_path, waveform):
    bag = narrow("mdx_net")
    with zipfile.ZipFile(tmp_path / "onnx_A.zip", "w") as archive:
        for stem, member in zip(bag.stems, bag.members, strict=True):
            folder = tmp_path / "files"
            folder.mkdir(exist_ok=True)
            _export(member.network, folder / f"{stem}.onnx", folded=True)
            archive.write(folder / f"{stem}.onnx", f"../onnx_A/{stem}.onnx")
    expected = bag(waveform)
    for path in (tmp_path / "files", tmp_path / "onnx_A.zip"):
        loaded = registry.build("mdx_net", checkpoint=path, segment_seconds=0.5)
        torch.testing.assert_close(loaded(waveform), expected, atol=1e-5, rtol=1e-3)
    (tmp_path / "files" / "bass.onnx").unlink()
    with pytest.raises(FileError, match=r"0 files bass\.\*, expected one of them"):
        registry.build("mdx_net", checkpoint=tmp_path / "files")


@torch.inference_mode()
def test_checkpoints_of_the_authors_programs_are_read(narrow, tmp_path, waveform):
    for name, extra in (
        ("mdx_net_vocals", {"window": torch.ones(6144), "freq_pad": torch.zeros(1)}),
        ("mdx23c", {}),
    ):
        separator = narrow(name, seed=2)
        torch.save(
            {"state_dict": {**separator.network.state_dict(), **extra}, "epoch": 3}, tmp_path / "a.ckpt"
        )
        loaded = registry.build(name, checkpoint=tmp_path / "a.ckpt", segment_seconds=0.5)
        assert torch.equal(loaded(waveform), separator(waveform))


def test_another_file_is_refused_by_name(narrow, tmp_path):
    separator = narrow("mdx_net_drums")
    path = tmp_path / "a.onnx"
    model = _export(separator.network, path, folded=True)

    def refused(match, changed=None):
        if changed is not None:
            path.write_bytes(changed)
        with pytest.raises(FileError, match=match):
            registry.build("mdx_net_drums", checkpoint=path)

    whole = path.read_bytes()
    refused("a.onnx: found a file that cannot be read, expected an ONNX file", whole[: len(whole) // 2])
    refused("found no operations", b"")
    narrow("mdx_net_drums", bins=256)
    refused("found a network of 512 bins, expected 256 for this model", whole)
    narrow("mdx_net_drums")
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Sigmoid"
    refused(r"found an operation Sigmoid \(", model.SerializeToString())
    relu.op_type = "Relu"
    multiply = next(node for node in model.graph.node if node.op_type == "Mul")
    multiply.op_type = "Add"
    refused("found another order of operations, expected an MDX-Net", model.SerializeToString())
    multiply.op_type = "Mul"
    node = model.graph.node.add(op_type="Identity", name="last")
    refused(r"found a damaged operation Identity \(last\), expected an ONNX file", model.SerializeToString())
    model.graph.node.remove(node)
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = convolution.input[1]
    convolution.input[1] = next(t.name for t in model.graph.initializer if len(t.dims) == 1)
    refused(r"found a weight of shape \[\d+\] for Conv .*, expected 4 axes", model.SerializeToString())
    convolution.input[1] = weight
    first = next(t for t in model.graph.initializer if len(t.dims) == 4 and t.dims[1] == 6)
    first.data_location = onnx.TensorProto.EXTERNAL
    refused("in another file, expected all in one file", model.SerializeToString())
    path.unlink()
    refused("found no file")
    (tmp_path / "b.zip").write_bytes(b"PK")
    with pytest.raises(FileError, match=r"expected an archive with one file drums\.onnx"):
        registry.build("mdx_net_drums", checkpoint=tmp_path / "b.zip")


def test_the_bag_has_no_core_to_convert(tmp_path, capsys):
    assert main(["convert", "mdx_net", "--io", "core", "-o", str(tmp_path / "x.mlpackage")]) == 2
    assert "mdx_net has an STFT for each stem, or one of its members" in capsys.readouterr().err
