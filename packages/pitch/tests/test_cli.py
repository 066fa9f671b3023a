import csv
import functools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading

import av
import numpy as np
import pytest
import torch
from PIL import Image

import audio_io
import pitch
from audio_io.errors import ConfigError, FileError, UserError
from pitch import NoteConfig, TrackConfig, Tracker, batch, demo, jobs
from pitch.batch import TrackerSettings, run_batch
from pitch.cli import main
from pitch.commands.track import _track
from pitch.weights import weights_digest

TINY = ["--model", "tiny", "--device", "cpu"]


@pytest.fixture
def short(tmp_path):
    """A second of a 220 Hz tone with overtones."""
    time = torch.arange(16000) / 16000
    tone = sum(torch.sin(2 * torch.pi * 220 * k * time) / k for k in range(1, 6)) / 4
    audio_io.save(tmp_path / "in/tone.wav", tone, 16000)
    return tmp_path / "in/tone.wav"


def run(*arguments):
    return main(["track", *map(str, arguments), *TINY])


def test_without_a_file_the_shipped_phrase_is_tracked_and_its_error_reported(tmp_path, capsys):
    assert run("-o", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "sung_phrase.flac: 5.70 s, a frame every 10 ms (model tiny, decoder weighted_viterbi, cpu)"
    )
    assert lines[4].startswith("  error   ")
    assert float(lines[4].split()[1]) < 12  # cents
    with (tmp_path / "sung_phrase.f0.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 571
    truth = demo.true_f0(np.array([float(row["time"]) for row in rows]))
    cents = [
        1200 * np.log2(float(row["frequency"]) / f0) for row, f0 in zip(rows, truth, strict=True) if f0 > 0
    ]
    assert np.median(np.abs(cents)) < 12
    record = json.loads((tmp_path / "sung_phrase.f0.json").read_text())
    assert record["settings"]["model"] == "tiny"
    assert record["summary"]["frames"] == 571


def test_the_figure_shows_something_at_its_resolution(tmp_path):
    run("-o", tmp_path)
    with Image.open(tmp_path / "sung_phrase.f0.png") as image:
        assert image.size == (1500, 750)
        pixels = np.asarray(image.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    # The pitch line (light blue) crosses the posteriorgram from left to right.
    blue = np.abs(pixels.astype(int) - (0x56, 0xB4, 0xE9)).max(axis=2) < 40
    columns = np.flatnonzero(blue.any(axis=0))
    assert np.ptp(columns) > 900


def write_mp4(path, waveform, rate):
    """A video of grey pictures with the waveform as its AAC sound track."""
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p")
        sound = output.add_stream("aac", rate=rate, layout="mono")
        for _ in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
            output.mux(pictures.encode(picture))
        output.mux(pictures.encode())
        frame = av.AudioFrame.from_ndarray(waveform.numpy(), format="fltp", layout="mono")
        frame.sample_rate = rate
        for part in av.AudioResampler("fltp", "mono", rate, 1024).resample(frame):
            output.mux(sound.encode(part))
        output.mux(sound.encode())


def test_any_container_is_tracked_the_sound_of_a_video_included(short, tmp_path, capsys):
    waveform, rate = audio_io.load(short)
    write_mp4(tmp_path / "in/film.mp4", waveform, rate)
    assert run(short, tmp_path / "in/film.mp4", "-o", tmp_path / "out", "--json", "--outputs", "csv") == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["median"] for report in reports] == pytest.approx([220.0, 220.0], rel=0.003)
    assert not list((tmp_path / "out").glob("*.png"))


def test_folders_keep_their_structure_and_one_bad_file_does_not_cost_the_others(short, tmp_path, capsys):
    (tmp_path / "in/sub").mkdir()
    shutil.copy(short, tmp_path / "in/sub/tone.wav")
    (tmp_path / "in/broken.wav").write_bytes(b"RIFF....not a wave file at all")
    assert run(tmp_path / "in", "-o", tmp_path / "out", "--outputs", "csv") == 2
    written = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.csv")
    )
    assert written == ["sub/tone.f0.csv", "tone.f0.csv"]
    errors = capsys.readouterr().err
    assert f"pitch: error: {tmp_path / 'in/broken.wav'}: found" in errors
    assert "1 of 3 recordings could not be tracked" in errors


