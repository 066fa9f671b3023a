"""Recordings and folders that nobody planned for: one sentence each, the rest goes on, 2 if nothing can."""

import errno
import os
import re
import struct
import sys

import numpy as np
import pytest
import soundfile
import torch

import audio_io
from genre.cli import main
from genre.config import STEMS
from genre.quarantine import read_quarantine
from genre.stem_archive import open_archive

RATE = 22050


def tone(seconds=0.6, rate=RATE, channels=1):
    time = torch.arange(round(seconds * rate)) / rate
    return (0.5 * torch.sin(2 * torch.pi * 220 * time)).repeat(channels, 1)


def whole_au(path):
    audio_io.save(path, tone(), RATE, subtype="PCM_16")
    return path.read_bytes()


def write_broken(path, kind):
    data = whole_au(path)
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(50000))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "zero length":
        path.write_bytes(data[:4] + struct.pack(">II", 24, 0) + data[12:24])
    elif kind == "NaN":
        samples = tone()[0].numpy().copy()
        samples[100] = np.nan
        soundfile.write(path, samples, RATE, subtype="FLOAT", format="AU")
    elif kind == "one sample":
        audio_io.save(path, tone()[:, :1], RATE)
    elif kind == "text":
        path.write_text("no sound at all")


BROKEN = {
    "truncated": r"found \d+ bytes of sound, expected the \d+ bytes that its header declares",
    "random": r"found bytes of no known format",
    "empty": r"found an empty file \(0 bytes\), expected a file with sound",
    "zero length": r"found a AU file with 0 samples, expected a file with sound",
    "NaN": r"found .*(NaN|nan|finite)",
    "one sample": r"found 0.000 s of sound, expected at least 0.5 s",
    "text": r"found bytes of no known format \(it begins with 'no sound at '\)",
}


def separate(data, cache, *arguments):
    return main(
        ["separate", str(data), "--separator", "none", "--separation-cache-dir", str(cache), *arguments]
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_recording_is_quarantined_and_the_rest_goes_on(kind, tmp_path, capsys):
    data, cache = tmp_path / "data", tmp_path / "cache"
    audio_io.save(data / "blues/good.wav", tone(), RATE)
    write_broken(data / "blues/bad.au", kind)
    assert separate(data, cache) == 0
    (fault,) = read_quarantine(cache)
    assert fault.track == "blues__bad"
    assert re.search(BROKEN[kind], fault.problem)
    assert fault.problem.count("\n") == 0
    output = capsys.readouterr()
    assert f"  {fault.problem}\n" in output.out
    assert "1 tracks ready" in output.out
    assert "Traceback" not in output.err
    assert sorted(path.name for path in cache.iterdir()) == ["blues__good.npz", "quarantine.csv"]


@pytest.mark.parametrize("kind", BROKEN)
def test_nothing_but_a_broken_recording_is_one_sentence_and_2(kind, tmp_path, capsys):
    (tmp_path / "blues").mkdir()
    write_broken(tmp_path / "blues/bad.au", kind)
    assert separate(tmp_path, tmp_path / "cache") == 2
    error = capsys.readouterr().err
    assert error.startswith("genre: error: ")
    assert "found no usable track among 1 (the first: " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 7), (192000, 2)])
def test_any_rate_and_number_of_channels_is_mixed_to_mono_at_22050_hz(rate, channels, tmp_path):
    audio_io.save(tmp_path / "data/ジャズ/夜の 曲.wav", tone(1.0, rate, channels), rate)
    assert separate(tmp_path / "data", tmp_path / "cache") == 0
    stems = open_archive(tmp_path / "cache/ジャズ__夜の 曲.npz").read()
    assert stems.shape == (4, RATE)
    inner = slice(1000, -1000)
    np.testing.assert_allclose(stems[:, inner], tone(1.0)[:, inner].expand(4, -1), atol=2e-3)


def test_labels_that_do_not_fit_are_listed_and_the_rest_goes_on(tmp_path, capsys):
    audio_io.save(tmp_path / "a.wav", tone(), RATE)
    (tmp_path / "tracks.csv").write_text("path,label\na.wav,rock\nb.wav,pop\na.wav,rock\n")
    assert separate(tmp_path, tmp_path / "cache") == 0
    output = capsys.readouterr().out
    assert "2 mismatches between the files and their labels:" in output
    assert "  tracks.csv, line 3: b.wav: no such file\n" in output
    assert "  tracks.csv, line 4: a.wav: listed twice\n" in output


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert separate(tmp_path / "gone", tmp_path / "cache") == 2
    assert capsys.readouterr().err == (
        f"genre: error: {tmp_path / 'gone'}: found nothing, expected a folder of songs\n"
    )
    assert not (tmp_path / "cache").exists()


