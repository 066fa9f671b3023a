import json

import numpy as np
import pytest
import torch
from torch import nn

from mri2speech.acoustic import checkpoint
from mri2speech.acoustic.config import AcousticConfig
from mri2speech.acoustic.model import AcousticModel
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.features import Scaler
from mri2speech.gradcam.agreement import (
    Bootstrap,
    agreement,
    overlap,
    pointing,
    rank_correlation,
    top_region,
)
from mri2speech.gradcam.config import FORMANT_BANDS, FaithfulnessConfig
from mri2speech.gradcam.faithfulness import examine
from mri2speech.gradcam.films import Film, phantom_films
from mri2speech.gradcam.masking import body, replaced

SCALER = Scaler(-50.0, 20.0, MelConfig())
CONFIG = FaithfulnessConfig(films=3, frames=2, top=0.05, fill="mean", steps=4, resamples=100)


class PatchEye(nn.Module):
    """A CNN that sees one 32x32 patch of the frame, whose variation it passes on."""

    weight: nn.Parameter

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels, generator=torch.Generator().manual_seed(0)))

    def forward(self, frames):
        cells = nn.functional.avg_pool2d(frames, 32)
        seen = torch.zeros_like(cells)
        seen[:, :, 5, 2] = cells[:, :, 5, 2]
        return [seen * self.weight[:, None, None]]


@pytest.fixture(scope="module")
def seer():
    torch.manual_seed(0)
    config = AcousticConfig(backbone="test_resnet", stage=-2, image_size=256, hidden=8)
    model = AcousticModel(config).eval()
    model.backbone = PatchEye(model.channels)
    with torch.no_grad():
        for parameter in (*model.lstm.parameters(), model.head.weight):
            parameter.abs_()
        # So small a patch makes the mean of the map small.
        model.lstm.weight_ih_l0.mul_(20)
        model.lstm.weight_ih_l0_reverse.mul_(20)
    return model


@pytest.fixture(scope="module")
def films():
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 256, 256), np.float32)
    truth[:, 160:192, 64:96] = 1
    made = []
    for number in range(3):
        frames = 0.1 * rng.random((6, 256, 256), dtype=np.float32)
        # A head, and in it what the model sees, which in the tested frames is unlike the film's mean.
        frames[:, 48:208, 48:208] += 0.5
        level = np.array([0.0, 0.4, 0.0, 0.0, -0.4, 0.0], np.float32)
        frames[:, 160:192, 64:96] += level[:, None, None]
        causes = {"F1": truth, "F2": np.roll(truth, 100, axis=2)}
        organs = np.zeros((2, 256, 256), np.uint8)
        organs[:, 160:192, 64:96] = 5  # the body of the tongue
        made.append(Film(f"film{number}", frames, np.array([1, 4]), causes, organs))
    return made


def test_a_model_that_sees_one_patch_passes_every_test_for_it(seer, films):
    results, examples = examine(seer, films, SCALER, FORMANT_BANDS, CONFIG)
    assert (results["films"], results["frames"], results["map"]) == (3, 6, [8, 8])
    own, other = results["agreement"]["F1"]["map"], results["agreement"]["F2"]["map"]
    assert own["pointing"] == (1.0, 1.0, 1.0)
    # The true cell is 1.6 % of the image and the marked region 5 %: 0.31 at most, 0.02 by chance.
    assert own["overlap"][1] > 0.15
    assert own["rank_correlation"][1] > 0.3
    assert other["pointing"][0] == 0.0
    assert other["overlap"][0] == 0.0
    assert results["organs"]["F1"]["cause"]["tongue body"] == pytest.approx(1)
    # Hiding what it does not see changes nothing, hiding the patch all that there is.
    masking = results["masking"]["F1"]
    assert masking["map"]["ratio_to_random"][1] > 2
    assert masking["map"]["change_db"][0] == pytest.approx(masking["cause"]["change_db"][0], rel=0.05)
    curves = results["curves"]["F1"]
    assert curves["map"]["deletion_area"][0] > curves["random order"]["deletion_area"][0] + 0.2
    assert curves["map"]["insertion_area"][0] < curves["random order"]["insertion_area"][0] - 0.2
    assert curves["map"]["deletion"][0] == pytest.approx(0, abs=1e-4)
    assert curves["map"]["deletion"][-1] == pytest.approx(curves["map"]["insertion"][0], abs=1e-4)
    assert [example.film for example in examples] == ["film0", "film1", "film2"]


