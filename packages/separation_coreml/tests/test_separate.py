import dataclasses
import functools
import itertools
import json

import numpy as np
import pytest
import torch
from demucs.apply import apply_model

import audio_io
from audio_io.errors import AudioError, ConfigError, FileError
from separation_coreml import engines, registry, songs
from separation_coreml.cli import main
from separation_coreml.families import demucs
from separation_coreml.separate import SeparateConfig, measure, separate, starts, stream_stems

SEGMENT = 11025
STEMS = ("drums", "bass", "other", "vocals")


@pytest.fixture(scope="module")
def separator():
    """A narrow htdemucs that works on a quarter of a second."""
    spec = registry.get_spec("htdemucs")
    arguments = {"channels": 8, "t_layers": 1, "dconv_mode": 3, "t_heads": 2}
    spec = dataclasses.replace(spec, options={**spec.options, "arguments": arguments})
    torch.manual_seed(0)
    return demucs.build(spec, SEGMENT)


def copy(segment, stems):
    """What gives the mixture as every stem: any fault of the cutting shows at once."""
    return segment[None].repeat(stems, 1, 1)


def mixer(*, segment=1000, overlap=0.25, normalize=False):
    run = functools.partial(copy, stems=2)
    return engines.Engine("test", ("a", "b"), 44100, 2, segment, overlap, normalize, run)


def noise(length, seed=0):
    return 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(seed)) + 0.02


@pytest.fixture(scope="module")
def small(separator):
    return engines.torch_engine(separator)


@pytest.mark.parametrize("length", [4000, 8268, 11025, 14000, 40000])
def test_demucs_placement_equals_demucs(separator, small, length):
    mixture = noise(length)
    ours = separate(mixture, 44100, small, config=SeparateConfig(placement="demucs"))
    # As demucs.api.Separator.separate_tensor does it.
    reference = mixture.mean(0)
    mean, deviation = reference.mean(), reference.std() + 1e-8
    theirs = apply_model(separator.model, ((mixture - mean) / deviation)[None], shifts=0, split=True)
    theirs = (theirs * deviation + mean)[0]
    assert theirs.std() > 1e-3
    torch.testing.assert_close(torch.stack(list(ours.values())), theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("placement", ["even", "demucs"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("length", [1, 2, 999, 1000, 1001, 1750, 1751, 5432])
def test_a_model_that_gives_the_mixture_gives_it_back(placement, normalize, length):
    mixture = noise(length)
    engine = mixer(normalize=normalize)
    result = separate(mixture, 44100, engine, config=SeparateConfig(placement=placement))
    for stem in result.values():
        torch.testing.assert_close(stem, mixture, atol=1e-6, rtol=1e-5)


def test_even_placement_takes_the_fewest_segments_that_overlap_enough():
    for length, overlap in itertools.product((1, 10, 11, 17, 18, 99, 343, 1000), (0.0, 0.25, 0.5)):
        even = starts(length, 10, overlap, "even")
        theirs = starts(length, 10, overlap, "demucs")
        assert len(even) <= len(theirs)
        assert even[0] == 0
        assert even[-1] == max(length - 10, 0)
        steps = np.diff(even)
        assert len(steps) == 0 or steps.max() <= 10 * (1 - overlap) + 0.5
    # A whole segment less than demucs, whose last one is mostly padding.
    assert len(starts(24, 10, 0.25, "even")) == len(starts(24, 10, 0.25, "demucs")) - 1


@pytest.mark.parametrize("placement", ["even", "demucs"])
def test_blocks_of_any_size_give_the_same_and_nothing_is_kept(small, placement):
    mixture = noise(30000)
    config = SeparateConfig(placement=placement)
    level = measure([mixture])
    reference = torch.cat(list(stream_stems([mixture], level, small, config=config)), dim=-1)
    blocks = list(torch.split(mixture, 700, dim=-1))
    parts = list(stream_stems(blocks, level, small, config=config))
    assert torch.equal(torch.cat(parts, dim=-1), reference)
    assert max(part.shape[-1] for part in parts) <= SEGMENT


def test_the_level_is_that_of_the_whole_song():
    mixture = noise(10007) + torch.linspace(0, 3, 10007)
    level = measure(torch.split(mixture, 999, dim=-1))
    assert level.length == 10007
    assert level.mean == pytest.approx(float(mixture.mean(0).double().mean()), rel=1e-6)
    assert level.deviation == pytest.approx(float(mixture.mean(0).double().std()), rel=1e-6)


def test_silence_and_a_constant_give_finite_stems(small):
    for mixture in (torch.zeros(2, 20000), torch.full((2, 20000), 0.5)):
        for stem in separate(mixture, 44100, small).values():
            assert torch.isfinite(stem).all()


def test_mono_is_doubled_and_other_rates_are_resampled(small):
    mono = noise(24000)[:1]
    stems = separate(mono, 48000, small)
    assert {stem.shape for stem in stems.values()} == {(2, 22050)}
    double = separate(mono.expand(2, -1), 48000, small)
    assert all(torch.equal(stems[name], double[name]) for name in STEMS)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.tensor([[0.0, float("nan")]]), "waveform: found samples that are NaN or infinite"),
        (torch.zeros(2, 0), r"waveform: found shape \[2, 0\]"),
        (torch.zeros(6, 100), "channels: found 6, expected 1 or 2"),
    ],
)
def test_bad_waveforms_are_refused(waveform, message):
    with pytest.raises(ConfigError, match=message):
        separate(waveform, 44100, mixer())


