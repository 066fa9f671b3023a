"""Griffin-Lim, the export of mels, the comparison, and the command line of the vocoder."""

import json
import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError, FileError
from mri2speech.acoustic.checkpoint import save
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.features import DB_TO_LOG, Scaler, mel_db
from mri2speech.meta import Alignment, Meta, Sample
from mri2speech.vocoder.checkpoint import load_generator, save_generator
from mri2speech.vocoder.compare import compare, summary
from mri2speech.vocoder.config import VocoderConfig
from mri2speech.vocoder.generator import Generator
from mri2speech.vocoder.griffin_lim import griffin_lim, linear_power

TINY = VocoderConfig(
    upsample_initial_channel=16,
    resblock="2",
    resblock_kernel_sizes=(3,),
    resblock_dilation_sizes=((1, 3),),
)


def vowel(seconds=0.8, f0=120.0, formants=(700, 1200, 2500)):
    """Pulses through three resonances, at 11,413 Hz."""
    from scipy.signal import lfilter

    pulses = np.zeros(int(11413 * seconds))
    pulses[(np.arange(0, seconds - 1 / f0, 1 / f0) * 11413).astype(int)] = 1.0
    for hz in formants:
        r = np.exp(-np.pi * 80 / 11413)
        pulses = lfilter([1.0], [1, -2 * r * np.cos(2 * np.pi * hz / 11413), r**2], pulses)
    return torch.from_numpy(0.5 * pulses / np.abs(pulses).max()).float()


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    generator = Generator(TINY)
    save_generator(tmp_path / "run" / "g_00000003", generator)
    return tmp_path / "run" / "g_00000003"


@pytest.fixture
def wavs(tmp_path):
    for name, f0 in (("low", 110.0), ("high", 220.0)):
        audio_io.save(tmp_path / "wavs" / f"{name}.wav", vowel(f0=f0)[None], 11413)
    return tmp_path / "wavs"


@pytest.fixture
def dataset(tmp_path):
    """Two samples of 12 and 9 frames as preprocessing writes them."""
    folder, random = tmp_path / "data", np.random.default_rng(0)
    samples = []
    for name, frames in (("a", 12), ("b", 9)):
        (folder / "samples" / name).mkdir(parents=True)
        np.save(folder / "samples" / name / "mri.npy", random.random((frames, 64, 64), np.float32))
        mels = random.uniform(-90, 0, (frames, 64)).astype(np.float32)
        np.save(folder / "samples" / name / "mel_db.npy", mels)
        samples.append(Sample(name, "s", frames, f"{name}.mp4", None, None, 27.17, Alignment(0, 0, 1, 1, 0)))
    Meta(tuple(samples), MelConfig(), 64, 4).save(folder)
    Scaler(-45.0, 20.0, MelConfig()).save(folder / "scaler.json")
    return folder


def test_griffin_lim_gives_back_the_mel():
    waveform = vowel(0.8)
    mel = mel_db(waveform)
    made = griffin_lim(mel)
    assert made.shape == (mel.shape[1] * 420,)
    # Spectral convergence of the mel amplitudes; the phases it starts from alone give 0.5.
    amplitude, found = (10 ** (db / 20) for db in (mel, mel_db(made)[:, : mel.shape[1]]))
    assert float((amplitude - found).norm() / amplitude.norm()) < 0.1
    # The pre-emphasis is undone: around F1 and F3 the level is right.
    hz = np.fft.rfftfreq(5000, 1 / 11413)
    spectra = [np.abs(np.fft.rfft(x.numpy()[2000:7000] * np.hanning(5000))) for x in (waveform, made)]
    for around in (700, 2500):
        first, second = (np.sqrt((s[np.abs(hz - around) < 150] ** 2).sum()) for s in spectra)
        assert abs(20 * np.log10(second / first)) < 1.5
    assert torch.equal(made, griffin_lim(mel))
    with pytest.raises(ConfigError, match=r"mel_db: found shape \[80, 5\], expected \[64, T\]"):
        griffin_lim(torch.zeros(80, 5))


def test_the_linear_power_is_the_inverse_of_the_filters():
    power = librosa.feature.melspectrogram(y=vowel(0.5).numpy(), sr=11413, hop_length=420, n_mels=64)
    config = MelConfig()
    found = linear_power(torch.from_numpy(power).double(), config).numpy()
    filters = librosa.filters.mel(sr=11413, n_fft=2048, n_mels=64)
    loud = power > power.max() * 1e-3
    assert found.min() >= 0
    # 3 dB with the pseudo-inverse.
    assert np.abs(10 * np.log10((filters @ found)[loud] / power[loud])).mean() < 0.1


