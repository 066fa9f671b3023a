"""Demucs, torchaudio's Hybrid Demucs, Open-Unmix, Spleeter, Wave-U-Net: each against its upstream."""

import contextlib
import copy
import dataclasses
import json
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from audio_io.errors import ConfigError, FileError
from separation_coreml import checkpoints, registry
from separation_coreml.families import demucs, openunmix, spleeter, wave_u_net
from separation_coreml.tensor_bundle import read_bundle

GOLDENS = Path(__file__).parent / "goldens"
SECONDS = 0.5
LENGTH = 22050
MODELS = ["htdemucs", "htdemucs_6s", "hdemucs_mmi", "hdemucs_high_musdb", "umxhq", "umxhq_nowiener"]
MODELS += ["spleeter_2stems", "spleeter_5stems", "wave_u_net"]


@pytest.fixture(scope="module")
def waveform():
    return 0.2 * torch.randn(1, 2, LENGTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def no_cached_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def separators():
    built = {}

    def get(name):
        if name not in built:
            built.clear()
            built[name] = registry.build(name, weights="random", segment_seconds=SECONDS)
        return built[name]

    return get


@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_three_steps_are_the_whole_model(name, separators, waveform):
    separator = separators(name)
    for mixture in (waveform, waveform[..., :15000].repeat(2, 1, 1)):
        stems = separator(mixture)
        inputs = separator.analysis(mixture)
        outputs = separator.core(*inputs)
        assert len(inputs) == len(separator.core_inputs)
        assert len(outputs) == len(separator.core_outputs)
        assert not any(value.is_complex() for value in (*inputs, *outputs))
        assert max(value.dim() for value in (*inputs, *outputs)) <= 5
        assert stems.shape == (len(mixture), len(separator.stems), 2, mixture.shape[-1])
        torch.testing.assert_close(
            separator.synthesis(outputs, mixture.shape[-1]), stems, atol=1e-6, rtol=1e-6
        )
        # Random weights must not make an output so small or large that a comparison proves nothing.
        deviations = stems.std(dim=(0, 2, 3))
        assert deviations.min() > 1e-3
        assert deviations.max() < 10


@pytest.mark.parametrize("name", MODELS[:6])
@torch.inference_mode()
def test_forward_is_that_of_the_package(name, separators, waveform):
    separator = separators(name)
    upstream = copy.deepcopy(separator.model)
    if name.startswith("htdemucs"):
        upstream.segment = Fraction(1, 2)
    assert torch.equal(separator(waveform), upstream(waveform))


@torch.inference_mode()
def test_a_bag_takes_each_stem_from_its_own_model(waveform):
    spec = _small(registry.get_spec("htdemucs_ft"))
    torch.manual_seed(0)
    bag = demucs.build(spec, LENGTH).eval()
    stems = bag(waveform)
    assert bag.stems == ("drums", "bass", "other", "vocals")
    for index, member in enumerate(bag.members):
        assert torch.equal(stems[:, index], member.model(waveform)[:, index])
    torch.testing.assert_close(bag.synthesis(bag.core(*bag.analysis(waveform)), LENGTH), stems)


@torch.inference_mode()
def test_a_transformer_model_reads_its_segment_and_no_more(waveform):
    separator = demucs.build(_small(registry.get_spec("htdemucs")), LENGTH).eval()
    padded = torch.nn.functional.pad(waveform[..., :9000], (0, LENGTH - 9000))
    torch.testing.assert_close(separator(waveform[..., :9000]), separator(padded)[..., :9000])
    with pytest.raises(ConfigError, match="at most the segment of the model, 22050 samples"):
        separator(torch.zeros(1, 2, LENGTH + 1))


@pytest.mark.parametrize("name", ["2stems", "5stems"])
@torch.inference_mode()
def test_spleeter_is_what_tensorflow_computes_from_its_checkpoint(name):
    """The whole way from waveform to stems in TensorFlow; see goldens/make_spleeter_goldens.py."""
    separator, spec = _small_spleeter(name)
    spleeter.load(separator, spec, GOLDENS / "spleeter" / name)
    reference = np.load(GOLDENS / "spleeter" / name / "reference.npz")
    stems = separator(torch.from_numpy(reference["waveform"])[None])[0]
    np.testing.assert_allclose(stems, reference["stems"], atol=3e-7)


@torch.inference_mode()
def test_spleeter_cuts_long_mixtures_into_blocks_of_frames():
    separator, spec = _small_spleeter("2stems")
    spleeter.load(separator, spec, GOLDENS / "spleeter" / "2stems")
    separator.block = 64
    (spectrogram,) = separator.analysis(0.1 * torch.randn(1, 2, 100 * 1024))
    assert spectrogram.shape[-1] == 104
    whole = separator.core(spectrogram)[0]
    first, second = (separator.core(part)[0] for part in spectrogram.split([64, 40], dim=-1))
    torch.testing.assert_close(whole, torch.cat([first, second], dim=-1))


def test_wave_u_net_has_the_sizes_and_names_of_the_authors():
    separator = registry.skeleton("wave_u_net")
    # Printed by the authors' program: "Using valid convolutions with 97961 inputs and 88409 outputs".
    (padded,) = separator.analysis(torch.zeros(1, 2, 88200))
    assert padded.shape[-1] == 97961
    before, _ = separator._context(88200)
    assert before == (97961 - 88409) // 2
    names = separator.state_dict()
    for name in (
        "waveunets.bass.downsampling_blocks.4.post_shortcut_convs.0.norm.weight",
        "waveunets.vocals.upsampling_blocks.0.upconv.filter",
        "waveunets.other.bottlenecks.0.filter.bias",
        "waveunets.drums.output_conv.weight",
    ):
        assert name in names


@torch.inference_mode()
def test_wave_u_net_gives_the_middle_of_what_it_reads(waveform):
    spec = registry.get_spec("wave_u_net")
    small = dataclasses.replace(spec, options={**spec.options, "features": 8, "levels": 3})
    separator = wave_u_net.build(small, LENGTH).eval()
    before, total = separator._context(LENGTH)
    # A change at a sample reaches the outputs around the same sample.
    (padded,) = separator.analysis(waveform)
    assert torch.equal(padded[..., before : before + LENGTH], waveform)
    changed = waveform.clone()
    changed[..., 10000] += 1
    difference = (separator(changed) - separator(waveform)).abs().amax(dim=(0, 1, 2))
    # Group norm spreads a little of it everywhere.
    assert abs(int(difference.argmax()) - 10000) < 20
    assert total - before >= LENGTH


def _small(spec):
    """Narrow, to be quick; the length of the transform decides the depth, so that stays."""
    arguments = {"channels": 8, "t_layers": 1, "dconv_mode": 3, "t_heads": 2}
    return dataclasses.replace(spec, options={**spec.options, "arguments": arguments})


def _small_spleeter(name):
    spec = registry.get_spec(f"spleeter_{name}")
    spec = dataclasses.replace(spec, options={**spec.options, "filters": (2, 2, 4, 4, 6, 8)})
    return spleeter.build(spec, spec.segment).eval(), spec


# Checkpoints


def _demucs_package(model, **changes):
    args, kwargs = model._init_args_kwargs
    state = {key: value.half() for key, value in model.state_dict().items()}
    package = {"klass": type(model), "args": args, "kwargs": {**kwargs, "segment": Fraction(39, 5)}}
    return {**package, "state": state, "training_args": {"seed": 42}, **changes}


@torch.inference_mode()
def test_a_demucs_file_is_read_as_demucs_reads_it(tmp_path, waveform):
    spec = _small(registry.get_spec("htdemucs"))
    path = tmp_path / "955717e8.th"
    original = demucs.build(spec, LENGTH).eval()
    torch.save(_demucs_package(original.model), path)
    separator = demucs.build(spec, LENGTH)
    demucs.load(separator, spec, path)
    separator.eval()
    assert torch.equal(
        separator.model.state_dict()["encoder.0.conv.weight"].half(),
        original.model.state_dict()["encoder.0.conv.weight"].half(),
    )
    assert separator.model.segment == Fraction(1, 2)
    # Weights are stored in half precision.
    torch.testing.assert_close(separator(waveform), original(waveform), atol=2e-3, rtol=0.1)


def test_a_safetensors_file_and_a_plain_state_dict_are_read(tmp_path):
    from safetensors.torch import save_file

    spec = _small(registry.get_spec("htdemucs"))
    state = {key: value.half() for key, value in demucs.build(spec, LENGTH).model.state_dict().items()}
    save_file(state, tmp_path / "955717e8.safetensors")
    torch.save(state, tmp_path / "state.pth")
    for name in ("955717e8.safetensors", "state.pth"):
        separator = demucs.build(spec, LENGTH)
        demucs.load(separator, spec, tmp_path / name)
        for key, value in separator.model.state_dict().items():
            assert value.dtype == torch.float32
            assert torch.equal(value.half(), state[key])


def test_a_bag_is_read_from_a_folder(tmp_path):
    spec = _small(registry.get_spec("htdemucs_ft"))
    bag = demucs.build(spec, LENGTH)
    for signature, member in zip(spec.options["signatures"], bag.members, strict=True):
        torch.save(_demucs_package(member.model), tmp_path / f"{signature}-0000.th")
    loaded = demucs.build(spec, LENGTH)
    demucs.load(loaded, spec, tmp_path)
    for ours, theirs in zip(loaded.members, bag.members, strict=True):
        assert torch.equal(ours.model.encoder[0].conv.bias.half(), theirs.model.encoder[0].conv.bias.half())
    (tmp_path / "f7e0c4bc-0000.th").unlink()
    with pytest.raises(FileError, match=r"0 files f7e0c4bc\*"):
        demucs.load(loaded, spec, tmp_path)


def test_a_checkpoint_of_another_model_names_the_first_difference(tmp_path):
    spec = _small(registry.get_spec("htdemucs"))
    separator = demucs.build(spec, LENGTH)
    path = tmp_path / "other.th"
    wider = dataclasses.replace(spec, options={**spec.options, "arguments": {"channels": 16, "t_layers": 1}})
    torch.save(_demucs_package(demucs.build(wider, LENGTH).model), path)
    with pytest.raises(
        FileError, match=r"'encoder.0.conv.weight' of shape \(16, 4, 8, 1\), expected shape \(8,"
    ):
        demucs.load(separator, spec, path)
    state = separator.model.state_dict()
    torch.save({key: value for key, value in state.items() if "crosstransformer" not in key}, path)
    with pytest.raises(FileError, match=r"no tensor 'crosstransformer\.norm_in\.weight'"):
        demucs.load(separator, spec, path)
    torch.save({**state, "surplus": torch.zeros(1)}, path)
    with pytest.raises(FileError, match="a tensor 'surplus', expected only the parameters of htdemucs"):
        demucs.load(separator, spec, path)
    torch.save(_demucs_package(separator.model, klass=demucs.HDemucs), path)
    with pytest.raises(FileError, match=r"a HDemucs, expected a HTDemucs \(htdemucs\)"):
        demucs.load(separator, spec, path)


class _Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


def test_no_code_of_a_checkpoint_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Malicious()}, "bad.pth")
    for content in (None, b"", b"not a checkpoint"):
        if content is not None:
            Path("bad.pth").write_bytes(content)
        with pytest.raises(FileError, match=r"bad\.pth: found a file that cannot be read as weights"):
            registry.build("hdemucs_high_musdb", checkpoint="bad.pth")
    assert not Path("pwned").exists()
    with pytest.raises(FileError, match="found no file"):
        registry.build("hdemucs_high_musdb", checkpoint="missing.pth")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("htdemucs", "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/955717e8-8726e21a.th"),
        ("htdemucs_6s", "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/5c90dfd2-34c22ccb.th"),
        ("hdemucs_mmi", "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/75fc33f5-1941ce65.th"),
        ("hdemucs_high_musdb", "https://download.pytorch.org/torchaudio/models/hdemucs_high_musdbhq_only.pt"),
        ("umxl", "https://zenodo.org/records/5069601/files/vocals-bccbd9aa.pth"),
        ("spleeter_4stems", "https://github.com/deezer/spleeter/releases/download/v1.4.0/4stems.tar.gz"),
    ],
)
def test_without_network_the_message_says_what_to_put_where(name, url, monkeypatch):
    def offline(address, target, **_):
        assert address == url
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    # The file is looked for before anything else is done with the network.
    monkeypatch.setattr(registry, "build", None)
    spec = registry.get_spec(name)
    separator = registry.skeleton(name)
    with pytest.raises(checkpoints.WeightsNotFoundError) as error:
        registry._family(spec).load(separator, spec, None)
    assert str(error.value).startswith(f"{url}: could not be downloaded")
    assert Path(torch.hub.get_dir()).as_posix() in str(error.value)