def test_a_model_that_gives_nan_is_refused_and_a_stream_that_ends_too_soon():
    def overflow(segment):
        stems = copy(segment, 2)
        stems[1, 0, 300] = float("nan")
        return stems

    with pytest.raises(ConfigError, match=r"model: found nan in the stem b at 0\.01 s, expected finite"):
        separate(noise(3000), 44100, dataclasses.replace(mixer(), run=overflow))
    with pytest.raises(ConfigError, match="found 3000 samples, expected 3001, as were measured"):
        list(stream_stems([noise(3000)], measure([noise(3001)]), mixer()))


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="overlap: found 1"):
        SeparateConfig(overlap=1.0)
    with pytest.raises(ConfigError, match="placement"):
        SeparateConfig(placement="odd")


# Files


def test_a_file_gives_the_same_stems_as_its_samples(small, tmp_path):
    mixture = noise(30000)
    audio_io.save(tmp_path / "song.wav", mixture, 44100)
    (song,) = songs.plan([tmp_path / "song.wav"], tmp_path / "out")
    result = songs.separate_song(song, small)
    assert list(result.stems) == list(STEMS)
    reference = separate(mixture, 44100, small)
    for name, path in result.stems.items():
        assert path == tmp_path / "out" / "song" / f"{name}.wav"
        stem, rate = audio_io.load(path)
        assert rate == 44100
        torch.testing.assert_close(stem, reference[name], atol=1e-6, rtol=1e-5)


def test_flac_says_what_it_clipped(tmp_path):
    mixture = torch.zeros(2, 3000)
    mixture[0, 100:110] = 1.5
    audio_io.save(tmp_path / "loud.wav", mixture, 44100)
    (song,) = songs.plan([tmp_path / "loud.wav"], tmp_path)
    result = songs.separate_song(song, mixer(), stems=["b"], file_format="flac")
    assert list(result.stems) == ["b"]
    assert result.clipped == 10
    stem, _ = audio_io.load(result.stems["b"])
    torch.testing.assert_close(stem, mixture.clamp(-1, 1), atol=2e-7, rtol=0)


def test_nothing_half_written_stays(tmp_path):
    def fail(segment):
        raise KeyboardInterrupt

    audio_io.save(tmp_path / "song.wav", noise(5000), 44100)
    (song,) = songs.plan([tmp_path / "song.wav"], tmp_path)
    with pytest.raises(KeyboardInterrupt):
        songs.separate_song(song, dataclasses.replace(mixer(), run=fail))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["song.wav"]


def test_a_song_with_nan_or_six_channels_is_refused(tmp_path):
    import soundfile

    broken = noise(5000)
    broken[0, 4000] = float("nan")
    soundfile.write(tmp_path / "nan.wav", broken.T.numpy(), 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "six.wav", np.zeros((5000, 6)), 44100)
    nan, six = songs.plan([tmp_path], tmp_path / "out")
    with pytest.raises(AudioError, match=r"nan in channel 0 at 0\.09"):
        songs.separate_song(nan, mixer())
    with pytest.raises(FileError, match=r"six\.wav: found 6 channels, expected 1 or 2"):
        songs.separate_song(six, mixer())
    assert not (tmp_path / "out").exists()