def test_mels_are_exported_as_log_amplitudes_of_the_recording_and_of_the_prediction(
    dataset, tmp_path, capsys
):
    torch.manual_seed(0)
    model = AcousticModel(AcousticConfig(backbone="tf_efficientnetv2_b0", hidden=8, image_size=64)).eval()
    save(tmp_path / "best.pt", model, Scaler(-45.0, 20.0, MelConfig()))
    assert (
        main(["vocoder", "export-mels", "--data", str(dataset), "--acoustic", str(tmp_path / "best.pt")]) == 0
    )
    assert "wrote 2 mels to" in capsys.readouterr().out
    for name, frames in (("a", 12), ("b", 9)):
        truth = np.load(dataset / "mels_gt_log" / f"{name}.npy")
        stored = np.load(dataset / "samples" / name / "mel_db.npy")
        assert truth.dtype == np.float32
        # The amplitude of -20 dB is 0.1.
        assert np.abs(np.exp(truth.T.astype(np.float64)) - 10 ** (stored / 20.0)).max() < 1e-6
        mri = torch.from_numpy(np.load(dataset / "samples" / name / "mri.npy"))
        with torch.no_grad():
            expected = (model(mri[None])[0] * 20 - 45).T * DB_TO_LOG
        predicted = np.load(dataset / "mels_ft_log_normalized" / f"{name}.npy")
        assert predicted.shape == (64, frames)
        assert np.abs(predicted - expected.numpy()).max() < 1e-4
    # Bare weights need a scaler, which can be given; these are of another model than the original one.
    torch.save(model.state_dict(), tmp_path / "bare.pt")
    bare = ["vocoder", "export-mels", "--data", str(dataset), "--acoustic", str(tmp_path / "bare.pt")]
    assert main(bare) == 2
    assert "holds weights alone, expected the scaler.json they belong to" in capsys.readouterr().err
    assert main([*bare, "--scaler", str(dataset / "scaler.json")]) == 2
    assert "weights of another architecture" in capsys.readouterr().err


