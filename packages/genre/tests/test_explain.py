import itertools
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from torch import nn

import audio_io
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.cli import main
from genre.config import STEMS, FeatureConfig, SeparationConfig, TrainConfig
from genre.explain.config import ExplainConfig
from genre.explain.figures import track_map
from genre.explain.maps import cell_of, cell_of_frames, log_odds, stride_of
from genre.explain.shapley import ALL, NONE, SUBSETS, occlusion, shapley
from genre.explain.summary import summarise
from genre.explain.track import Explainer
from genre.explain.write import write_report
from genre.features import Statistics, StemMel, picture
from genre.model import GenreNet
from genre.predict import Predictor
from genre.run_config import PredictConfig

FEATURES = FeatureConfig(duration=1.5, n_mels=64, image="native")
LABELS = ("blues", "jazz", "rock")


def make_stems(seconds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * 22050)) / 22050
    tones = torch.sin(2 * torch.pi * torch.tensor([[700.0], [180.0], [90.0], [1500.0]]) * time)
    beat = 0.3 + 0.7 * (torch.sin(2 * torch.pi * 1.3 * time) > 0)
    level = torch.tensor([[0.2], [0.3], [0.1], [0.05]])
    return level * (tones * beat + 0.2 * torch.randn(4, len(time), generator=generator))


@pytest.fixture(scope="module")
def checkpoint():
    torch.manual_seed(0)
    config = TrainConfig(backbone="efficientnet_b0", weights="none", frozen_stages=3)
    network = GenreNet(config, 3)
    statistics = Statistics((-40.0,) * 4, (15.0,) * 4)
    # With its initial statistics, a network from scratch gives the same for every input.
    windows = torch.stack([make_stems(1.5, seed) for seed in range(4)])
    windows = torch.cat([windows, SUBSETS[::3, :, None] * windows[:1]])
    pictures = picture(StemMel(FEATURES)(windows), statistics, FEATURES)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the batches
    network.features.train()
    with torch.no_grad():
        network.features(pictures + 0.5 * torch.randn_like(pictures))
    return Checkpoint(
        features=FEATURES,
        separation=SeparationConfig(separator="stems"),
        train=config,
        labels=LABELS,
        statistics=statistics,
        state=network.state_dict(),
        temperature=0.02,  # the logits are small
    )


class Looking(nn.Module):
    """A feature map that has some cells of some stems alone: each band and frame is a cell."""

    def __init__(self, stem, rows, columns):
        super().__init__()
        self.stem, self.rows, self.columns = stem, rows, columns

    def forward(self, x):
        seen = torch.zeros_like(x[:, :1])
        part = (slice(None), slice(None), self.rows, self.columns)
        seen[part] = x[:, self.stem : self.stem + 1][part]
        return torch.cat([seen, seen**2], dim=1)


@pytest.fixture
def looking(checkpoint):
    """An explainer of a network that looks at the bass alone, at some bands for some time."""
    rows, columns = slice(20, 30), slice(10, 40)
    # Of the common reference every stem is a part, whatever the network looks at.
    features = replace(FEATURES, reference="stem")
    predictor = Predictor(replace(checkpoint, features=features, temperature=1.0), device="cpu")
    network = predictor.network
    network.frozen_stages, network.features = 0, nn.Sequential(Looking(2, rows, columns))
    network.head = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():  # the louder, the more it is jazz
        network.head[0].weight.copy_(torch.tensor([[0.0, 0.0], [16.0, 0.5], [0.0, 0.0]]))
        network.head[0].bias.zero_()

    def make(**settings):
        return Explainer(predictor, ExplainConfig(genre="jazz", cell_size=1, **settings))

    return make, rows, columns


def test_shapley_values_are_the_mean_over_all_orders():
    values = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for order in itertools.permutations(range(4)):
        number = NONE
        for stem in order:
            expected[stem] += (values[number + 2**stem] - values[number]) / 24
            number += 2**stem
    torch.testing.assert_close(shapley(values), expected, atol=1e-14, rtol=0)
    torch.testing.assert_close(occlusion(values)[1], values[15] - values[13])
    assert SUBSETS[13].tolist() == [True, False, True, True]


