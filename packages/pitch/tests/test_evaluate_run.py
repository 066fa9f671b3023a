import csv
import dataclasses
import json
import re

import numpy as np
import pytest

import audio_io
import pitch
from audio_io.errors import ConfigError
from pitch import cli, demo, extras
from pitch.evaluate import (
    EvaluateConfig,
    evaluate,
    generated_set,
    load_dataset,
    resynthesize,
    resynthesized_set,
    runner,
    score,
)

TINY = EvaluateConfig(models="tiny")
SYSTEM = ("tiny", "weighted_viterbi")


@pytest.fixture
def small_set():
    return generated_set(seconds=1, clips=1, levels=(None, 0.0))


@pytest.fixture
def phrase_folder(tmp_path):
    """The shipped phrase with its labels, as a data set."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in (demo.RECORDING, demo.TRUE_F0):
        (folder / name).write_bytes(demo.recording().with_name(name).read_bytes())
    return folder


def test_the_scores_are_those_of_the_tracker(phrase_folder):
    config = EvaluateConfig(models="tiny", decoders="weighted_viterbi,viterbi,raw", fmin=50.0)
    evaluation = evaluate(load_dataset("folder", phrase_folder), config)
    truth = np.loadtxt(demo.recording().with_name(demo.TRUE_F0), delimiter=",", skiprows=1)
    for decoder in ("weighted_viterbi", "viterbi"):
        track = pitch.Tracker(pitch.TrackConfig(model="tiny", decoder=decoder)).track_file(demo.recording())
        frequency = 2 ** np.interp(truth[:, 0], track.times, np.log2(track.frequency))
        confident = track.confidence >= 0.5
        held = confident[np.searchsorted(track.times, truth[:, 0] + 1e-9, side="right") - 1]
        expected = score(frequency, held, truth[:, 1])
        found = evaluation.total(("tiny", decoder)).scores()
        for name, value in vars(expected).items():
            tolerance = 0.5 if name.endswith("_cents") else 2e-3
            assert getattr(found, name) == pytest.approx(value, abs=tolerance), name
    raw = evaluation.total(("tiny", "raw"))
    assert raw.accuracy() > 0.98
    # The mean of the bins resolves what the bins, 20 cents apart, do not.
    assert raw.percentile(50) < evaluation.total(("tiny", "viterbi")).percentile(50)


def test_registers_and_groups_are_parts_of_the_whole(small_set):
    evaluation = evaluate(small_set, TINY)
    total = evaluation.total(SYSTEM)
    assert sum(tally.voiced for tally in evaluation.by_register(SYSTEM).values()) == total.voiced
    for kind in ("family", "snr"):
        groups = evaluation.by_group(SYSTEM, kind)
        assert sum(tally.voiced for tally in groups.values()) == total.voiced
        assert sum(tally.false_alarms for tally in groups.values()) == total.false_alarms
    clean, noisy = evaluation.by_group(SYSTEM, "snr").values()
    assert clean.accuracy() > noisy.accuracy()


def test_a_capacity_agrees_with_itself_and_mostly_with_another(tmp_path, phrase_folder):
    (phrase_folder / demo.TRUE_F0).unlink()
    examples = load_dataset("folder", phrase_folder)
    with pytest.raises(ConfigError, match=r"sung_phrase\.flac has no labels"):
        evaluate(examples, TINY)
    itself = evaluate(examples, dataclasses.replace(TINY, against="tiny"))
    scores = itself.total(SYSTEM).scores()
    assert (scores.raw_pitch_accuracy, scores.overall_accuracy, scores.median_cents) == (1.0, 1.0, 0.25)
    other = evaluate(examples, EvaluateConfig(models="tiny", against="full"))
    assert 0.97 < other.total(SYSTEM).accuracy() < 1.0
    assert other.reference == "the track of full"


def test_resuming_evaluates_only_what_is_missing_or_changed(tmp_path, small_set, monkeypatch):
    evaluated = []
    inner = runner._evaluate_one

    def counted(example, *arguments):
        evaluated.append(example.name)
        return inner(example, *arguments)

    monkeypatch.setattr(runner, "_evaluate_one", counted)
    first = evaluate(small_set, TINY, record_dir=tmp_path)
    assert len(evaluated) == len(small_set)
    records = sorted(tmp_path.iterdir())
    records[0].unlink()
    records[1].write_text(records[1].read_text()[:100])  # as a full disk would leave it
    evaluated.clear()
    again = evaluate(small_set, TINY, record_dir=tmp_path, resume=True)
    assert len(evaluated) == 2
    assert json.dumps(again.total(SYSTEM).to_json()) == json.dumps(first.total(SYSTEM).to_json())
    evaluated.clear()
    evaluate(small_set[:2], dataclasses.replace(TINY, threshold=0.3), record_dir=tmp_path, resume=True)
    other_sounds = generated_set(seconds=1, clips=1, levels=(None,), seed=5)
    evaluate(other_sounds[:1], TINY, record_dir=tmp_path, resume=True)
    assert len(evaluated) == 3


def test_resynthesised_recordings_have_the_pitch_they_were_made_with():
    waveform = audio_io.load(demo.recording(), sample_rate=16000, channels="mono")[0][0].double().numpy()
    for method in ("harvest", "dio"):
        _, truth = resynthesize(waveform, method=method)
        f0 = demo.true_f0(truth.times)
        voiced = (truth.frequency > 0) & (f0 > 0)
        # WORLD's estimate follows the recording, so that the sound stays like it.
        assert np.median(np.abs(1200 * np.log2(truth.frequency[voiced] / f0[voiced]))) < 5
    evaluation = evaluate(resynthesized_set([demo.recording()]), TINY)
    assert evaluation.total(SYSTEM).accuracy() > 0.97
    assert evaluation.total(SYSTEM).percentile(50) < 6


def test_without_pyworld_one_sentence_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(extras, "missing_modules", lambda extra: ["pyworld"])
    assert cli.main(["evaluate", "--resynthesize", str(demo.recording())]) == 2
    assert "uv run --package pitch --extra world" in capsys.readouterr().err


def test_the_command_writes_reports_that_agree(tmp_path, capsys):
    command = ["evaluate", "--models", "tiny", "--seconds", "1", "--clips", "1", "--html"]
    command += ["--limit", "6", "--device", "cpu", "-o", str(tmp_path)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert record["recordings"] == 6
    viterbi = next(s for s in record["systems"] if s["decoder"] == "weighted_viterbi")
    shown = f"{viterbi['scores']['raw_pitch_accuracy']:.1%}"
    for name in ("evaluation.md", "evaluation.html"):
        assert shown in (tmp_path / name).read_text()
    assert shown in printed
    with (tmp_path / "evaluation.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["decoder"] == "weighted_viterbi"]
    assert len(rows) == 6
    frames = np.array([int(row["voiced_frames"]) for row in rows])
    accuracies = np.array([float(row["raw_pitch_accuracy"]) for row in rows])
    total = (frames * accuracies).sum() / frames.sum()
    assert total == pytest.approx(viterbi["scores"]["raw_pitch_accuracy"])
    assert (tmp_path / "evaluation.png").stat().st_size > 10_000
    assert cli.main([*command, "--resume"]) == 0
    table = re.compile(r"tiny .*")
    assert table.findall(capsys.readouterr().out) == table.findall(printed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "huge"], "model: found 'huge'"),
        (["--decoders", "magic"], "decoders: found 'magic'"),
        (["--against", "huge"], "model: found 'huge'"),
        (["--models", "medium"], "pitch weights fetch medium"),
        (["--weights", "tiny.pth"], "expected MODEL=FILE"),
        (["--weights", "huge=x.pth"], "weights: found 'huge'"),
        (["--dataset", "mir-1k"], "expected the folder of mir-1k"),
        (["--dataset", "generated", "."], "expected no folder"),
        (["missing"], "missing: found nothing"),
        (["--fmin", "900", "--fmax", "800"], "fmin"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("PITCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