def test_resume_skips_what_is_done_and_redoes_what_is_stale(short, tmp_path, capsys):
    out = tmp_path / "out"
    run(short, "-o", out)
    before = (out / "tone.f0.csv").stat().st_mtime_ns

    assert run(short, "-o", out, "--resume") == 0
    captured = capsys.readouterr()
    assert "1 of 1 recordings are done already" in captured.err
    assert (out / "tone.f0.csv").stat().st_mtime_ns == before

    run(short, "-o", out, "--resume", "--hop-length", 320)
    assert len((out / "tone.f0.csv").read_text().splitlines()) == 1 + 51
    (out / "tone.f0.csv").unlink()
    run(short, "-o", out, "--resume", "--hop-length", 320)
    assert (out / "tone.f0.csv").exists()
    waveform, rate = audio_io.load(short)
    audio_io.save(short, waveform[:, :8000], rate)
    run(short, "-o", out, "--resume", "--hop-length", 320)
    assert len((out / "tone.f0.csv").read_text().splitlines()) == 1 + 26


def test_resume_never_takes_results_of_another_run(short, tmp_path, capsys):
    out, work = tmp_path / "out", (short, "-o", tmp_path / "out")

    def rows():
        return len((out / "tone.f0.csv").read_text().splitlines()) - 1

    # A run with other settings that was interrupted after its CSV.
    run(*work)
    record = (out / "tone.f0.json").read_bytes()
    tracker = Tracker(TrackConfig(model="tiny", hop_length=320))
    with pytest.raises(ZeroDivisionError):
        jobs.run_job(jobs.plan_jobs([short], out)[0], tracker, truth=lambda _: 1 / 0)
    assert rows() == 51
    run(*work, "--resume")
    assert rows() == 101

    # Weights that were replaced under the same name.
    weights = tmp_path / "w.pth"
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(pitch.Crepe("tiny").state_dict(), weights)
        run(*work, "--weights", weights, "--resume")
        assert "0 of 1 recordings are done already" in capsys.readouterr().err

    # A figure that is missing.
    (out / "tone.f0.png").unlink()
    run(*work, "--weights", weights, "--resume", "--outputs", "csv")
    assert "1 of 1 recordings are done already" in capsys.readouterr().err
    run(*work, "--weights", weights, "--resume")
    assert (out / "tone.f0.png").exists()
    assert record != (out / "tone.f0.json").read_bytes()

    # A recording that has gone since.
    job = jobs.plan_jobs([short], out)[0]
    short.unlink()
    assert not jobs.is_done(job, TrackConfig(model="tiny"), "x")


def test_a_channel_that_one_file_lacks_does_not_cost_the_others(short, tmp_path, capsys):
    tone, rate = audio_io.load(short)
    audio_io.save(short.with_name("stereo.wav"), torch.cat([0 * tone, tone]), rate)
    assert run(short.parent, "-o", tmp_path / "out", "--channel", 1, "--outputs", "csv") == 2
    assert [path.name for path in (tmp_path / "out").glob("*.csv")] == ["stereo.f0.csv"]
    error = capsys.readouterr().err
    assert f"pitch: error: {short}: found channels 0 to 0, expected a channel 1" in error


def test_any_file_name_can_be_the_title_of_a_figure(short, tmp_path):
    odd = short.rename(short.with_name("c $_{ $ x.wav"))
    assert run(odd, "-o", tmp_path) == 0
    assert (tmp_path / "c $_{ $ x.f0.png").exists()


def test_names_that_differ_in_case_only_would_overwrite_each_other(short, tmp_path):
    shutil.copy(short, short.with_name("Tone.flac"))
    with pytest.raises(ConfigError, match="which would both write"):
        jobs.plan_jobs([short.parent], tmp_path)


