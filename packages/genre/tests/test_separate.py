"""Separation against demucs itself, with a small Hybrid Transformer Demucs of random weights."""

import hashlib
import itertools
import re
from fractions import Fraction

import pytest
import torch
from demucs.api import Separator
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs

import audio_io
from audio_io.errors import AudioError, ConfigError, FileError
from genre.cli import main
from genre.config import STEMS, FeatureConfig, SeparationConfig
from genre.demucs_models import WeightsNotFoundError, load_demucs
from genre.separate import open_separator, segment_starts, separator_identity
from genre.stem_archive import open_archive

RATE = 8000
SEGMENT = 4000
SOURCES = ["drums", "bass", "other", "vocals"]


def save_model(folder, signature, sources=SOURCES, *, seed=0, segment=Fraction(SEGMENT, RATE), **more):
    """A model in demucs's own format, its digest in its name."""
    torch.manual_seed(seed)
    kwargs = {
        "sources": sources, "channels": 8, "nfft": 512, "depth": 2, "t_layers": 2, "t_heads": 2,
        "bottom_channels": 16, "samplerate": RATE, "segment": segment, "dconv_init": 0.5,
        "t_layer_scale": False,
    }  # fmt: skip
    model = HTDemucs(**kwargs)
    package = {"klass": HTDemucs, "args": (), "kwargs": kwargs, "state": model.state_dict(), **more}
    path = folder / f"{signature}.th"
    torch.save(package, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"{signature}-{digest}.th")


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repo")
    for seed, signature in enumerate(("aaaa", "bbbb")):
        save_model(folder, signature, seed=seed)
    save_model(folder, "cccc", [*SOURCES, "guitar"], seed=2)
    save_model(folder, "dddd", ["vocals", "other"])
    (folder / "tiny.yaml").write_text("models: ['aaaa']\n")
    (folder / "two.yaml").write_text(
        "models: ['aaaa', 'bbbb']\nweights: [[1., 0., 0.5, 1.], [0., 1., 0.5, 3.]]\n"
    )
    return folder


def separator(repo, model="tiny", rate=RATE, **options):
    config = SeparationConfig(
        separation_model=model, separation_repo=str(repo), overlap=options.pop("overlap", 0.25)
    )
    return open_separator(config, FeatureConfig(sample_rate=rate), device="cpu", **options)


def music(length, seed=3):
    time = torch.arange(length) / RATE
    generator = torch.Generator().manual_seed(seed)
    tone = torch.sin(2 * torch.pi * 220 * time) * torch.sin(2 * torch.pi * 3 * time)
    return 0.3 * tone + 0.1 * torch.randn(2, length, generator=generator) + 0.01


def as_demucs(repo, model, mixture, **options):
    """Mono stems of `demucs.api`, in our order."""
    theirs = Separator(model=model, repo=repo, device="cpu", shifts=0, **options)
    _, sources = theirs.separate_tensor(mixture)
    return torch.stack([sources[stem].mean(dim=0) for stem in STEMS])


def error_db(found, wanted):
    return float(10 * torch.log10((found - wanted).square().mean() / wanted.square().mean()))


@pytest.mark.parametrize("model", ["tiny", "two"])
def test_stems_are_those_of_demucs_where_segments_coincide(model, repo):
    stride = 3 * SEGMENT // 4
    mixture = music(SEGMENT + 3 * stride)
    ours = separator(repo, model).separate(mixture)
    theirs = as_demucs(repo, model, mixture)
    # demucs starts another segment at 4 · stride, of which only the rest of the recording is sound.
    assert error_db(ours[:, : 4 * stride], theirs[:, : 4 * stride]) < -100
    assert -60 < error_db(ours[:, 4 * stride :], theirs[:, 4 * stride :]) < 0


def test_a_recording_of_one_segment_is_that_of_demucs(repo):
    mixture = music(SEGMENT - 501)
    # Without overlap demucs too takes one segment.
    ours = separator(repo, overlap=0.0).separate(mixture)
    assert error_db(ours, as_demucs(repo, "tiny", mixture, overlap=0.0)) < -100


def test_the_fused_attention_is_off_while_separating_and_as_before_afterwards(repo, monkeypatch):
    seen = []
    original = HTDemucs.forward

    def forward(self, mix):
        seen.append(torch.backends.mha.get_fastpath_enabled())
        return original(self, mix)

    monkeypatch.setattr(HTDemucs, "forward", forward)
    separator(repo).separate(music(SEGMENT))
    assert seen == [False]
    assert torch.backends.mha.get_fastpath_enabled()


