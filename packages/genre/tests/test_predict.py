import csv
import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import torch

import audio_io
from audio_io.errors import FileError
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.cli import main
from genre.config import STEMS, FeatureConfig, SeparationConfig, TrainConfig
from genre.features import Statistics, StemMel, picture
from genre.layouts import Track, read_corpus
from genre.model import GenreNet
from genre.predict import Predictor, find_recordings, window_starts
from genre.run_config import PredictConfig
from genre.submit import submit

FEATURES = FeatureConfig(duration=1.0, n_mels=32, image_size=48)
LABELS = ("blues", "jazz", "rock")


@pytest.fixture(scope="module")
def checkpoint():
    torch.manual_seed(0)
    config = TrainConfig(backbone="efficientnet_b0", weights="none", frozen_stages=1)
    return Checkpoint(
        features=FEATURES,
        separation=SeparationConfig(separator="stems"),
        train=config,
        labels=LABELS,
        statistics=Statistics((-40.0,) * 4, (15.0,) * 4),
        state=GenreNet(config, 3).state_dict(),
    )


@pytest.fixture
def model(checkpoint, tmp_path):
    checkpoints.save(tmp_path / "best_model.pth", checkpoint)
    return str(tmp_path / "best_model.pth")


def make_stems(seconds, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 22050)) / 22050
    tones = np.sin(2 * np.pi * rng.uniform(80, 2000, (4, 1)) * time)
    return torch.from_numpy((0.2 * tones + 0.02 * rng.standard_normal(tones.shape)).astype("f4"))


def write_stems(folder, stems):
    folder.mkdir(parents=True)
    for name, stem in zip(STEMS, stems, strict=True):
        audio_io.save(folder / f"{name}.wav", stem[None], 22050)


def test_probabilities_are_the_mean_over_windows_that_cover_the_recording(checkpoint):
    predictor = Predictor(checkpoint, PredictConfig(window_batch=2), device="cpu")
    stems = make_stems(2.3)
    found = predictor.predict_stems(stems)
    starts = [0, 9555, 19110, 28665]
    assert [round(start * 22050) for start in found.starts] == starts
    network, expected = checkpoint.network(), []
    for start in starts:
        db = StemMel(FEATURES)(stems[None, :, start : start + 22050])
        with torch.no_grad():
            expected.append(torch.softmax(network(picture(db, checkpoint.statistics, FEATURES)), 1)[0])
    np.testing.assert_allclose(found.windows, torch.stack(expected), atol=1e-5)
    np.testing.assert_allclose(found.probabilities, torch.stack(expected).mean(dim=0), atol=1e-5)
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert found.label == LABELS[int(found.probabilities.argmax())]


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("length", [100, 22050, 22051, 100_000])
def test_windows_reach_both_ends_and_overlap_enough(overlap, length):
    starts = window_starts(length, FEATURES, overlap)
    assert starts[0] == 0
    assert max(starts) + 22050 >= length
    assert max(starts) <= max(0, length - 22050)
    assert np.diff(starts).max(initial=0) <= (1 - overlap) * 22050 + 1


def test_short_recordings_are_padded(checkpoint):
    prediction = Predictor(checkpoint, device="cpu").predict_stems(make_stems(0.3))
    assert prediction.windows.shape == (1, 3)
    assert np.isfinite(prediction.probabilities).all()


def test_a_calibrated_temperature_is_used(checkpoint):
    stems = make_stems(1.0)
    cold = Predictor(replace(checkpoint, temperature=0.1), device="cpu").predict_stems(stems)
    warm = Predictor(replace(checkpoint, temperature=100.0), device="cpu").predict_stems(stems)
    assert cold.probabilities.max() > warm.probabilities.max()
    np.testing.assert_allclose(warm.probabilities, 1 / 3, atol=0.02)


def test_the_command_needs_nothing_but_the_checkpoint(checkpoint, model, tmp_path, capsys):
    write_stems(tmp_path / "songs" / "jazz" / "one", make_stems(1.5))
    write_stems(tmp_path / "songs" / "two", make_stems(1.0, seed=1))
    target = tmp_path / "genres.csv"
    assert main(["predict", model, str(tmp_path / "songs"), "-o", str(target), "--device", "cpu"]) == 0
    rows = list(csv.DictReader(target.open()))
    assert [row["path"].rpartition("/")[2] for row in rows] == ["one", "two"]
    expected = Predictor(checkpoint, device="cpu").predict(tmp_path / "songs" / "two")
    np.testing.assert_allclose([float(rows[1][label]) for label in LABELS], expected.probabilities, atol=1e-6)
    assert rows[0]["windows"] == "2"
    assert f"{rows[0]['label']} " in capsys.readouterr().out


