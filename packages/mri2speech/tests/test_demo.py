import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import audio_io
from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.config import MelConfig
from mri2speech.demo import formants
from mri2speech.demo.maps import formant_maps
from mri2speech.demo.run import small_options
from mri2speech.features import band_centres, mel_db
from mri2speech.phantom.anatomy import reference_speaker
from mri2speech.phantom.corpus import utterance
from mri2speech.phantom.gestures import sustained


def start(folder, *arguments):
    """`train --quick` with no data, in another directory than the repository's."""
    command = [sys.executable, "-m", "mri2speech", "train", "--quick", "--device", "cpu", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    process = start(folder)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return folder / "mri2speech_demo", said


@pytest.mark.slow
def test_train_without_data_ends_with_a_page_whose_files_are_there(demo):
    folder, said = demo
    assert str(Path("mri2speech_demo") / "index.html") in said
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = [part.split('"')[0] for part in page.replace('href="', 'src="').split('src="')[1:]]
    assert len(links) == len(set(links)) == 5 + 4 * 2
    for link in links:
        assert (folder / link).stat().st_size > 1000, link
    assert "mri2speech preprocess --data-dir" in page
    assert small_options() in page


@pytest.mark.slow
def test_the_demo_speaks_and_says_how_well(demo):
    folder, _ = demo
    stored = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for result in stored["results"].values():
        # What a minute of training cannot change: the measurement itself, on recordings of vowels.
        assert result["recording/vowels/F1"] < 60
        assert result["recording/vowels/F2"] < 150
        assert result["frames/vowels"] > 20
    known = stored["results"]["unseen utterances of the speakers"]
    assert known["mel_mae_db"] < known["mean_mel_mae_db"]
    for path in (folder / "speech").glob("*.wav"):
        speech, rate = audio_io.load(path)
        assert rate == 11413
        assert speech.abs().max() > 0.02
    heat = [np.load(path) for path in (folder / "gradcam").glob("*_F1_sequence.npy")]
    assert len(heat) == 2
    assert all(maps.shape[1:] == (256, 256) and maps.max() == 1 and maps.std() > 0.01 for maps in heat)


@pytest.mark.slow
def test_a_demo_that_was_killed_and_interrupted_in_training_ends_with_the_same_weights(demo, tmp_path):
    whole, _ = demo
    again = tmp_path / "mri2speech_demo"
    again.mkdir()
    for part in ("phantom", "data", "strangers", "strangers_data"):
        (again / part).symlink_to(whole / part)
    for stop, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        before = _changed(again / "run" / "last.ckpt")
        process = start(tmp_path)
        while _changed(again / "run" / "last.ckpt") == before and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, stop)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == code, said
        assert not (again / "index.html").exists()
    process = start(tmp_path)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    first, second = (checkpoint.load(folder / "run" / "best.pt")[0].state_dict() for folder in (whole, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (again / "results.json").read_bytes() == (whole / "results.json").read_bytes()


def _changed(path):
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.slow
def test_a_folder_with_a_demo_of_other_settings_is_refused(demo):
    folder, _ = demo
    process = start(folder.parent, "--hidden", "32")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.count("\n") == 1
    assert "demo.json: found a demo of other settings, expected the same, or another --output-dir" in said


@pytest.mark.parametrize("vowel", ["i", "ɑ", "u", "ɛ"])
def test_formants_are_those_of_the_tube(vowel):
    made = utterance(sustained(vowel, reference_speaker(), 0.5))
    voiced = made.f0 > 0
    waveform = torch.from_numpy(made.waveform)
    middle = slice(3, len(voiced) - 3)
    for found, limit in (
        (formants.of_waveform(made.waveform, voiced), 0.05),
        (formants.of_mel(mel_db(waveform), voiced), 0.12),
    ):
        error = np.median(np.abs(found / made.formants[:, :2] - 1)[middle], axis=0)
        assert (error < limit).all(), (vowel, error)
    assert np.isnan(formants.of_waveform(made.waveform, ~voiced)[voiced]).all()


def test_heat_maps_of_all_frames_at_once_are_those_of_one_frame_after_the_other():
    torch.manual_seed(1)
    model = AcousticModel(AcousticConfig(backbone="test_resnet", image_size=32, hidden=16)).eval()
    frames = 3 * torch.randn(5, 64, 64)
    low, high = 300.0, 900.0
    at_once = formant_maps(model, frames, (low, high), MelConfig())
    rows = (band_centres() >= low) & (band_centres() <= high)
    single = []
    for t in range(5):
        maps = model.features(frames[:, None]).detach().requires_grad_()
        energy = model.sequence(maps.mean(dim=(2, 3))[None])[0, t, rows].sum()
        (gradient,) = torch.autograd.grad(energy, maps)
        weights = gradient[t].mean(dim=(1, 2), keepdim=True)
        single.append(F.relu((weights * maps[t]).sum(0)).detach())
    expected = F.interpolate(torch.stack(single)[:, None], (64, 64), mode="bilinear")[:, 0]
    assert expected.max() > 0
    assert torch.allclose(at_once, expected / expected.max(), atol=1e-5)