def test_measures_agree_with_their_closed_forms():
    rng = np.random.default_rng(1)
    heat = rng.random((20, 20))
    assert rank_correlation(heat, heat**3) == pytest.approx(1)
    assert rank_correlation(heat, -heat) == pytest.approx(-1)
    assert rank_correlation(heat, np.zeros_like(heat)) == 0
    assert top_region(heat, 0.1).sum() == 40
    assert heat[top_region(heat, 0.1)].min() > heat[~top_region(heat, 0.1)].max()
    assert overlap(heat, heat, 0.1) == 1
    assert overlap(heat, -heat, 0.1) == 0
    assert pointing(heat, heat, 0.1) == 1
    assert pointing(-heat, heat, 0.1) == 0
    # Two random maps: k in common of 2 k - k^2 / n, in the mean.
    chance = [overlap(rng.random((32, 32)), rng.random((32, 32)), 0.1) for _ in range(300)]
    assert np.mean(chance) == pytest.approx(0.1 / 1.9, abs=0.006)
    large = np.kron(heat, np.ones((8, 8)))
    assert agreement(large, large, 0.1)["rank_correlation"] == pytest.approx(1)


def test_intervals_hold_the_mean_as_often_as_they_say_for_films_whose_frames_are_alike():
    rng = np.random.default_rng(2)
    films = np.repeat(np.arange(40), 5)
    hits = 0
    for trial in range(100):
        values = rng.normal(3, 1, 40)[films] + rng.normal(0, 0.1, 200)
        mean, low, high = Bootstrap(films.tolist(), 300, trial).mean(values)
        assert mean == pytest.approx(values.mean())
        hits += low <= 3 <= high
    assert 86 <= hits <= 100


def test_a_replaced_region_alone_changes_and_the_body_is_the_head():
    film = next(phantom_films(FaithfulnessConfig(films=1, frames=1)))
    frame, mean = film.frames[int(film.chosen[0])], film.frames.mean(0)
    region = np.zeros(frame.shape, dtype=bool)
    region[120:150, 90:120] = True
    for fill in ("inpaint", "blur", "mean"):
        changed = replaced(frame, region, fill, mean)
        assert np.array_equal(changed[~region], frame[~region])
        assert np.abs(changed - frame)[region].mean() > 0.01
    head = film.organs[0] > 0
    inside = body(mean)
    assert (head & inside).sum() / (head | inside).sum() > 0.8
    # The causes of F1 and F2 lie in the tract.
    for cause in film.causes.values():
        assert cause[0, inside].sum() > 0.9 * cause.sum()


def test_the_command_writes_a_report_on_the_phantom(tmp_path, capsys):
    torch.manual_seed(0)
    model = AcousticModel(AcousticConfig(backbone="test_resnet", stage=-2, image_size=32, hidden=8))
    checkpoint.save(tmp_path / "best.pt", model, SCALER)
    given = ["gradcam", "faithfulness", "--mri-checkpoint", str(tmp_path / "best.pt"), "--device", "cpu"]
    given += ["--output-dir", str(tmp_path / "report"), "--films", "1", "--frames", "1", "--steps", "2"]
    assert main([*given, "--resamples", "100", "--random-regions", "2"]) == 0
    assert "times as much as hiding as much elsewhere" in capsys.readouterr().out
    results = json.loads((tmp_path / "report" / "faithfulness.json").read_text())
    assert list(results["agreement"]) == ["F1", "F2"]
    assert next(iter(results["randomisation"]["F1"])) == "head"
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert main([*given, "--films", "0"]) == 2
    assert "films: found 0" in capsys.readouterr().err
