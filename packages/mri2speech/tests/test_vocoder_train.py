"""Data and training of the vocoder, with tiny networks on the CPU."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import ConfigError, FileError
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.meta import Alignment, Meta, Sample
from mri2speech.splits import split
from mri2speech.vocoder import load as load_embedded
from mri2speech.vocoder.checkpoint import load_generator
from mri2speech.vocoder.config import TrainConfig, VocoderConfig, VocoderData
from mri2speech.vocoder.data import Segments, batches, log_mel, read_filelist, segment_mel
from mri2speech.vocoder.runlog import read_metrics
from mri2speech.vocoder.train import train

TINY = VocoderConfig(
    upsample_initial_channel=16,
    resblock="2",
    resblock_kernel_sizes=(3,),
    resblock_dilation_sizes=((1, 3),),
    batch_size=2,
    learning_rate=1e-3,
)
SETTINGS = TrainConfig(
    discriminator_width=0.03125,
    checkpoint_interval=1000,
    validation_interval=1000,
    log_interval=1,
    adversarial_from=2,
    stft_weight=1.0,
)


@pytest.fixture
def corpus(tmp_path):
    """Five recordings, the last shorter than a segment, with lists and constant mels of two folders."""
    random = np.random.default_rng(0)
    names = [f"say_{index}" for index in range(5)]
    for index, name in enumerate(names):
        seconds = 0.5 if index == 4 else 1.5
        time = np.arange(int(11413 * seconds)) / 11413
        voice = 0.3 * np.sign(np.sin(2 * np.pi * (100 + 20 * index) * time)) + random.normal(
            0, 0.01, len(time)
        )
        audio_io.save(tmp_path / "wavs" / f"{name}.wav", torch.from_numpy(voice).float()[None], 11413)
        for folder, value in (("predicted", -1.0), ("truth", -2.0)):
            (tmp_path / folder).mkdir(exist_ok=True)
            frames = 1 + len(time) // 420
            np.save(tmp_path / folder / f"{name}.npy", np.full((64, frames), value, np.float32))
    (tmp_path / "training.txt").write_text("".join(f"{name}|some text\n" for name in names))
    (tmp_path / "validation.txt").write_text(f"{names[0]}.wav\n\n")
    return VocoderData(tmp_path / "wavs", tmp_path / "training.txt", tmp_path / "validation.txt")


def weights(path):
    return load_generator(path, remove_weight_norm=False).state_dict()


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


def test_file_lists_have_the_name_before_the_first_bar(corpus, tmp_path):
    assert read_filelist(corpus.training) == [f"say_{index}" for index in range(5)]
    assert read_filelist(corpus.validation) == ["say_0"]
    with pytest.raises(FileError, match=r"none\.txt: found no such file, expected a list"):
        read_filelist(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(FileError, match="found nothing"):
        read_filelist(tmp_path / "empty.txt")


@pytest.mark.parametrize("start", [0, 1, 10, 20, 33])
def test_the_mel_of_a_segment_is_that_of_the_whole_recording(start):
    waveform = torch.randn(40 * 420 + 7, generator=torch.manual_seed(0)) * 0.1
    whole = log_mel(waveform, TINY)
    expected = whole[:, start : start + 20]
    found = segment_mel(waveform, start, TINY)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4


def test_segments_are_cut_where_their_mels_are(corpus):
    segments = Segments(read_filelist(corpus.training), corpus, TINY)
    mel, segment = segments[3, 1]
    waveform = audio_io.load(corpus.wavs / "say_1.wav")[0][0]
    starts = [s for s in range(21) if torch.equal(waveform[s * 420 : s * 420 + 8400], segment[0])]
    assert len(starts) == 1
    assert (mel - log_mel(waveform, TINY)[:, starts[0] : starts[0] + 20]).abs().max() < 1e-4
    # A recording shorter than a segment ends in silence.
    mel, segment = segments[0, 4]
    assert mel.shape == (64, 20)
    assert segment.shape == (1, 8400)
    assert float(mel[:, -1].max()) == pytest.approx(np.log(1e-5))
    assert not segment[0, 5707:].any()


def test_four_samples_in_five_take_the_ground_truth(corpus, tmp_path):
    data = replace(corpus, mels=tmp_path / "predicted", extra_mels=tmp_path / "truth")
    segments = Segments(read_filelist(data.training), data, TINY)
    drawn = [float(segments[epoch, index][0][0, 0]) for epoch in range(200) for index in range(5)]
    assert set(drawn) == {-1.0, -2.0}
    # 1,000 draws: the standard deviation of the share is 0.013.
    assert drawn.count(-2.0) / len(drawn) == pytest.approx(0.8, abs=0.04)
    again = Segments(read_filelist(data.training), data, TINY)
    assert drawn[:50] == [float(again[epoch, index][0][0, 0]) for epoch in range(10) for index in range(5)]
    only = replace(data, extra_mels=None)
    assert float(Segments(["say_0"], only, TINY)[0, 0][0][0, 0]) == -1.0


def test_batches_from_the_middle_of_an_epoch_are_those_that_were_left(corpus):
    segments = Segments(read_filelist(corpus.training), corpus, TINY)
    first, second = batches(segments, 7, 0, 0)
    (rest,) = batches(segments, 7, 1, 0)
    assert torch.equal(rest[0], second[0])
    assert torch.equal(rest[1], second[1])
    assert not torch.equal(first[1], second[1])


def test_bad_data_is_named(corpus, tmp_path):
    with pytest.raises(FileError, match=r"other\.wav: found no such file, expected the recording other"):
        Segments(["other"], corpus, TINY)
    data = replace(corpus, mels=tmp_path / "predicted")
    segments = Segments(["say_0"], data, TINY)
    np.save(tmp_path / "predicted" / "say_0.npy", np.zeros((80, 40), np.float32))
    with pytest.raises(
        FileError, match=r"say_0\.npy: found float32 of shape \[80, 40\], expected .*\[64, T\]"
    ):
        segments[0, 0]
    np.save(tmp_path / "predicted" / "say_0.npy", np.zeros((64, 100), np.float32))
    with pytest.raises(FileError, match=r"found 100 frames, expected about 41, the length of say_0\.wav"):
        segments[0, 0]
    np.save(tmp_path / "predicted" / "say_0.npy", np.full((64, 41), np.nan, np.float32))
    with pytest.raises(FileError, match="found NaN"):
        segments[0, 0]
    with pytest.raises(ConfigError, match=r"extra_mels_weight: found 1\.5, expected from 0 to 1"):
        replace(data, extra_mels_weight=1.5)


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(corpus, tmp_path):
    settings = replace(SETTINGS, max_steps=5)
    whole = train(TINY, settings, corpus, tmp_path / "whole")
    # Stopped in the middle of an epoch of two batches, after the discriminators have come in.
    train(TINY, replace(settings, max_steps=3), corpus, tmp_path / "parts")
    resumed = train(TINY, settings, corpus, tmp_path / "parts")
    assert whole.name == resumed.name == "g_00000005"
    assert same(weights(whole), weights(resumed))
    discriminators = [
        torch.load(path.with_name("do_00000005"), weights_only=True) for path in (whole, resumed)
    ]
    assert same(discriminators[0]["mpd"], discriminators[1]["mpd"])
    assert same(discriminators[0]["msd"], discriminators[1]["msd"])
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    losses = [[(row["step"], row["mel"], row["feature"]) for row in part if row["mel"]] for part in rows]
    assert losses[0] == losses[1]
    assert [feature != "" for _, _, feature in losses[0]] == [False, False, True, True, True]
    assert (tmp_path / "parts" / "curves.png").stat().st_size > 10_000
    # Going on with a run that is done changes nothing.
    assert same(weights(train(TINY, settings, corpus, tmp_path / "parts")), weights(whole))
    with pytest.raises(FileError, match=r"config\.json: found upsample_initial_channel = 16, expected 32"):
        train(replace(TINY, upsample_initial_channel=32), settings, corpus, tmp_path / "parts")


def test_training_lowers_the_mel_distance(corpus, tmp_path):
    settings = replace(SETTINGS, max_steps=30, adversarial_from=1000)
    train(replace(TINY, learning_rate=5e-3), settings, corpus, tmp_path / "run")
    losses = [float(row["mel"]) for row in read_metrics(tmp_path / "run" / "metrics.csv") if row["mel"]]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:3])


def test_a_new_run_starts_from_a_checkpoint_and_its_discriminators(corpus, tmp_path):
    first = train(TINY, replace(SETTINGS, max_steps=3), corpus, tmp_path / "first")
    frozen = replace(TINY, learning_rate=0.0)
    settings = replace(SETTINGS, max_steps=1, adversarial_from=0)
    with pytest.raises(FileError, match=r"g_00000003: found conv_pre.*expected"):
        train(replace(TINY, upsample_initial_channel=32), settings, corpus, tmp_path / "second", start=first)
    second = train(frozen, settings, corpus, tmp_path / "second", start=first)
    assert second.name == "g_00000001"
    assert same(weights(first), weights(second))
    stored = [
        torch.load(path, weights_only=True)
        for path in (first.with_name("do_00000003"), second.with_name("do_00000001"))
    ]
    assert same(stored[0]["mpd"], stored[1]["mpd"])


def test_ctrl_c_leaves_a_checkpoint_that_is_gone_on_with(corpus, tmp_path, monkeypatch):
    from mri2speech.vocoder import train as module

    step = module._Run.step

    def interrupted(self, batch):
        if self.training.steps == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch)

    settings = replace(SETTINGS, max_steps=4)
    monkeypatch.setattr(module._Run, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, settings, corpus, tmp_path / "run")
    assert (tmp_path / "run" / "g_00000002").is_file()
    monkeypatch.undo()
    resumed = train(TINY, settings, corpus, tmp_path / "run")
    assert same(weights(resumed), weights(train(TINY, settings, corpus, tmp_path / "whole")))


def test_only_the_newest_checkpoints_are_kept(corpus, tmp_path):
    train(TINY, replace(SETTINGS, max_steps=4, checkpoint_interval=1, keep=2), corpus, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("*_0*")) == [
        "do_00000003", "do_00000004", "g_00000003", "g_00000004",
    ]  # fmt: skip


def test_the_test_utterances_of_the_acoustic_model_are_kept_from_the_vocoder(corpus, tmp_path, capsys):
    names = [f"say_{index}" for index in range(5)]
    samples = [Sample(n, "s", 20, f"{n}.mp4", None, None, 27.17, Alignment(0, 0, 1, 1, 0)) for n in names]
    meta = Meta(tuple(samples), MelConfig(), 64, 4)
    meta.save(tmp_path / "data")
    parts = split(meta, "utterance")
    parts.save(tmp_path / "split.json")
    command = ["vocoder", "train", "--wavs", str(corpus.wavs), "--output-dir", str(tmp_path / "run")]
    command += ["--start", "embedded", "--max-steps", "1", "--adversarial-from", "9", "--device", "cpu"]
    command += ["--discriminator-width", "0.03125", "--split", str(tmp_path / "split.json")]
    assert main([*command, "--data", str(tmp_path / "data")]) == 0
    lists = [read_filelist(tmp_path / "run" / f"{part}.txt") for part in ("training", "validation")]
    whole = parts.utterances(meta)
    assert lists == [[names[index] for index in part] for part in (whole.train, whole.validation)]
    assert sum(map(len, lists)) == 4
    assert main(command) == 2
    assert "split.json, expected with it --data, and no lists" in capsys.readouterr().err


def test_the_embedded_vocoder_is_fine_tuned_from_the_command_line(corpus, tmp_path, capsys):
    arguments = ["--wavs", str(corpus.wavs), "--training-list", str(corpus.training), "--start", "embedded"]
    arguments += ["--validation-list", str(corpus.validation), "--output-dir", str(tmp_path / "tuned")]
    arguments += ["--fine-tuning", "--mels", str(tmp_path / "predicted"), "--max-steps", "1"]
    arguments += ["--discriminator-width", "0.03125", "--adversarial-from", "9", "--device", "cpu"]
    assert main(["vocoder", "train", *arguments]) == 0
    assert "g_00000001" in capsys.readouterr().out
    tuned = load_generator(tmp_path / "tuned" / "g_00000001")
    embedded = load_embedded()
    assert tuned.config.upsample_initial_channel == embedded.config.upsample_initial_channel
    for ours, theirs in zip(tuned.parameters(), embedded.parameters(), strict=True):
        # Half precision and one step of AdamW, whose size is the learning rate.
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-2)
    assert not same(tuned.state_dict(), embedded.state_dict())
