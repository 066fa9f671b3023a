import csv
import functools
import json
import math

import pytest
import torch

import audio_io
from audio_io.errors import ConfigError, FileError
from separation_coreml.cli import main
from separation_coreml.engines import Engine
from separation_coreml.evaluation import baselines
from separation_coreml.evaluation.config import EvaluateConfig
from separation_coreml.evaluation.run import Method, evaluate, match
from separation_coreml.evaluation.scores import bss_eval, frame_sdr, sdr
from separation_coreml.evaluation.tracks import RenderedTrack, find_tracks
from separation_coreml.ios import noise as generated
from separation_coreml.stems.render import render_folder

RATE = 44100


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(error, reference):
    """The part of an error that is orthogonal to the reference, with its energy."""
    error = error - (error * reference).sum() / reference.square().sum() * reference
    return error / error.norm() * reference.norm()


def test_known_noise_gives_the_known_ratio():
    reference = noise(2, 5000)
    for level in (-20.0, 0.0, 7.5):
        error = noise(2, 5000, seed=1)
        error *= reference.norm() / error.norm() * 10 ** (level / 20)
        assert sdr(reference, reference + error) == pytest.approx(-level, abs=1e-9)
    assert sdr(reference, torch.zeros_like(reference)) == pytest.approx(0, abs=1e-12)
    assert sdr(reference, 0.5 * reference) == pytest.approx(20 * math.log10(2), abs=1e-9)
    assert sdr(reference, reference) == math.inf
    assert math.isnan(sdr(torch.zeros(2, 10), torch.ones(2, 10)))


def test_sdr_is_that_of_fast_bss_eval_where_they_must_agree():
    fast_bss_eval = pytest.importorskip("fast_bss_eval")
    reference = noise(1, 8000)
    estimate = reference + 0.1 * orthogonal(noise(1, 8000, seed=1), reference)
    # With an error orthogonal to the reference the best scale is none.
    assert sdr(reference, estimate) == pytest.approx(
        float(fast_bss_eval.si_sdr(reference, estimate)), abs=1e-6
    )


def test_windows_give_the_median_and_silence_does_not_count():
    window = 1000
    references = noise(2, 2, 6 * window)
    errors = noise(2, 2, 6 * window, seed=1)
    levels = [-10.0, -20.0, -30.0, -40.0, -50.0, -60.0]
    for stem in range(2):
        for index, level in enumerate(levels):
            part = slice(index * window, (index + 1) * window)
            scale = references[stem, :, part].norm() / errors[stem, :, part].norm()
            errors[stem, :, part] *= scale * 10 ** (level / 20)
    estimates = references + errors
    assert frame_sdr(references, estimates, window) == pytest.approx([35.0, 35.0], abs=1e-9)
    # The first window of one stem is silent: it counts for none. A rest at the end never counts.
    references[0, :, :window] = 0
    longer = [torch.cat([each, each[..., :500]], dim=-1) for each in (references, estimates)]
    assert frame_sdr(*longer, window) == pytest.approx([40.0, 40.0], abs=1e-9)
    references[1] = 0
    assert all(math.isnan(value) for value in frame_sdr(references, estimates, window))


def test_frame_sdr_is_that_of_museval():
    # Of version 0.4.1; see goldens/make_museval_goldens.py. A stem is silent in one window, an estimate in
    # another, and the last half window counts for nothing.
    expected = [12.603235919329764, 12.654678352113546, 12.640700183054381]
    window, length = 1000, 6500
    stems = generated(1, 3, 2, length).double()
    estimates = stems + 0.3 * generated(2, 3, 2, length) * torch.linspace(0.1, 2, length).double()
    stems[0, :, 2 * window : 3 * window] = 0
    estimates[1, :, 4 * window : 5 * window] = 0
    assert frame_sdr(stems, estimates, window) == pytest.approx(expected, abs=1e-5)