def test_shards_share_the_work_without_overlap(short, tmp_path):
    for name in "bcde":
        shutil.copy(short, short.with_name(f"{name}.wav"))
    found = []
    for number in (1, 2):
        out = tmp_path / f"out{number}"
        assert run(short.parent, "-o", out, "--shard", f"{number}/2", "--outputs", "csv") == 0
        found += [path.name for path in out.glob("*.csv")]
    assert sorted(found) == sorted([*(f"{name}.f0.csv" for name in "bcde"), "tone.f0.csv"])


def test_outputs_are_those_asked_for_and_resume_wants_them_all(short, tmp_path, capsys):
    out, work = tmp_path / "out", (short, "-o", tmp_path / "out", "--resume")

    def there():
        return sorted(path.name for path in out.iterdir())

    assert run(*work, "--outputs", "npy,notes") == 0
    assert there() == ["tone.f0.json", "tone.f0.npy", "tone.notes.csv"]
    run(*work, "--outputs", "notes")
    assert "1 of 1 recordings are done already" in capsys.readouterr().err
    run(*work, "--outputs", "notes,midi")
    assert "0 of 1 recordings are done already" in capsys.readouterr().err
    # What an earlier run with the same settings wrote stays good.
    run(*work, "--outputs", "npy,midi,json")
    assert "1 of 1 recordings are done already" in capsys.readouterr().err
    # With others it does not.
    run(*work, "--outputs", "notes", "--min-note", 0.2)
    run(*work, "--outputs", "npy", "--min-note", 0.2)
    assert capsys.readouterr().err.count("0 of 1 recordings are done already") == 2


def test_patterns_that_the_shell_left_alone_are_expanded(short, tmp_path):
    (tmp_path / "in/a/b").mkdir(parents=True)
    shutil.copy(short, tmp_path / "in/a/b/deep.wav")
    shutil.copy(short, tmp_path / "in/a/[live].wav")
    (tmp_path / "in/a/notes.txt").write_text("no audio")

    def planned(pattern):
        jobs_ = jobs.plan_jobs([tmp_path / pattern], tmp_path)
        return [job.stem.relative_to(tmp_path).as_posix() for job in jobs_]

    assert planned("in/**/*") == ["a/[live]", "a/b/deep", "tone"]
    assert planned("in/a/*/*.wav") == ["b/deep"]
    assert planned("in/t?ne.*") == ["tone"]
    # A name that looks like a pattern is a name if there is such a file.
    assert planned("in/a/[live].wav") == ["[live]"]


def test_several_processes_write_what_one_writes(short, tmp_path, capsys):
    for name in "bcd":
        shutil.copy(short, short.with_name(f"{name}.wav"))
    short.with_name("broken.wav").write_bytes(b"RIFF....not a wave file at all")
    results = {}
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        arguments = (short.parent, "-o", out, "--outputs", "csv,npy,notes,midi", "--json")
        assert run(*arguments, "--workers", workers) == 2
        captured = capsys.readouterr()
        assert "broken.wav: found bytes" in captured.err
        assert "1 of 5 recordings could not be tracked" in captured.err
        reports = [json.loads(line) for line in captured.out.splitlines()]
        assert sorted(report["recording"] for report in reports) == sorted(
            str(short.with_name(f"{name}.wav")) for name in ("b", "c", "d", "tone")
        )
        results[workers] = {path.name: path.read_bytes() for path in out.iterdir()}
    assert results[1] == results[2]


def test_an_interrupted_batch_leaves_no_process_and_no_half_file(short, tmp_path):
    for name in "bcdefgh":
        shutil.copy(short, short.with_name(f"{name}.wav"))
    planned = jobs.plan_jobs([short.parent], tmp_path / "out")
    config = TrackConfig(model="tiny")
    task = functools.partial(_track, outputs=("csv",), notes=NoteConfig(), is_demo=False)
    outcomes = run_batch(planned, task, TrackerSettings(config, "cpu"), workers=2)
    assert next(outcomes).error is None
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)
    assert multiprocessing.active_children() == []
    digest = weights_digest("tiny")
    for path in (tmp_path / "out").glob("*.json"):
        job = next(job for job in planned if job.record == path)
        assert jobs.is_done(job, config, digest, outputs=("csv",))
    assert all(path.suffix in (".csv", ".json") for path in (tmp_path / "out").iterdir())