def test_another_separation_may_be_chosen(model, tmp_path):
    song = tmp_path / "song.wav"
    audio_io.save(song, make_stems(1.0)[:1], 22050)
    target = tmp_path / "genres.csv"
    arguments = ["predict", model, str(song), "-o", str(target), "--separator", "none", "--device", "cpu"]
    assert main(arguments) == 0
    assert len(target.read_text().splitlines()) == 2


def test_a_recording_that_cannot_be_used_is_named_and_the_rest_goes_on(model, tmp_path, capsys):
    write_stems(tmp_path / "good", make_stems(1.0))
    (tmp_path / "bad.wav").write_bytes(b"RIFF junk")
    bad = str(tmp_path / "bad.wav")
    base = ["predict", model, "--separator", "none", "--device", "cpu"]
    assert main([*base, bad, str(tmp_path / "good")]) == 0
    captured = capsys.readouterr()
    assert "left out:" in captured.err
    assert "good:" in captured.out
    assert main([*base, bad]) == 2
    assert "bad.wav: found" in capsys.readouterr().err


def test_all_that_cannot_be_used_is_listed_though_nothing_can(model, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(b"RIFF junk")
    target = tmp_path / "genres.csv"
    for command in (["predict", "-o", str(target)], ["explain", "-o", str(tmp_path / "explain")]):
        name, *rest = command
        assert main([name, model, str(tmp_path), *rest, "--device", "cpu"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in lines] == ["left out", "left out", "genre"]
        assert "b.wav: found" in lines[1]
        assert "error: none of 2 recordings can be used (the first: " in lines[2]
    assert not target.exists()
    assert not (tmp_path / "explain").exists()


def test_ctrl_c_keeps_what_was_predicted(model, tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_stems(tmp_path / "songs" / name, make_stems(1.0))
    original = Predictor.predict

    def predict(self, source):
        if source.name == "b":
            raise KeyboardInterrupt
        return original(self, source)

    monkeypatch.setattr(Predictor, "predict", predict)
    target = tmp_path / "genres.csv"
    assert main(["predict", model, str(tmp_path / "songs"), "-o", str(target), "--device", "cpu"]) == 130
    assert [row["path"][-1] for row in csv.DictReader(target.open())] == ["a"]


@pytest.mark.parametrize("place", ["", "file/genres.csv"])
def test_a_table_that_cannot_be_written_is_said_before_any_work(model, tmp_path, capsys, monkeypatch, place):
    monkeypatch.setattr(Predictor, "predict", lambda *_: pytest.fail("predicted"))
    write_stems(tmp_path / "song", make_stems(1.0))
    (tmp_path / "file").touch()
    target = str(tmp_path / place)
    assert main(["predict", model, str(tmp_path / "song"), "-o", target, "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith(f"genre: error: {tmp_path}")


def test_samples_whose_power_overflows_are_refused(model, tmp_path, capsys):
    write_stems(tmp_path / "song", 1e25 * make_stems(1.0))
    assert main(["predict", model, str(tmp_path / "song"), "--device", "cpu"]) == 2
    assert re.search(
        r"song: found samples up to [\d.]+e\+24, expected a full scale of 1", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stems": ["drums", "bass", "other", "vocals"]}, "the stems"),
        ({"statistics": {"mean": [0.0] * 3, "std": [1.0] * 3}}, "statistics of other than 4 stems"),
        ({"statistics": {"mean": [float("nan")] * 4, "std": [1.0] * 4}}, "numbers that are NaN"),
        ({"temperature": 0.0}, "a temperature that is not above 0"),
        ({"state": [1]}, "no weights"),
        ({"state": {"x": torch.tensor(float("inf"))}}, "numbers that are NaN"),
        ({"statistics": [1.0]}, "a checkpoint with other settings"),
    ],
)
def test_a_checkpoint_that_would_predict_nonsense_is_refused(model, change, message):
    content = torch.load(model, weights_only=True)
    torch.save(content | change, model)
    with pytest.raises(FileError, match=message):
        checkpoints.load(model)


def test_checkpoints_of_before_the_validation_was_kept_are_read(model):
    content = torch.load(model, weights_only=True)
    del content["validation"], content["digests"]
    torch.save(content, model)
    assert (checkpoints.load(model).validation, checkpoints.load(model).digests) == ((), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--submit", "one", "two"], "submit: found 2 folders"),
        (["nowhere.wav"], "nowhere.wav: found nothing"),
        (["{folder}/empty"], "empty: found no sound"),
        (["{folder}/song.wav"], "song.wav: found a file"),  # stems are wanted
    ],
)
def test_bad_input_is_one_sentence(model, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    audio_io.save(tmp_path / "song.wav", torch.zeros(1, 22050), 22050)
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    assert main(["predict", model, *arguments, "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_recordings_are_found_once(tmp_path):
    write_stems(tmp_path / "b", make_stems(0.1))
    audio_io.save(tmp_path / "a.wav", torch.zeros(1, 100), 22050)
    assert find_recordings([tmp_path, tmp_path / "a.wav"]) == [tmp_path / "a.wav", tmp_path / "b"]


@pytest.fixture
def contest(tmp_path):
    folder = tmp_path / "contest"
    for part in ("train", "test"):
        (folder / f"{part}_sound_1").mkdir(parents=True)
        for number in range(3):
            place = folder / f"{part}_sound_1" / f"{part}_{number}.au"
            audio_io.save(place, make_stems(1.2, number)[:1], 22050)
    identifiers = (7, 3, 5)  # not 0, 1, 2
    rows = "".join(f"{label},{i}\n" for label, i in zip(LABELS, identifiers, strict=True))
    (folder / "label_master.csv").write_text("label_name,label_id\n" + rows)
    rows = "".join(f"train_{number}.au,{i}\n" for number, i in enumerate(identifiers))
    (folder / "train_master.csv").write_text("file_name,label_id\n" + rows)
    (folder / "sample_submit.csv").write_text("test_2.au,3\ntest_0.au,3\ntest_1.au,3\n")
    return folder


def test_the_submission_has_the_order_and_the_form_of_the_example(checkpoint, contest, tmp_path):
    (contest / "test_sound_1" / "test_1.au").write_bytes(b"")
    separation = SeparationConfig(separator="none", separation_cache_dir=str(tmp_path / "cache"))
    predictor = Predictor(checkpoint, device="cpu", separation=separation)
    result = submit(predictor, read_corpus(contest), tmp_path / "submit.csv")
    rows = [line.split(",") for line in (tmp_path / "submit.csv").read_text().splitlines()]
    assert [name for name, _ in rows] == ["test_2.au", "test_0.au", "test_1.au"]
    identifiers = dict(zip(LABELS, ("7", "3", "5"), strict=True))
    for name, identifier in rows[:2]:
        path = contest / "test_sound_1" / name
        # The cache keeps 16 bits.
        assert identifier == identifiers[predictor.predict(Track(path.stem, path)).label]
    assert rows[2][1] == "3"
    assert (result.rows, result.predicted, len(result.problems)) == (3, 2, 1)
    assert "test_1.au" in result.problems[0]


def test_a_row_without_file_is_said_and_accents_may_be_in_either_form(checkpoint, contest, tmp_path):
    # macOS keeps names decomposed.
    sound = contest / "test_sound_1"
    (sound / "test_0.au").rename(sound / unicodedata.normalize("NFD", "é.au"))
    (sound / "test_1.au").unlink()
    (contest / "sample_submit.csv").write_text("é.au,none\ntest_1.au,none\ntest_2.au,none\n")
    separation = SeparationConfig(separator="none", separation_cache_dir=str(tmp_path / "cache"))
    predictor = Predictor(checkpoint, device="cpu", separation=separation)
    result = submit(predictor, read_corpus(contest), tmp_path / "submit.csv")
    rows = dict(line.split(",") for line in (tmp_path / "submit.csv").read_text().splitlines())
    assert [name for name, identifier in rows.items() if identifier == "none"] == ["test_1.au"]
    assert result.problems == ("test_1.au: no such file in test_sound_*",)
    assert (result.rows, result.predicted) == (3, 2)


def test_the_submission_of_another_contest_is_refused(checkpoint, model, contest, tmp_path, capsys):
    text = (contest / "label_master.csv").read_text()
    (contest / "label_master.csv").write_text(text.replace("jazz", "salsa"))
    arguments = ["predict", model, "--submit", str(contest), "-o", str(tmp_path / "submit.csv")]
    assert main([*arguments, "--separator", "none", "--device", "cpu"]) == 2
    assert "knows 'jazz'" in capsys.readouterr().err
    assert not (tmp_path / "submit.csv").exists()
