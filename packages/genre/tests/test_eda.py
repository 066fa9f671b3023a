"""The survey of a corpus finds what was hidden in it, and its page stands alone."""

import csv
import re

import numpy as np
import pytest
import torch

import audio_io
from genre.cli import main
from genre.config import STEMS
from genre.eda import gallery, survey_corpus
from genre.layouts import read_corpus

RATE = 8000


def song(path, seconds=2.0, *, pitch=440.0, level=0.5, channels=1):
    time = torch.arange(round(seconds * RATE)) / RATE
    samples = level * torch.sin(2 * torch.pi * pitch * time)
    audio_io.save(path, samples.repeat(channels, 1), RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for index in range(5):
        song(root / f"blues/b{index}.wav", pitch=200 + index)
    song(root / "jazz/$1.wav", 4.0, channels=2)
    song(root / "jazz/short.wav", 0.8)
    song(root / "jazz/silent.wav", level=1e-4)
    song(root / "jazz/静か.wav", level=0.0)
    # The same samples in another container, with another label.
    audio_io.save(root / "jazz/copy.flac", audio_io.load(root / "blues/b0.wav")[0], RATE, subtype="PCM_24")
    audio_io.save(root / "blues/b0.wav", audio_io.load(root / "jazz/copy.flac")[0], RATE)
    (root / "jazz/broken.wav").write_bytes((root / "blues/b1.wav").read_bytes()[:-100])
    for index, stem in enumerate(STEMS):
        song(root / f"rock/stems/{stem}.wav", pitch=100.0 * (index + 1), level=0.1)
    return root


def test_samples_whose_power_overflows_are_broken(tmp_path, capsys):
    song(tmp_path / "blues/good.wav")
    samples = 1e30 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    audio_io.save(tmp_path / "blues/huge.wav", samples, RATE, subtype="FLOAT")
    (finding,) = survey_corpus(read_corpus(tmp_path)).findings
    assert re.fullmatch(r"blues/huge.wav: found samples up to [\d.]+e\+30, expected .*", finding.sentence)
    assert main(["leakage", str(tmp_path), "-o", str(tmp_path / "leakage.json")]) == 0
    assert "huge.wav: found samples up to" in capsys.readouterr().out


def test_every_fault_is_found_and_nothing_else(folder):
    survey = survey_corpus(read_corpus(folder))
    assert survey.counts() == {"blues": 5, "jazz": 5, "rock": 1}
    broken = [f.sentence for f in survey.findings if f.kind == "broken"]
    assert len(broken) == 1
    assert re.fullmatch(r"jazz/broken.wav: found \d+ bytes of sound, expected the \d+ bytes .*", broken[0])
    assert {(f.kind, f.sentence) for f in survey.findings if f.kind != "broken"} == {
        ("short", "jazz/short.wav: 0.8 s, where the median is 2.0 s"),
        ("silent", "jazz/silent.wav: its peak is -80 dB of full scale"),
        ("silent", "jazz/静か.wav: its peak is -120 dB of full scale"),
        ("duplicate", "blues/b0.wav = jazz/copy.flac: the same samples, but different labels (blues, jazz)"),
    }


def test_measures_are_exact(folder):
    measured = {m.track: m for m in survey_corpus(read_corpus(folder)).measurements}
    tone = measured["jazz__$1"]
    assert (tone.seconds, tone.sample_rate, tone.channels) == (4.0, RATE, 2)
    assert tone.peak_db == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert tone.rms_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    # The sum of four tones of level 0.1.
    assert measured["rock__stems"].rms_db == pytest.approx(20 * np.log10(0.1 * np.sqrt(2)), abs=0.05)


def test_the_gallery_is_spread_over_the_genre(folder):
    survey = survey_corpus(read_corpus(folder))
    assert [track.path.stem for track in gallery(survey, "blues", 3)] == ["b0", "b2", "b4"]
    assert len(gallery(survey, "rock", 3)) == 1


def test_the_page_needs_no_other_file(folder, tmp_path, capsys):
    assert main(["eda", str(folder), "-o", str(tmp_path), "--n-mels", "40"]) == 0
    assert "11 usable training recordings of 3 genres" in capsys.readouterr().out
    page = (tmp_path / "eda.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "jazz/静か.wav: its peak is -120 dB" in page
    with (tmp_path / "recordings.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 12
    assert rows["jazz/broken.wav"]["problem"].startswith("jazz/broken.wav: found ")
    assert rows["jazz/$1.wav"]["seconds"] == "4.000"


def test_names_of_genres_are_no_formulas(tmp_path):
    song(tmp_path / "songs" / "$a_$" / "x.wav")
    assert main(["eda", str(tmp_path / "songs"), "-o", str(tmp_path / "out")]) == 0
