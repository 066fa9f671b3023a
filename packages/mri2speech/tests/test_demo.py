import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import audio_io
from mri2speech.acoustic import checkpoint
from mri2speech.demo.config import FULL
from mri2speech.demo.films import write_films
from mri2speech.demo.page import small_options
from mri2speech.phantom.config import PhantomConfig
from mri2speech.phantom.writer import load_truth

SECONDS = 600  # after which a run counts as hung


def start(folder, *arguments):
    """`train --quick` without data, in another directory than the repository's."""
    command = [sys.executable, "-m", "mri2speech", "train", "--quick", "--device", "cpu", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    process = start(folder)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    return folder / "mri2speech_demo", said


@pytest.mark.slow
def test_train_without_data_ends_with_a_page_whose_files_are_there(demo):
    folder, said = demo
    assert str(Path("mri2speech_demo") / "index.html") in said
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = [part.split('"')[0] for part in page.replace('href="', 'src="').split('src="')[1:]]
    # Two groups with a page and a film with two pictures each; curves, model, data and figures.
    assert len(links) == 2 + 2 * 3 + 4
    for link in links:
        assert (folder / link).stat().st_size > 1000, link
    assert "mri2speech preprocess --data-dir" in page
    assert small_options() in page


@pytest.mark.slow
def test_the_demo_learns_and_speaks(demo):
    folder, _ = demo
    for means in json.loads((folder / "results.json").read_text(encoding="utf-8"))["means"].values():
        # The recording's own mels: what the measurement and the vocoder can do.
        assert means["copy"]["f1_rmse_hz"] < means["mean"]["f1_rmse_hz"] / 2
    known = json.loads((folder / "results.json").read_text(encoding="utf-8"))["means"]["known"]
    assert known["predicted"]["mel_all_db"] < 0.8 * known["mean"]["mel_all_db"]
    speech = list((folder / "speech").glob("*.wav"))
    heat = [np.load(path) for path in (folder / "gradcam").glob("*/gradcam_F?_sequence.npy")]
    assert (len(speech), len(heat)) == (2, 4)
    for path in speech:
        waveform, rate = audio_io.load(path)
        assert rate == 11413
        assert waveform.abs().max() > 0.02
    for maps in heat:
        assert maps.shape[1:] == (256, 256)
        assert maps.max() == 1
        assert maps.astype(np.float32).std() > 0.01


@pytest.mark.slow
def test_a_demo_that_was_killed_and_interrupted_in_training_ends_with_the_same_weights(demo, tmp_path):
    whole, _ = demo
    again = tmp_path / "mri2speech_demo"
    again.mkdir()
    for part in ("phantom", "data", "strangers", "strangers_data"):
        (again / part).symlink_to(whole / part)
    (again / "demo.json").write_bytes((whole / "demo.json").read_bytes())
    for stop, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = _changed(again / "run" / "last.ckpt")
        process = start(tmp_path)
        while _changed(again / "run" / "last.ckpt") == before and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, stop)
        said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == code, said
        assert not (again / "index.html").exists()
    process = start(tmp_path)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    first, second = (checkpoint.load(folder / "run" / "best.pt")[0].state_dict() for folder in (whole, again))
    assert all(torch.equal(first[key], second[key]) for key in first)


def _changed(path):
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.slow
def test_a_folder_with_a_demo_of_other_settings_is_refused(demo):
    folder, _ = demo
    process = start(folder.parent, "--hidden", "32")
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert "found a demo of other settings, expected the same settings, or another folder" in said


def test_a_seed_changes_all_that_is_drawn_and_nothing_else():
    other = FULL.of_seed(43)
    assert (other.phantom.seed, other.strangers.seed, other.training.seed) == (86, 87, 43)
    assert FULL.of_seed(42) is FULL
    back = replace(
        other,
        phantom=replace(other.phantom, seed=FULL.phantom.seed),
        strangers=replace(other.strangers, seed=FULL.strangers.seed),
        training=replace(other.training, seed=42),
    )
    assert back == FULL


def test_films_are_of_one_pitch_and_only_those_that_are_missing_are_made(tmp_path):
    config = PhantomConfig(speakers=2, utterances=1, size=64)
    write_films(tmp_path, config)
    truths = sorted((tmp_path / "truth").iterdir())
    pitches = [load_truth(path)["f0"] for path in truths]
    assert [len(np.unique(f0[f0 > 0])) for f0 in pitches] == [1, 1]
    assert len({f0.max() for f0 in pitches}) == 2
    stem = truths[0].stem
    film, sound = tmp_path / "videos" / f"{stem}.avi", tmp_path / "audio" / f"{stem}.wav"
    pixels, samples = film.read_bytes(), sound.read_bytes()
    truths[0].unlink()
    kept = truths[1].stat().st_mtime_ns
    write_films(tmp_path, config)
    assert truths[1].stat().st_mtime_ns == kept
    assert np.array_equal(load_truth(truths[0])["f0"], pitches[0])
    assert film.read_bytes() == pixels
    assert sound.read_bytes() == samples