def test_batches_of_segments_give_the_same(repo):
    mixture = music(5 * SEGMENT + 17)
    one, four = separator(repo), separator(repo, batch_size=4)
    torch.testing.assert_close(four.separate(mixture), one.separate(mixture), rtol=0, atol=2e-6)


def test_too_little_memory_is_one_sentence(repo, monkeypatch):
    def forward(self, mix):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    monkeypatch.setattr(HTDemucs, "forward", forward)
    with pytest.raises(ConfigError, match="batch_size: found 1 segments, more than the memory of cpu holds"):
        separator(repo).separate(music(SEGMENT))


@pytest.mark.parametrize("overlap", [0.0, 0.05, 0.25, 0.6])
def test_segments_cover_everything_with_the_overlap_and_none_to_spare(overlap):
    for length in (1, 99, 100, 101, 175, 176, 1000, 12345):
        starts = segment_starts(length, 100, overlap)
        stride = int((1 - overlap) * 100)
        assert starts[0] == 0
        assert starts[-1] == max(0, length - 100)
        steps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(0 < step <= stride for step in steps)
        assert max(steps, default=0) - min(steps, default=0) <= 1
        assert len(starts) <= len(range(0, length, stride))  # never more than demucs
    # 30 s of htdemucs, whose segments are 7.8 s long: demucs makes 6 passes at 25 %.
    rate, segment = 44100, int(7.8 * 44100)
    assert len(segment_starts(30 * rate, segment, 0.25)) == 5
    assert len(segment_starts(30 * rate, segment, 0.05)) == 4


def test_further_stems_count_as_other(repo):
    mixture = music(SEGMENT)
    ours = separator(repo, "cccc").separate(mixture)
    model = load_demucs(SeparationConfig(separation_model="cccc", separation_repo=str(repo))).models[0]
    mono = mixture.mean(dim=0)
    normalized = (mixture - mono.mean()) / (mono.std() + 1e-8)
    raw = apply_model(model, normalized[None], shifts=0, overlap=0.0)[0].mean(dim=1)
    raw = raw * mono.std() + mono.mean()
    torch.testing.assert_close(ours[STEMS.index("other")], raw[2] + raw[4], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[STEMS.index("drums")], raw[0], rtol=0, atol=1e-5)