def refuse(monkeypatch, code):
    """Let the disk fail at the write of the stems, as the operating system would."""

    def savez(*_arguments, **_arrays):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(np, "savez", savez)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    audio_io.save(tmp_path / "data/blues/good.wav", tone(), RATE)
    refuse(monkeypatch, errno.ENOSPC)
    cache = tmp_path / "cache"
    assert separate(tmp_path / "data", cache) == 2
    assert capsys.readouterr().err == (
        f"genre: error: {cache / 'blues__good.npz'}: {os.strerror(errno.ENOSPC)}\n"
    )
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits files")
def test_a_write_that_stops_half_way_is_one_sentence_and_leaves_nothing(tmp_path, capsys):
    import resource

    audio_io.save(tmp_path / "data/blues/good.wav", tone(), RATE)
    cache = tmp_path / "cache"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, limits[1]))  # the stems take 106 kB
    try:
        code = separate(tmp_path / "data", cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    assert capsys.readouterr().err == f"genre: error: {cache / 'blues__good.npz'}: File too large\n"
    assert list(cache.iterdir()) == []


def test_a_cache_below_a_file_is_one_sentence(tmp_path, capsys):
    audio_io.save(tmp_path / "data/blues/good.wav", tone(), RATE)
    (tmp_path / "cache").write_text("a file")
    assert separate(tmp_path / "data", tmp_path / "cache") == 2
    assert capsys.readouterr().err == f"genre: error: {tmp_path / 'cache'}: File exists\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_one_sentence(tmp_path, capsys):
    audio_io.save(tmp_path / "data/blues/good.wav", tone(), RATE)
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    assert separate(tmp_path / "data", cache) == 2
    assert capsys.readouterr().err == f"genre: error: {cache / 'blues__good.lock'}: Permission denied\n"


def test_a_read_only_cache_is_reported_at_its_lock(tmp_path, monkeypatch, capsys):
    audio_io.save(tmp_path / "data/blues/good.wav", tone(), RATE)
    original = os.open

    def read_only(path, flags, *arguments, **options):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return original(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", read_only)
    assert separate(tmp_path / "data", tmp_path / "cache") == 2
    lock = tmp_path / "cache/blues__good.lock"
    assert capsys.readouterr().err == f"genre: error: {lock}: Read-only file system\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--overlap", "1"], "overlap: found 1.0, expected from 0 to below 1"),
        (["--jobs", "0"], "jobs: found 0, expected at least 1"),
        (
            ["--separator", "demucs", "--separation-model", "x"],
            "separation_model: found 'x', expected one of",
        ),
        (
            ["--separator", "demucs", "--separation-repo", "nowhere"],
            "separation_repo: found nothing at nowhere",
        ),
        (["--sample-rate", "100"], "sample_rate: found 100, expected at least 4000"),
    ],
)
def test_settings_are_refused_by_name(arguments, message, tmp_path, capsys):
    audio_io.save(tmp_path / "data/blues/good.wav", tone(), RATE)
    assert separate(tmp_path / "data", tmp_path / "cache", *arguments) == 2
    assert capsys.readouterr().err.startswith(f"genre: error: {message}")


def export(cache, out, *arguments):
    return main(["export-stems", *arguments, "--separation-cache-dir", str(cache), "-o", str(out)])


def test_stems_are_exported_by_id_by_path_and_by_channel(tmp_path, capsys):
    data, cache = tmp_path / "data", tmp_path / "cache"
    for name in ("a", "b"):
        audio_io.save(data / f"blues/{name}.wav", tone(), RATE)
    separate(data, cache)
    out = tmp_path / "one"
    path = str(cache / "blues__b.npz")
    assert export(cache, out, "blues__a", path, "--channels", "drums", "vocals") == 0
    names = sorted(file.relative_to(out).as_posix() for file in out.rglob("*.wav"))
    assert names == [f"blues__{name}/{stem}.wav" for name in "ab" for stem in ("drums", "vocals")]
    exported, rate = audio_io.load(out / "blues__b/drums.wav")
    assert rate == RATE
    np.testing.assert_array_equal(exported.numpy(), open_archive(cache / "blues__b.npz").read()[1:2])
    # All of them, into a layout that is read as ready-made stems.
    (cache / "c.npz").write_bytes(b"PK half")
    assert export(cache, tmp_path / "all/blues") == 0
    assert "left out: " in capsys.readouterr().out
    again = tmp_path / "again"
    assert separate(tmp_path / "all", again, "--separator", "stems") == 0
    first, second = open_archive(cache / "blues__a.npz"), open_archive(again / "blues__blues__a.npz")
    np.testing.assert_allclose(second.read(), first.read(), atol=1e-6)
    assert len(STEMS) == len(second.offsets)


def test_stems_that_are_not_there_are_refused(tmp_path, capsys):
    assert export(tmp_path / "cache", tmp_path / "out") == 2
    assert export(tmp_path, tmp_path / "out", "train_0") == 2
    (tmp_path / "bad.npz").write_bytes(b"")
    assert export(tmp_path, tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    assert (
        lines[0] == f"genre: error: {tmp_path / 'cache'}: found nothing, expected files of `genre separate`"
    )
    assert (
        lines[1] == f"genre: error: {tmp_path / 'train_0.npz'}: found nothing, expected the stems of a track"
    )
    assert lines[2].startswith(f"genre: error: {tmp_path}: found no readable stems ({tmp_path / 'bad.npz'}: ")
    assert len(lines) == 3
    assert not (tmp_path / "out").exists()