def test_several_vocoders_are_compared_in_a_table_and_on_a_page(checkpoint, wavs, tmp_path, capsys):
    out = tmp_path / "out"
    # A folder means its newest checkpoint.
    assert main(["vocoder", "compare", str(checkpoint.parent), "--wavs", str(wavs), "-o", str(out)]) == 0
    assert "griffin-lim" in capsys.readouterr().out
    stored = json.loads((out / "comparison.json").read_text())
    assert [row["vocoder"] for row in stored["means"]] == ["g_00000003", "griffin-lim"]
    untrained, baseline = (row["mel_db"] for row in stored["means"])
    # Griffin-Lim of a clean vowel is close to it; a network that has learnt nothing is not.
    assert baseline < 2 < 8 < untrained
    made, rate = audio_io.load(out / "g_00000003" / "low.wav")
    assert rate == 11413
    recording = audio_io.load(wavs / "low.wav")[0]
    assert made.shape[1] == recording.shape[1] // 420 * 420
    # The score is that of the sound which is written, as far as 16 bits have it.
    expected = (
        (
            mel_db(recording[0, : made.shape[1]])
            - mel_db(griffin_lim(mel_db(recording[0])[:, : made.shape[1] // 420]))
        )
        .abs()
        .mean()
    )
    (low,) = (s for s in stored["recordings"] if s["recording"] == "low" and s["vocoder"] == "griffin-lim")
    assert low["mel_db"] == pytest.approx(float(expected), rel=1e-3)
    page = (out / "index.html").read_text()
    assert page.count("<audio") == page.count("data:image/png") == 6
    assert "http" not in page
    assert (
        (out / "comparison.csv").read_text().startswith("vocoder,recordings,mel_db,stft,real_time_factor\n")
    )


def test_what_cannot_be_compared_is_named(checkpoint, wavs, tmp_path):
    other = VocoderConfig(**{**vars(TINY), "fmax": 5000.0})
    save_generator(tmp_path / "other" / "g_00000001", Generator(other))
    paths = audio_io.files.walk(wavs)
    with pytest.raises(FileError, match=r"g_00000001: found a vocoder, one of fmax = 5000.0, expected"):
        compare([checkpoint, tmp_path / "other"], paths, tmp_path / "out")
    audio_io.save(tmp_path / "short" / "s.wav", torch.zeros(1, 800), 11413)
    with pytest.raises(FileError, match=r"s\.wav: found 800 samples, expected at least 2048"):
        compare([checkpoint], [tmp_path / "short" / "s.wav"], tmp_path / "out")
    audio_io.save(tmp_path / "more" / "low.flac", torch.zeros(1, 8000), 11413)
    with pytest.raises(ConfigError, match=r"recordings: found .*low.wav and .*low.flac, expected names that"):
        compare([checkpoint], [*paths, tmp_path / "more" / "low.flac"], tmp_path / "out")
    with pytest.raises(FileError, match=r"short: found no checkpoint g_\*"):
        compare([tmp_path / "short"], paths, tmp_path / "out")


def test_predicted_mels_take_the_place_of_the_recordings(checkpoint, wavs, tmp_path):
    (tmp_path / "mels").mkdir()
    for path in audio_io.files.walk(wavs):
        mel = mel_db(audio_io.load(path)[0][0]) * DB_TO_LOG
        np.save(tmp_path / "mels" / f"{path.stem}.npy", mel.numpy())
    paths = audio_io.files.walk(wavs)
    own = compare([checkpoint], paths, tmp_path / "own", baseline=False)
    given = compare([checkpoint], paths, tmp_path / "given", mels=tmp_path / "mels", baseline=False)
    assert [score.mel_db for score in own] == pytest.approx([score.mel_db for score in given], rel=1e-3)
    assert [row["recordings"] for row in summary(own)] == [2]


def test_convert_folds_the_weight_norm(checkpoint, tmp_path):
    target = tmp_path / "plain" / "g_00000003"
    assert main(["vocoder", "convert", str(checkpoint), str(target), "--remove-weight-norm"]) == 0
    stored = torch.load(target, weights_only=True)["generator"]
    assert "conv_pre.weight" in stored
    mel = torch.randn(1, 64, 4)
    assert torch.allclose(load_generator(target)(mel), load_generator(checkpoint)(mel), atol=1e-6)


def test_the_names_of_the_original_script_train_as_well(wavs, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("low|\nhigh|\n")
    TINY.save(tmp_path / "config.json")
    options = {
        "input_wavs_dir": wavs, "input_training_file": tmp_path / "list.txt",
        "input_validation_file": tmp_path / "list.txt", "checkpoint_path": tmp_path / "run",
        "config": tmp_path / "config.json", "fine_tuning": 1, "input_mels_dir": tmp_path / "mels",
        "extra_mels_dir": tmp_path / "mels", "extra_mels_weight": 0.8, "training_epochs": 1,
        "adversarial-from": 5, "device": "cpu",
    }  # fmt: skip
    command = [
        "vocoder",
        "train",
        *(str(part) for pair in options.items() for part in (f"--{pair[0]}", pair[1])),
    ]
    assert main(command) == 2
    assert "npy: found no such file, expected float numbers of shape [64, T]" in capsys.readouterr().err
    (tmp_path / "mels").mkdir()
    for name in ("low", "high"):
        np.save(tmp_path / "mels" / f"{name}.npy", np.zeros((64, 22), np.float32))
    assert main(command) == 0
    assert "g_00000001" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "wavs: found nothing, expected --wavs, or a preprocessed data set with --data"),
        (["--data", "none"], "training.txt: found no such file"),
        (["--data", "none", "--fine-tuning"], "mels: found nothing, expected with --fine-tuning, the folder"),
        (["--config", "none.json"], "none.json: found no such file, expected a config.json of HiFi-GAN"),
    ],
)
def test_what_is_missing_is_named(options, sentence, tmp_path, capsys):
    command = ["vocoder", "train", "--checkpoint_path", str(tmp_path), "--device", "cpu", *options]
    assert main(command) == 2
    assert sentence in capsys.readouterr().err


def test_the_command_line_needs_no_torch():
    script = "import sys, mri2speech.cli as c; c.build_parser(); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_embedded_vocoder_says_what_the_phantom_said():
    from mri2speech import vocoder
    from mri2speech.phantom.anatomy import speaker
    from mri2speech.phantom.corpus import speak
    from mri2speech.phantom.gestures import compose
    from mri2speech.vocoder.compare import vocode
    from mri2speech.vocoder.losses import stft_distance

    generator = vocoder.load()
    # A speaker and an utterance that it was not trained on.
    waveform = torch.from_numpy(speak(compose(speaker(1), 1)))
    frames = len(waveform) // 420
    mel = mel_db(waveform)[:, :frames]
    made = vocode(generator, mel)
    assert len(made) == frames * 420
    assert float((mel_db(made)[:, :frames] - mel).abs().mean()) < 5
    # Griffin-Lim is at 1.4; another utterance of the phantom, or noise, is beyond 2.
    assert float(stft_distance(waveform[: frames * 420], made)) < 1.5