def test_folders_keep_their_places_and_names_must_differ(tmp_path):
    for name in ("a/x.wav", "a/b/x.wav", "x.flac"):
        audio_io.save(tmp_path / "in" / name, noise(100), 44100)
    planned = songs.plan([tmp_path / "in" / "a", tmp_path / "in" / "a" / "b" / "x.wav"][:1], "out")
    assert [song.folder.as_posix() for song in planned] == ["out/b/x", "out/x"]
    with pytest.raises(ConfigError, match="whose stems would both go to"):
        songs.plan([tmp_path / "in" / "x.flac", tmp_path / "in" / "a" / "x.wav"], "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no sound file in"):
        songs.plan([tmp_path / "empty"], "out")


# Engines


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """Both channels swapped, and a second stem that is half the mixture."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    shape = [1, 2, 1000]
    nodes = [
        onnx.helper.make_node("Gather", ["mixture", "order"], ["swapped"], axis=1),
        onnx.helper.make_node("Mul", ["mixture", "half"], ["halved"]),
        onnx.helper.make_node("Unsqueeze", ["swapped", "one"], ["first"]),
        onnx.helper.make_node("Unsqueeze", ["halved", "one"], ["second"]),
        onnx.helper.make_node("Concat", ["first", "second"], ["stems"], axis=1),
    ]
    constants = {"order": np.array([1, 0]), "half": np.float32(0.5).reshape(1), "one": np.array([1])}
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "swap",
        [onnx.helper.make_tensor_value_info("mixture", kind, shape)],
        [onnx.helper.make_tensor_value_info("stems", kind, [1, 2, 2, 1000])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    described = {"stems": "swapped,halved", "sample_rate": "44100", "channels": "2", "segment": "1000"}
    described |= {"overlap": "0.25", "normalize": "false"}
    onnx.helper.set_model_props(model, described)
    path = tmp_path_factory.mktemp("onnx") / "swap.onnx"
    onnx.save(model, path)
    return path


def test_a_converted_model_tells_what_it_is(onnx_file):
    engine = engines.load_engine(onnx_file)
    assert (engine.name, engine.stems, engine.segment) == ("onnx", ("swapped", "halved"), 1000)
    mixture = noise(5000)
    stems = separate(mixture, 44100, engine)
    torch.testing.assert_close(stems["swapped"], mixture.flip(0), atol=1e-6, rtol=1e-5)


def test_metadata_is_what_engines_read():
    separator = registry.skeleton("umxhq")
    described = separator.metadata()
    assert set(engines._KEYS) <= set(described)
    assert json.loads(described["stft"])["hop_length"] == 1024
    engine = engines._converted("mil", "x.mlpackage", described, (1, 1), copy)
    assert (engine.stems, engine.segment, engine.normalize) == (separator.stems, separator.segment, False)


def test_engines_and_models_have_to_fit(tmp_path, onnx_file):
    cases = [
        ({"model": "htdemucs", "engine": "onnx"}, r"expected a converted model \(.onnx\) for engine onnx"),
        ({"model": onnx_file, "engine": "mil"}, r"a converted model \(.mlpackage\) for engine mil"),
        ({"model": onnx_file, "segment_seconds": 1.0}, "a converted model has its own segment"),
        ({"model": onnx_file, "checkpoint": "w.pth"}, "a converted model has its own weights"),
        ({"model": onnx_file, "device": "cuda"}, "onnx does not run on what PyTorch runs on"),
        ({"model": "no.onnx"}, "no.onnx: found nothing"),
        ({"model": "nothing"}, "model: found 'nothing', expected one of htdemucs"),
    ]
    for arguments, message in cases:
        with pytest.raises((ConfigError, FileError), match=message):
            engines.load_engine(**arguments)
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(FileError, match="a file that ONNX Runtime cannot load"):
        engines.load_engine(tmp_path / "bad.onnx")


def test_a_foreign_or_core_model_is_refused():
    with pytest.raises(FileError, match="no 'stems' in its metadata"):
        engines._converted("onnx", "x.onnx", {}, (1, 1), copy)
    with pytest.raises(FileError, match="2 inputs and 2 outputs, expected one from waveform to stems"):
        engines._converted("onnx", "x.onnx", {}, (2, 2), copy)
    core = {
        "io": "core",
        "stems": "a",
        "sample_rate": "8000",
        "channels": "2",
        "segment": "9",
        "overlap": "0.1",
    }
    with pytest.raises(FileError, match="a network between two STFTs, expected one from waveform to stems"):
        engines._converted("mil", "x.mlpackage", core, (1, 1), copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stems", "../../evil", "stems '../../evil', expected different names"),
        ("stems", "a,A", "stems 'a,A', expected different names"),
        ("stems", "", "stems '', expected different names"),
        ("segment", "0", "segment '0' in its metadata, expected a whole number above 0"),
        ("sample_rate", "-5", "sample_rate '-5' in its metadata"),
        ("overlap", "1.5", "overlap '1.5' in its metadata, expected a number from 0 to below 1"),
        ("channels", "1", r"does not take the shape \[1, 1, 1000\] of its metadata"),
        ("stems", "a,b,c", r"an output of shape \[1, 2, 2, 1000\], expected \[1, 3, 2, 1000\]"),
    ],
)
def test_metadata_of_a_stranger_is_not_trusted(onnx_file, tmp_path, key, value, message):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    described = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**described, key: value})
    onnx.save(model, tmp_path / "stranger.onnx")
    with pytest.raises(FileError, match=message):
        separate(noise(2000), 44100, engines.load_engine(tmp_path / "stranger.onnx"))


def test_several_processes_do_the_same(tmp_path, onnx_file):
    for index in range(2):
        audio_io.save(tmp_path / f"{index}.wav", noise(3000, index), 44100)
    (tmp_path / "2.wav").write_bytes(b"RIFF")
    planned = songs.plan(sorted(tmp_path.glob("*.wav")), tmp_path / "out")
    load = functools.partial(engines.load_engine, onnx_file)
    outcomes = dict(songs.separate_songs(planned, load, stems=["halved"], workers=2))
    assert sum(isinstance(outcome, songs.Separated) for outcome in outcomes.values()) == 2
    assert isinstance(outcomes[planned[2]], FileError)
    for index in range(2):
        stem, _ = audio_io.load(tmp_path / "out" / str(index) / "halved.wav")
        torch.testing.assert_close(stem, noise(3000, index) / 2, atol=1e-6, rtol=1e-5)


# The command


def test_the_command_writes_stems(tmp_path, onnx_file, capsys):
    audio_io.save(tmp_path / "song.flac", noise(5000), 44100)
    arguments = [
        "separate",
        str(tmp_path / "song.flac"),
        "--model",
        str(onnx_file),
        "-o",
        str(tmp_path / "out"),
    ]
    assert main([*arguments, "--stems", "halved", "--format", "flac"]) == 0
    assert "wrote" in capsys.readouterr().out
    stem, _ = audio_io.load(tmp_path / "out" / "song" / "halved.flac")
    torch.testing.assert_close(stem, noise(5000) / 2, atol=2e-6, rtol=0)
    assert not (tmp_path / "out" / "song" / "swapped.flac").exists()


def test_the_command_says_what_is_wrong(tmp_path, onnx_file, capsys):
    audio_io.save(tmp_path / "good.wav", noise(500), 44100)
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    model = ["--model", str(onnx_file), "-o", str(tmp_path / "out")]
    assert main(["separate", str(tmp_path), *model]) == 2
    printed = capsys.readouterr()
    assert "bad.wav: found" in printed.err
    assert "1 of 2 songs could not be separated" in printed.err
    assert (tmp_path / "out" / "good" / "halved.wav").is_file()
    assert main(["separate", str(tmp_path / "good.wav"), *model, "--stems", "flute"]) == 2
    assert "stems: found 'flute', expected some of swapped, halved" in capsys.readouterr().err


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    assert "htdemucs_6s" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {spec["name"] for spec in listed} == set(registry.MODELS)