def test_a_cached_file_that_was_altered_is_refused():
    file = openunmix.official_file("umxhq", "vocals")
    file.cached.parent.mkdir(parents=True)
    file.cached.write_bytes(b"altered")
    with pytest.raises(
        FileError, match=r"vocals-b62c91ce.pth: found SHA-256 [0-9a-f]{8}…, expected b62c91ce….*; delete it"
    ):
        file.fetch()


def test_a_download_that_broke_off_is_not_kept(tmp_path):
    (tmp_path / "part.pth").write_bytes(b"the first half")
    file = checkpoints.WeightFile((tmp_path / "part.pth").as_uri(), "0123abcd")
    with pytest.raises(
        FileError, match=r"part.pth: found SHA-256 [0-9a-f]{8}…, expected 0123abcd… from file:"
    ):
        file.fetch()
    assert not file.cached.exists()


def test_open_unmix_reads_a_folder_of_stems(tmp_path):
    source = registry.build("umxhq", weights="random", seed=1)
    for stem, network in source.model.target_models.items():
        state = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
        # The published files hold these besides.
        state |= {"stft.window": torch.zeros(4096), "sample_rate": torch.tensor(44100.0)}
        torch.save(state, tmp_path / f"{stem}-00000000.pth")
    loaded = registry.build("umxhq", checkpoint=tmp_path)
    for key, value in source.model.target_models.state_dict().items():
        assert torch.equal(loaded.model.target_models.state_dict()[key], value)