@pytest.mark.parametrize("reference", ["stem", "common"])
def test_each_subset_is_what_prediction_says_of_a_recording_with_silent_stems(checkpoint, reference):
    other = replace(checkpoint, features=replace(FEATURES, reference=reference))
    predictor = Predictor(other, PredictConfig(window_batch=5), device="cpu")
    stems = make_stems(3.1)
    found = Explainer(predictor, ExplainConfig(maps="none")).explain_stems(stems)
    assert len(found.starts) == 4
    for number in (ALL, NONE, 5, 11):
        expected = predictor.predict_stems(SUBSETS[number][:, None] * stems)
        np.testing.assert_allclose(found.probabilities[number], expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(found.log_shares[:, number].exp(), expected.windows, atol=1e-5)
    # The values mean something only if the stems change the result.
    assert found.of_stems("probability").abs().max() > 0.02


@pytest.mark.parametrize("window", [None, 0, 2])
@pytest.mark.parametrize("unit", ["log_odds", "probability"])
def test_the_stems_add_up_to_the_effect_of_the_sound(checkpoint, unit, window):
    predictor = Predictor(checkpoint, device="cpu")
    found = Explainer(predictor, ExplainConfig(maps="none")).explain_stems(make_stems(3.1))
    shares = found.log_shares.exp().mean(dim=0) if window is None else found.log_shares[window].exp()
    values = shares if unit == "probability" else (shares / (1 - shares)).log()
    torch.testing.assert_close(
        found.of_stems(unit, window).sum(dim=0), values[ALL] - values[NONE], atol=1e-9, rtol=0
    )
    without = values[ALL - 2**1]
    torch.testing.assert_close(found.of_silenced(unit, window)[1], values[ALL] - without, atol=1e-9, rtol=0)


def test_log_odds_of_certain_networks_are_finite():
    logits = torch.tensor([[60.0, 0.0, 1.0]], dtype=torch.float64)
    expected = 60 - np.log(1 + np.e)
    torch.testing.assert_close(log_odds(logits)[0, 0].item(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("maps", ["gradcam", "gradients"])
def test_a_map_marks_what_the_network_looks_at_and_nothing_else(looking, maps):
    make, rows, columns = looking
    found = make(maps=maps).explain_stems(make_stems(1.5))
    cells, error = found.maps[0].cells, found.maps[0].error
    assert cells.shape == (4, 64, 65)
    inside = cells[2, rows, columns]
    assert float(inside.abs().sum()) == pytest.approx(float(cells.abs().sum()), rel=1e-9)
    assert float(inside.abs().min()) > 0
    of_stems = found.of_stems()[:, found.genre]
    np.testing.assert_allclose(of_stems[[0, 1, 3]], 0, atol=1e-6)
    # One stem alone has the whole effect.
    assert float(cells.sum()) == pytest.approx(float(of_stems[2]), abs=abs(error) + 1e-4)
    assert abs(error) < 0.001 * float(of_stems[2])
    assert found.decisive == "bass"


def test_deleting_what_is_marked_takes_more_than_deleting_random_places(looking):
    make, *_ = looking
    # The marked part is 300 of 4 x 64 x 65 cells.
    found = make(deleted_share=300 / (4 * 64 * 65)).explain_stems(make_stems(1.5))
    effect = found.of_stems("probability").sum(dim=0)[1]
    assert found.deletion.marked == pytest.approx(float(effect), abs=1e-4)
    assert abs(found.deletion.random) < 0.2 * found.deletion.marked
    assert abs(found.deletion.loudest) < 0.5 * found.deletion.marked


@pytest.mark.parametrize(("maps", "tolerance"), [("gradcam", 1e-3), ("gradients", 0.01)])
def test_the_map_adds_up_to_the_effect_of_the_sound(checkpoint, maps, tolerance):
    predictor = Predictor(checkpoint, device="cpu")
    stems = make_stems(1.5)
    values = Explainer(predictor, ExplainConfig(maps="none")).explain_stems(stems).log_odds[0]
    effects = values[ALL] - values[NONE]
    genre = int(effects.abs().argmax())
    assert abs(float(effects[genre])) > 0.3
    config = ExplainConfig(maps=maps, gradient_steps=24, genre=LABELS[genre])
    part = Explainer(predictor, config).explain_stems(stems).maps[0]
    assert float(part.cells.sum()) + part.error == pytest.approx(float(effects[genre]), abs=1e-4)
    # Cells for the genre and against it are many times the effect in a network like this.
    assert abs(part.error) < tolerance * float(part.cells.abs().sum())


def test_the_map_is_about_the_weights(checkpoint):
    stems = make_stems(1.5)
    state = dict(checkpoint.state)
    name = next(name for name in state if name.startswith("features.8") and state[name].ndim == 4)
    state[name] = state[name][torch.randperm(len(state[name]), generator=torch.Generator().manual_seed(2))]
    maps = [
        Explainer(
            Predictor(replace(checkpoint, state=weights), device="cpu"),
            ExplainConfig(genre="jazz", maps="gradcam"),
        )
        .explain_stems(stems)
        .maps[0]
        .cells.flatten()
        for weights in (checkpoint.state, state)
    ]
    assert abs(np.corrcoef(*maps)[0, 1]) < 0.7


def test_cells_are_where_the_network_has_them(checkpoint):
    network = checkpoint.network()
    stride = stride_of(network.features)
    assert stride == 32
    # So wide that the field of the middle cell, hundreds of pixels, is hardly cut off.
    x = torch.randn(1, 4, 32, 2048, generator=torch.Generator().manual_seed(0), requires_grad=True)
    # Squeeze and excitation sees the whole picture, and has no place.
    for module in network.modules():
        if type(module).__name__ == "SqueezeExcitation":
            module.forward = lambda x: x
    activations = network.features(x)
    columns, rows = cell_of(x.shape[3], stride), cell_of(x.shape[2], stride)
    assert activations.shape[2:] == (int(rows.max()) + 1, int(columns.max()) + 1)
    (gradient,) = torch.autograd.grad(activations[..., 32].square().sum(), x)
    energy = gradient.square().sum(dim=(0, 1, 2))
    centre = float((energy * torch.arange(x.shape[3])).sum() / energy.sum())
    assert centre == pytest.approx((columns == 32).nonzero().float().mean().item(), abs=4)


def test_frames_find_their_cells_in_resized_pictures():
    # 1,292 frames on 600 pixels: the cell around pixel 32 has pixels 16 to 47.
    cells = cell_of_frames(1292, 600, 32)
    edges = (cells == 1).nonzero().flatten()[[0, -1]] * 600 / 1292
    np.testing.assert_allclose(edges, [15.5, 47.5], atol=0.6)
    torch.testing.assert_close(cell_of_frames(65, 65, 32), cell_of(65, 32))


def test_maps_of_windows_meet_on_the_time_of_the_recording(looking):
    make, rows, _ = looking
    explainer = make()
    explainer.predictor.config = PredictConfig(window_overlap=0.0)
    found = explainer.explain_stems(make_stems(3.0))
    assert found.starts == (0.0, 1.5)
    features = explainer.predictor.checkpoint.features
    drawn = track_map(found, explainer.cells(), features, 1 + 66150 // 512)
    marked = drawn[2, rows.start].nonzero().flatten().tolist()
    second = round(1.5 * 22050 / 512)
    assert marked == [*range(10, 40), *range(second + 10, second + 40)]
    seconds = 512 / 22050
    total = sum(float(part.cells.sum()) for part in found.maps)
    assert float(drawn.sum()) * seconds == pytest.approx(total, rel=1e-9)


def test_maps_of_resized_pictures_are_in_the_bands_and_at_the_time_that_were_seen(looking):
    make, rows, columns = looking
    explainer = make(maps="gradcam")
    checkpoint = explainer.predictor.checkpoint
    features = replace(checkpoint.features, image="resize", image_size=48)
    explainer.predictor.checkpoint = replace(checkpoint, features=features)
    found = explainer.explain_stems(make_stems(1.5))
    drawn = track_map(found, explainer.cells(), features, features.frames)[2]
    bands, frames = (drawn.abs().sum(dim=axis).nonzero().flatten()[[0, -1]] for axis in (1, 0))
    np.testing.assert_allclose(bands, [rows.start * 64 / 48, rows.stop * 64 / 48 - 1], atol=1)
    np.testing.assert_allclose(frames, [columns.start * 65 / 48, columns.stop * 65 / 48 - 1], atol=1)


def test_genres_are_summarised_by_what_is_explained(checkpoint):
    explainer = Explainer(Predictor(checkpoint, device="cpu"), ExplainConfig(maps="none"))
    found = [explainer.explain_stems(make_stems(1.0, seed)) for seed in range(3)]
    genres = (0, 0, 2)
    found = [replace(entry, genre=genre) for entry, genre in zip(found, genres, strict=True)]
    summary = summarise(found)
    assert (summary.genres, summary.counts) == (("blues", "rock"), (2, 1))
    expected = (found[0].of_stems() + found[1].of_stems())[:, 0] / 2
    np.testing.assert_allclose(summary.log_odds[0], expected)
    (comparison,) = summary.deletions.values()
    assert comparison.recordings == 3
    assert comparison.marked >= comparison.random
    falls = [entry.of_silenced("probability")[:, entry.genre] for entry in found]
    stems = [int(entry.of_stems()[:, entry.genre].argmax()) for entry in found]
    marked = [float(fall[stem]) for fall, stem in zip(falls, stems, strict=True)]
    interval = ttest_rel(marked, [float(fall.mean()) for fall in falls]).confidence_interval()
    assert comparison.margin == pytest.approx((interval.high - interval.low) / 2)


def write_stems(folder, stems):
    for name, stem in zip(STEMS, stems, strict=True):
        audio_io.save(folder / f"{name}.wav", stem[None], 22050)


@pytest.fixture
def model(checkpoint, tmp_path):
    checkpoints.save(tmp_path / "best_model.pth", checkpoint)
    return str(tmp_path / "best_model.pth")


def test_the_command_writes_a_page_that_needs_nothing_else(model, tmp_path, capsys):
    write_stems(tmp_path / "songs" / "a <b>", make_stems(2.0))
    write_stems(tmp_path / "songs" / "other" / "a <b>", make_stems(1.0, seed=1))
    (tmp_path / "songs" / "bad.wav").write_bytes(b"RIFF junk")
    out = tmp_path / "out"
    assert main(["explain", model, str(tmp_path / "songs"), "-o", str(out), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "left out:" in captured.err
    assert captured.out.count(" nats") == 2
    result = json.loads((out / "explain.json").read_text())
    first = result["recordings"][0]
    effect = first["probability"] - first["probability_of_silence"]
    assert sum(first["shapley_probability"].values()) == pytest.approx(effect, abs=1e-9)
    assert len(first["windows"]) == 2
    times = result["map"]["times"]
    assert all(len(row) == len(times) - 1 for row in first["windows"][0]["map_over_time"].values())
    assert (times[0], times[-1]) == (0, pytest.approx(1.5, abs=0.02))
    assert {entry["figure"] for entry in result["recordings"]} <= {file.name for file in out.iterdir()}
    assert len({entry["figure"] for entry in result["recordings"]}) == 2
    page = (out / "index.html").read_text()
    assert page.count("<audio") == 2
    assert "a &lt;b&gt;" in page
    assert 'src="data:' in page
    assert "://" not in page


def test_names_are_no_formulas_and_any_rate_is_heard(checkpoint, tmp_path):
    # MP3 has no 20 kHz.
    features = replace(FEATURES, sample_rate=20000)
    predictor = Predictor(
        replace(checkpoint, labels=("$a_$", "ジャズ", "c"), features=features), device="cpu"
    )
    write_stems(tmp_path / "演歌 $_$", make_stems(0.7))
    for genre in ("$a_$", "ジャズ"):
        explainer = Explainer(predictor, ExplainConfig(genre=genre))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report = write_report(explainer, [tmp_path / "演歌 $_$"], tmp_path / "out")
        assert report.entries[0].sound.startswith("data:audio/mpeg;base64,")


def test_the_page_of_another_command_is_kept(model, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "evaluation.json").touch()
    write_stems(tmp_path / "song", make_stems(0.7))
    assert (
        main(["explain", model, str(tmp_path / "song"), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 2
    )
    assert "out: found evaluation.json of genre evaluate" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]


def test_a_corpus_is_summarised_without_pictures(model, tmp_path, capsys):
    for seed in range(3):
        write_stems(tmp_path / "songs" / str(seed), make_stems(1.0, seed))
    out = tmp_path / "out"
    arguments = ["explain", model, str(tmp_path / "songs"), "-o", str(out), "--device", "cpu"]
    assert main([*arguments, "--summary", "--genre", "jazz"]) == 0
    assert {file.name for file in out.iterdir()} == {"index.html", "explain.json", "summary.png"}
    result = json.loads((out / "explain.json").read_text())
    assert result["summary"]["genres"]["jazz"]["recordings"] == 3
    assert result["summary"]["deletion"]["places that the map marks"]["recordings"] == 3
    assert "at random" in capsys.readouterr().out


def test_what_was_explained_before_an_interrupt_is_written(checkpoint, tmp_path, monkeypatch):
    explainer = Explainer(Predictor(checkpoint, device="cpu"), ExplainConfig(maps="none"))

    def read_stems(path):
        if path.name == "second":
            raise KeyboardInterrupt
        return make_stems(1.0)

    monkeypatch.setattr(explainer.predictor, "read_stems", read_stems)
    with pytest.raises(KeyboardInterrupt):
        write_report(explainer, [tmp_path / "first", tmp_path / "second"], tmp_path / "out", figures=False)
    result = json.loads((tmp_path / "out" / "explain.json").read_text())
    assert [entry["path"].rpartition("/")[2] for entry in result["recordings"]] == ["first"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--genre", "polka"], "genre: found 'polka', expected one of blues, jazz, rock"),
        (["--separator", "none"], "separator: found none"),
        (["--deleted-share", "0"], "deleted_share: found 0"),
        (["nowhere"], "nowhere: found nothing"),
    ],
)
def test_bad_input_is_one_sentence(model, tmp_path, capsys, arguments, message):
    write_stems(tmp_path / "song", make_stems(1.0))
    arguments = ["explain", model, str(tmp_path / "song"), *arguments, "-o", str(tmp_path / "out")]
    assert main([*arguments, "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