def test_filters_forgive_a_filter_and_tell_interference():
    pytest.importorskip("fast_bss_eval")
    references = noise(2, 1, 12000)
    filtered = torch.nn.functional.conv1d(
        references, torch.tensor([[[0.0, 0.0, 0.5, 0.3]]]).double(), padding=3
    )
    estimates = filtered[..., :12000]
    scores = bss_eval(references, estimates, 12000)
    assert min(scores["bss_sdr"]) > 40
    assert sdr(references[0], estimates[0]) < 5
    leaking = references + 0.1 * references.flip(0)
    scores = bss_eval(references, leaking, 12000)
    # 512 taps explain a small part of any noise, which is taken from the interference.
    assert scores["bss_sir"] == pytest.approx([20.0, 20.0], abs=0.7)
    assert min(scores["bss_sar"]) > 60


def test_stems_are_matched():
    ones = {
        name: torch.full((2, 4), float(index + 1))
        for index, name in enumerate(("drums", "bass", "other", "vocals"))
    }
    more = {"guitar": torch.full((2, 4), 10.0), "piano": torch.full((2, 4), 20.0)}
    references, found = match(ones, {**ones, **more})
    assert set(found) == set(ones)
    assert torch.equal(found["other"], torch.full((2, 4), 33.0))
    references, found = match(ones, {"vocals": ones["vocals"], "accompaniment": torch.zeros(2, 3)})
    assert torch.equal(references["accompaniment"], torch.full((2, 4), 6.0))
    # Without an `other` to compare with, nothing is added to it.
    references, found = match({"bass": ones["bass"]}, ones)
    assert (list(references), list(found)) == (["bass"], ["bass"])
    with pytest.raises(ConfigError, match="harp of the model"):
        match(ones, {"harp": torch.zeros(2, 4)})


def test_a_model_that_gives_nan_has_no_score():
    def load():
        return Engine("test", ("drums",), RATE, 2, 1000, 0.25, False, lambda part: part[None] * math.nan)

    with pytest.raises(ConfigError, match="half: model: found nan in the stem drums"):
        evaluate([Method("half", load)], [RenderedTrack(0.5, 0)], EvaluateConfig(rendered=1), title="")


def test_a_run_takes_over_what_an_earlier_one_has_scored(tmp_path):
    loads = []

    def load(broken):
        loads.append(broken)
        run = functools.partial(torch.mul, other=math.nan if broken else 0.5)
        return Engine("test", ("drums",), RATE, 2, 1000, 0.25, False, lambda part: run(part[None]))

    def result(made_from, seeds, *, broken=False, resume=True):
        methods = [Method("half", functools.partial(load, broken), made_from)]
        tracks = [RenderedTrack(0.5, seed) for seed in seeds]
        config = EvaluateConfig(rendered=1)
        return evaluate(methods, tracks, config, title="", records=tmp_path, resume=resume).scores

    (first,) = result("a", [0])
    # The second song is of a broken model: only the first is not scored again.
    with pytest.raises(ConfigError, match="found nan"):
        result("a", [0, 1], broken=True)
    both = result("a", [0, 1])
    assert (both[0], both[1].track, loads) == (first, "song-0001", [False, True, False])
    assert result("a", [0, 1], broken=True) == both
    for changes in ({"made_from": "b"}, {"made_from": "a", "resume": False}):
        with pytest.raises(ConfigError, match="found nan"):
            result(**changes, seeds=[0, 1], broken=True)
    for path in tmp_path.glob("*.json"):
        path.write_text("{}]")
    with pytest.raises(FileError, match="no scores"):
        result("a", [0])


