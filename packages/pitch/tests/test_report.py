"""The analysis of recordings, from the sound to the page."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

import audio_io
from pitch import demo, synth
from pitch.analysis import html
from pitch.cli import main


def run(*arguments):
    return main(["analyze", *map(str, arguments), "--device", "cpu"])


class Page(HTMLParser):
    """The elements of a page, each with its attributes and text; open and closing tags have to match."""

    def __init__(self, path):
        super().__init__()
        self.elements, self._open = [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag != "meta":
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for element in self._open:
            element[2] += data

    def all(self, tag, **wanted):
        return [
            (attributes, text)
            for name, attributes, text in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    assert run("-o", folder, "--model", "full") == 0
    return folder


def test_the_shipped_phrase_is_measured_from_its_sound(written):
    content = json.loads((written / "sung_phrase.analysis.json").read_text(encoding="utf-8"))
    assert content["schema"] == "pitch.analysis.v1"
    sung = [note for note in synth.PHRASE if note.pitch is not None]
    assert [note["target_midi"] for note in content["notes"]] == [note.pitch for note in sung]
    assert [note["name"] for note in content["notes"]] == ["D4", "F4", "A4", "D5", "C5", "A4", "D4"]
    assert np.abs([note["deviation_cents"] for note in content["notes"]]).max() < 10
    # Notes that hold two cycles of vibrato: those of more than 0.25 s + 2 / 5.5 Hz.
    held = [note.seconds > synth.VIBRATO_ONSET + 2 / synth.VIBRATO_HZ for note in sung]
    assert [note["vibrato"] is not None for note in content["notes"]] == held
    for vibrato in (note["vibrato"] for note in content["notes"] if note["vibrato"]):
        assert vibrato["rate_hz"] == pytest.approx(synth.VIBRATO_HZ, abs=0.1)
        assert vibrato["onset_delay_s"] == pytest.approx(synth.VIBRATO_ONSET, abs=0.06)
        # The network averages over its window of 64 ms: it finds 80 to 95 % of this vibrato.
        assert 0.78 * synth.VIBRATO_CENTS < vibrato["extent_cents"] < synth.VIBRATO_CENTS
    song = content["song"]
    assert song["tuning_hz"] == pytest.approx(440, abs=0.7)
    assert (song["lowest_name"], song["highest_name"], song["notes"]) == ("D4", "D5", 7)
    assert song["range_semitones"] == pytest.approx(12, abs=0.1)
    assert song["in_tune_share"] == 1.0


def test_the_figure_is_drawn(written):
    with Image.open(written / "sung_phrase.analysis.png") as image:
        assert image.size == (1500, 1050)
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 100


def test_the_page_needs_no_other_file_and_every_note_is_reachable(written, tmp_path):
    page = Page(written / "sung_phrase.analysis.html")
    content = json.loads((written / "sung_phrase.analysis.json").read_text(encoding="utf-8"))
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|https?://""", page.text)
    notes = page.all("g", role="button", tabindex="0")
    assert [attributes["data-onset"] for attributes, _ in notes] == [
        f"{note['onset_s']:.3f}" for note in content["notes"]
    ]
    assert all(attributes["aria-label"] for attributes, _ in notes)
    assert len(page.all("button")) == len(content["notes"])
    assert page.all("html", lang="en")
    assert "prefers-color-scheme: dark" in page.text
    ((audio, _),) = page.all("audio")
    kind, _, data = audio["src"].partition("base64,")
    assert kind == "data:audio/mpeg;"
    mp3 = tmp_path / "a.mp3"
    mp3.write_bytes(base64.b64decode(data))
    embedded, rate = audio_io.load(mp3)
    original, _ = audio_io.load(demo.recording(), sample_rate=rate)
    length = min(embedded.shape[1], original.shape[1])
    assert embedded.shape[1] == pytest.approx(original.shape[1], abs=0.1 * rate)
    # In step with the drawing: nothing was delayed.
    correlation = np.corrcoef(embedded[0, :length], original[0, :length])[0, 1]
    assert correlation > 0.98


def test_a_long_recording_is_named_by_its_path_from_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "EMBED_SECONDS", 1.0)
    song = tmp_path / "in/a song #1 & more.flac"
    song.parent.mkdir()
    shutil.copy(demo.recording(), song)
    assert run(song, "-o", tmp_path / "out/x", "--model", "tiny") == 0
    (path,) = (tmp_path / "out/x").glob("*.html")
    page = Page(path)
    ((audio, _),) = page.all("audio")
    assert (path.parent / unquote(audio["src"])).resolve() == song.resolve()
    assert page.all("h1")[0][1] == song.name


def test_several_recordings_get_a_page_that_compares_them(tmp_path, capsys):
    (tmp_path / "in/sub").mkdir(parents=True)
    shutil.copy(demo.recording(), tmp_path / "in/a.flac")
    shutil.copy(demo.recording(), tmp_path / "in/sub/b#.flac")
    (tmp_path / "in/broken.wav").write_bytes(b"not audio")
    out = tmp_path / "out"
    arguments = ("--model", "tiny", "--tuning", 442, "--scale", "minor", "--tonic", "D", "--json")
    assert run(tmp_path / "in", "-o", out, *arguments) == 2
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["song"]["tuning_hz"] for report in reports] == [442.0, 442.0]
    assert reports[0]["song"]["accuracy_cents"] == pytest.approx(1200 * np.log2(440 / 442), abs=3)
    assert all(Path(path).is_file() for report in reports for path in report["written"])
    links = Page(out / "index.html").all("a")
    assert [text for _, text in links] == ["a", "sub/b#"]
    assert all((out / unquote(attributes["href"])).is_file() for attributes, _ in links)


def test_a_recording_without_a_note_is_reported_as_such(tmp_path, capsys):
    audio_io.save(tmp_path / "silence.wav", audio_io.load(demo.recording())[0][:, :44100] * 0, 44100)
    assert run(tmp_path / "silence.wav", "-o", tmp_path, "--model", "tiny") == 0
    assert "none found" in capsys.readouterr().out
    assert Page(tmp_path / "silence.analysis.html").all("p")[0][1] == "no note found."
    content = json.loads((tmp_path / "silence.analysis.json").read_text())
    assert content["notes"] == []
    assert content["song"]["vibrato_rate_hz"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.wav"], "nowhere.wav: found "),
        (["--tuning", "100"], "tuning: found 100.0, expected from 380.0 to 500.0"),
        (["--workers", "-1"], "workers: found -1, expected at least 1"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, message, tmp_path, capsys):
    assert run(*arguments, "-o", tmp_path / "out", "--model", "tiny") == 2
    error = capsys.readouterr().err
    assert error.startswith("pitch: error: " + message)
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