def test_a_file_is_resampled_to_the_model_and_on_to_the_features(repo, tmp_path):
    mixture = music(3 * SEGMENT)
    audio_io.save(tmp_path / "a.wav", audio_io.resample(mixture, RATE, 44100), 44100)
    stems = separator(repo, rate=4000)(tmp_path / "a.wav")
    assert stems.shape == (4, 3 * SEGMENT // 2)
    wanted = audio_io.resample(separator(repo).separate(mixture), RATE, 4000)
    assert error_db(stems[:, 200:-200], wanted[:, 200:-200]) < -20


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_any_number_of_channels_is_brought_to_that_of_the_model(channels, repo, tmp_path):
    recording = music(SEGMENT)[:1].repeat(channels, 1) * torch.linspace(0.5, 1, channels)[:, None]
    audio_io.save(tmp_path / "a.wav", recording, RATE)
    mono = recording.mean(dim=0, keepdim=True).expand(2, -1)
    mixture = recording if channels == 2 else mono
    torch.testing.assert_close(separator(repo)(tmp_path / "a.wav"), separator(repo).separate(mixture))


def write_stems(folder, length=RATE, **changed):
    stems = {stem: music(length, seed)[:1] for seed, stem in enumerate(STEMS)}
    for stem, samples in {**stems, **changed}.items():
        if samples is not None:
            audio_io.save(folder / f"{stem}.wav", samples, RATE)
    return stems


def test_ready_made_stems_are_read_as_they_are(tmp_path):
    stems = write_stems(tmp_path / "song", bass=music(RATE - 200, 2)[:1])
    config, features = SeparationConfig(separator="stems"), FeatureConfig(sample_rate=RATE)
    read = open_separator(config, features)(tmp_path / "song")
    assert torch.equal(read, torch.cat([*stems.values()])[:, : RATE - 200])  # cut to the shortest
    # Demucs, or none, on such a folder: its mixture, or the sum of the stems where there is none.
    repeated = open_separator(SeparationConfig(separator="none"), features)
    torch.testing.assert_close(repeated(tmp_path / "song")[2], read.sum(dim=0))
    audio_io.save(tmp_path / "song/mixture.wav", stems["drums"], RATE)
    assert torch.equal(repeated(tmp_path / "song"), stems["drums"].expand(4, -1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drums": None}, "found no file drums, expected a folder with vocals, drums, bass, other"),
        ({"drums": torch.zeros(1, 9000)}, "found stems of different length, vocals 1.00 s, drums 1.12 s"),
    ],
)
def test_stems_that_do_not_belong_together_are_refused(changed, message, tmp_path):
    write_stems(tmp_path / "song", **changed)
    reader = open_separator(SeparationConfig(separator="stems"), FeatureConfig(sample_rate=RATE))
    with pytest.raises(AudioError, match=message):
        reader(tmp_path / "song")


def test_missing_weights_are_named_with_their_source_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(WeightsNotFoundError) as caught:
        open_separator(SeparationConfig(), FeatureConfig(), device="cpu")
    url = "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/955717e8-8726e21a.th"
    assert str(caught.value) == (
        f"the weights of the Demucs model 'htdemucs' are missing: {url} could not be downloaded (OSError); "
        f"fetch that file on a machine with access and save it as "
        f"{tmp_path / 'hub/checkpoints/955717e8-8726e21a.th'}, or in a folder that --separation-repo names"
    )
    assert not list((tmp_path / "hub/checkpoints").glob("*"))
    # What the cache is checked against is known without the weights.
    assert separator_identity(SeparationConfig()) == "demucs htdemucs 955717e8-8726e21a overlap 0.25"


def test_the_identity_of_a_model_is_that_of_its_weights(repo, tmp_path):
    names = [separator_identity(SeparationConfig(separation_model="aaaa", separation_repo=str(repo)))]
    save_model(tmp_path, "aaaa", seed=9)
    names.append(separator_identity(SeparationConfig(separation_model="aaaa", separation_repo=str(tmp_path))))
    (plain,) = tmp_path.glob("*.th")
    plain.rename(tmp_path / "aaaa.th")  # no digest in the name: its content is looked at
    names.append(separator_identity(SeparationConfig(separation_model="aaaa", separation_repo=str(tmp_path))))
    assert len(set(names)) == 2
    assert names[1] == names[2]


@pytest.mark.parametrize(
    ("field", "found", "settings"),
    [
        ("separation_model", "'gone', expected one of .*htdemucs, .*tiny, two", {"separation_model": "gone"}),
        ("separation_model", "'dddd', a model with the stems vocals, other", {"separation_model": "dddd"}),
        ("separation_repo", "no file 955717e8-.*th in .*'htdemucs' consists of", {}),
        ("separation_repo", "nothing at nowhere", {"separation_repo": "nowhere"}),
    ],
)
def test_a_model_that_is_not_there_is_refused_by_name(field, found, settings, repo):
    with pytest.raises(ConfigError, match=f"^{field}: found {found}"):
        load_demucs(SeparationConfig(**{"separation_repo": str(repo), **settings}))


def test_weights_that_are_damaged_or_run_code_are_refused(tmp_path):
    good = save_model(tmp_path, "aaaa")
    config = SeparationConfig(separation_model="aaaa", separation_repo=str(tmp_path))
    data = good.read_bytes()
    good.write_bytes(data[:-100])
    with pytest.raises(FileError, match=re.escape(f"{good}: found SHA-256 ")):
        load_demucs(config)
    good.unlink()
    (tmp_path / "aaaa.th").write_bytes(data[:-100])
    with pytest.raises(FileError, match="found a file that cannot be read as weights"):
        load_demucs(config)
    (tmp_path / "aaaa.th").unlink()
    save_model(tmp_path, "aaaa", training_args=print)
    with pytest.raises(FileError, match="found a file that cannot be read as weights"):
        load_demucs(config)


def test_the_command_separates_a_folder_and_notices_other_weights(repo, tmp_path, capsys):
    audio_io.save(tmp_path / "data/rock/a.wav", music(RATE), RATE)
    cache = tmp_path / "cache"
    arguments = ["separate", str(tmp_path / "data"), "--separation-cache-dir", str(cache), "--device", "cpu"]
    arguments += ["--separation-repo", str(repo), "--sample-rate", "4000", "--separation-model"]
    assert main([*arguments, "aaaa"]) == 0
    assert "1 tracks ready (1 separated now; before: 1 missing)" in capsys.readouterr().out
    first = open_archive(cache / "rock__a.npz").read()
    wanted = separator(repo, "aaaa", rate=4000)(tmp_path / "data/rock/a.wav").numpy()
    assert abs(first - wanted).max() <= abs(wanted).max() / 32767
    assert main([*arguments, "bbbb"]) == 0
    assert "(1 separated now; before: 1 stale)" in capsys.readouterr().out
    assert abs(open_archive(cache / "rock__a.npz").read() - first).max() > 1e-3