def test_an_ideal_mask_beats_median_filters_and_those_the_mixture():
    song = RenderedTrack(4.0, 11).load()
    found = [
        baselines.mixture_share(song.mixture),
        baselines.median_filters(song.mixture, RATE),
        baselines.ideal_mask(song.stems),
    ]
    means = [sum(sdr(song.stems[name], each[name]) for name in song.stems) / 4 for each in found]
    assert means[0] + 1 < means[1] < means[2] - 5
    for each in found:
        torch.testing.assert_close(torch.stack(list(each.values())).sum(0), song.mixture, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def musdb(tmp_path_factory):
    """Two songs to train on and one to test with."""
    folder = tmp_path_factory.mktemp("musdb")
    render_folder(folder / "train", songs=2, seconds=1.5, seed=20)
    render_folder(folder / "test", songs=1, seconds=1.5, seed=30)
    return folder


def test_a_data_set_is_found_with_its_parts(musdb):
    def names(**settings):
        return [track.name for track in find_tracks(EvaluateConfig(**settings), musdb)]

    assert names() == ["song-0030"]
    assert names(subset="train") == ["song-0020", "song-0021"]
    assert names(subset="all") == ["song-0030", "song-0020", "song-0021"]
    assert names(subset="train", limit=1) == ["song-0020"]
    (track,) = find_tracks(EvaluateConfig(), musdb)
    read, rendered = track.load(), RenderedTrack(1.5, 30).load()
    assert torch.equal(read.mixture, rendered.mixture)
    assert all(torch.equal(read.stems[name], stem) for name, stem in rendered.stems.items())


def test_the_command_writes_what_it_measured(musdb, tmp_path, capsys):
    arguments = ["evaluate", "--weights", "random", "--data", str(musdb), "--baselines", "-o", str(tmp_path)]
    assert main(arguments) == 0
    assert "ideal ratio mask" in capsys.readouterr().out
    result = json.loads((tmp_path / "evaluation.json").read_text())
    song = RenderedTrack(1.5, 30).load()
    expected = {name: sdr(stem, song.mixture / 4) for name, stem in song.stems.items()}
    assert result["summary"]["sdr"]["mixture / 4"] == pytest.approx(expected, abs=1e-3)
    assert set(result["summary"]["sdr"]["small"]) == set(song.stems)
    table = (tmp_path / "evaluation.md").read_text()
    assert f"{expected['drums']:.2f}" in table
    with (tmp_path / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 4
    drums = next(row for row in rows if (row["model"], row["stem"]) == ("mixture / 4", "drums"))
    assert float(drums["sdr"]) == pytest.approx(expected["drums"], abs=1e-3)
    assert (tmp_path / "evaluation.png").stat().st_size > 10000


@pytest.mark.slow
def test_workers_give_the_same(musdb, tmp_path):
    for workers in ("1", "2"):
        arguments = ["evaluate", "--weights", "random", "--data", str(musdb), "--subset", "all"]
        assert main([*arguments, "--workers", workers, "-o", str(tmp_path / workers)]) == 0
    scores = [json.loads((tmp_path / workers / "evaluation.json").read_text())["scores"] for workers in "12"]
    assert len(scores[0]) == 3 * 4
    for one, other in zip(*scores, strict=True):
        assert (one["track"], one["stem"]) == (other["track"], other["stem"])
        assert one["values"] == pytest.approx(other["values"], abs=1e-3)


def test_bad_input_is_one_sentence(musdb, tmp_path, capsys):
    def message(*arguments):
        assert main(["evaluate", "--weights", "random", "-o", str(tmp_path / "out"), *arguments]) == 2
        return capsys.readouterr().err.strip()

    assert "one of --data and --rendered" in message()
    assert "no mixture.wav below" in message("--data", str(tmp_path))
    assert "is no folder" in message("--data", str(tmp_path / "none"))
    assert "'train'" in message("--data", str(musdb / "test"), "--subset", "train")
    assert "different names" in message("--rendered", "1", "--against", "small")
    song = tmp_path / "data" / "song"
    audio_io.save(song / "mixture.wav", torch.zeros(2, 100), RATE)
    audio_io.save(song / "drums.wav", torch.zeros(2, 99), RATE)
    assert "drums.wav: found 44100 Hz and shape [2, 99]" in message("--data", str(tmp_path / "data"))
    assert not (tmp_path / "out").exists()