def test_weights_that_do_not_fit_are_no_error_of_a_recording(short, tmp_path, monkeypatch):
    """A worker process loads them when it gets its first recording."""
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pth")
    settings = TrackerSettings(TrackConfig(model="tiny"), "cpu", tmp_path / "w.pth")
    monkeypatch.setattr(batch._Worker, "settings", settings, raising=False)
    monkeypatch.setattr(batch._Worker, "stop", threading.Event(), raising=False)
    (job,) = jobs.plan_jobs([short], tmp_path)
    with pytest.raises(UserError, match=r"w\.pth: found 'conv1\.weight' of shape") as caught:
        batch._work(job, pytest.fail)
    assert not isinstance(caught.value, FileError)


ERRORS = {
    "unknown output": (
        ["{tmp}/in/tone.wav", "--outputs", "csv,wav"],
        "outputs: found 'wav', expected some of csv,",
    ),
    "no workers": (["{tmp}/in/tone.wav", "--workers", "0"], "workers: found 0, expected at least 1"),
    "empty pattern": (
        ["{tmp}/in/*.flac"],
        "FILE: found no audio file in {tmp}/in/*.flac, expected a pattern that matches at least one",
    ),
    "no such file": (["nowhere.wav"], "nowhere.wav: found "),
    "empty folder": (
        ["{tmp}/hollow"],
        "FILE: found no audio file in {tmp}/hollow, expected a folder with at least one",
    ),
    "same output": (
        ["{tmp}/in/tone.wav", "{tmp}/tone.wav"],
        "FILE: found {tmp}/in/tone.wav and {tmp}/tone.wav, which would both write {tmp}/out/tone.f0.csv",
    ),
    "no weights": (
        ["{tmp}/in/tone.wav", "--model", "small"],
        "model: no weights of 'small' are on this machine",
    ),
    "bad shard": (
        ["{tmp}/in/tone.wav", "--shard", "3/2"],
        "shard: found '3/2', expected I",
    ),
    "bad device": (
        ["{tmp}/in/tone.wav", "--device", "warp"],
        "device: found 'warp', expected auto or one that is here",
    ),
    "bad range": (
        ["{tmp}/in/tone.wav", "--fmin", "900", "--fmax", "100"],
        "fmin: found 900.0 Hz, expected less than",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_gets_one_sentence_and_exit_code_2(case, short, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PITCH_CACHE", str(tmp_path / "cache"))
    arguments, message = ERRORS[case]
    (tmp_path / "hollow").mkdir()
    shutil.copy(short, tmp_path / "tone.wav")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    assert main(["track", *TINY, *filled, "-o", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("pitch: error: " + message.format(tmp=tmp_path).replace("/", os.sep))
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.glob("out/*"))


def test_an_unwritable_output_folder_is_named(short, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(short, "-o", tmp_path / "file/out") == 2
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err


def test_the_options_are_the_fields_of_the_configuration(capsys):
    with pytest.raises(SystemExit):
        main(["track", "--help"])
    text = capsys.readouterr().out
    assert "--hop-length INT" in text
    assert "(default: 160 samples at 16 kHz)" in text
    assert "{tiny,small,regular,medium,large,full}" in text


def test_help_and_import_stay_quick_since_torch_waits():
    """Seconds depend on the machine; what makes them many is known."""
    script = (
        "import sys, pitch, pitch.cli; pitch.cli.build_parser().format_help();"
        "print([m for m in ('torch', 'matplotlib', 'librosa', 'torchcrepe', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_module_runs_like_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "pitch", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pitch 0.")