def test_wave_u_net_reads_the_authors_checkpoints(tmp_path):
    spec = registry.get_spec("wave_u_net")
    spec = dataclasses.replace(spec, options={**spec.options, "features": 8, "levels": 2})
    source, loaded = wave_u_net.build(spec, LENGTH), wave_u_net.build(spec, LENGTH)
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    torch.save({"model_state_dict": state, "optimizer_state_dict": {}, "step": 3}, tmp_path / "model")
    wave_u_net.load(loaded, spec, tmp_path / "model")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in source.state_dict().items())
    with pytest.raises(checkpoints.WeightsNotFoundError, match=r"models.7z\); unpack it and give the file"):
        wave_u_net.load(loaded, spec, None)


def test_spleeter_reads_the_archive(tmp_path):
    with tarfile.open(tmp_path / "2stems.tar.gz", "w:gz") as archive:
        for file in (GOLDENS / "spleeter" / "2stems").glob("model.*"):
            archive.add(file, arcname=f"./{file.name}")
    separator, spec = _small_spleeter("2stems")
    spleeter.load(separator, spec, tmp_path / "2stems.tar.gz")
    other, _ = _small_spleeter("2stems")
    spleeter.load(other, spec, GOLDENS / "spleeter" / "2stems" / "model.index")
    for key, value in separator.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_damaged_tensorflow_files_are_refused(tmp_path):
    folder = GOLDENS / "spleeter" / "2stems"
    index, data = (folder / "model.index").read_bytes(), (folder / "model.data-00000-of-00001").read_bytes()
    path = Path("model.index")
    assert "conv2d_13/kernel" in read_bundle(index, data, path)
    assert "global_step" not in read_bundle(index, data, path)
    for broken in (b"", index[:-1], index[:100] + index[-48:], json.dumps({}).encode()):
        with pytest.raises(FileError, match="expected a TensorFlow checkpoint"):
            read_bundle(broken, data, path)
    with pytest.raises(FileError, match="a damaged or truncated file"):
        read_bundle(index, data[:1000], path)
    # Every byte of the index altered: it is refused, or another checkpoint that can be read.
    for place in range(len(index)):
        altered = bytearray(index)
        altered[place] ^= 0x05
        with contextlib.suppress(FileError):
            read_bundle(bytes(altered), data, path)
    separator, spec = _small_spleeter("5stems")
    with pytest.raises(FileError, match="no variable conv2d_14/'kernel'"):
        spleeter.load(separator, spec, folder)
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as archive:
        for file in folder.glob("model.*"):
            archive.add(file, arcname=file.name)
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    for broken in (b"nothing", whole[: len(whole) // 2], whole[:2000] + bytes(2000) + whole[4000:]):
        (tmp_path / "x.tar.gz").write_bytes(broken)
        with pytest.raises(FileError, match="another kind of file"):
            spleeter.load(separator, spec, tmp_path / "x.tar.gz")
