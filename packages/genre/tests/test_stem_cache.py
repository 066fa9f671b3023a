"""The cache of stems: what it holds, what it recognises, and what killed processes leave of it."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import audio_io
from audio_io.atomic import atomic_path
from audio_io.errors import ConfigError
from genre import stem_cache
from genre.config import STEMS, FeatureConfig, SeparationConfig
from genre.layouts import Track
from genre.locks import GIVEN_UP_SECONDS, Busy, hold
from genre.quarantine import read_quarantine
from genre.stem_archive import open_archive, write_archive
from genre.stem_cache import CacheError, StemCache

RATE = 8000
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")


def noise(seed, length=RATE, level=0.3):
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(1, length, generator=generator)


@pytest.fixture
def songs(tmp_path):
    """Three tracks of ready-made stems: one loud beyond full scale, one with a stem that is silent."""
    tracks = []
    for number, level in enumerate((0.3, 2.0, 1e-3)):
        folder = tmp_path / "rock" / f"song {number}"
        for seed, stem in enumerate(STEMS):
            is_silent = number == 2 and stem == "bass"
            samples = torch.zeros(1, RATE) if is_silent else noise(10 * number + seed, level=level)
            audio_io.save(folder / f"{stem}.wav", samples, RATE)
        tracks.append(Track(f"rock__song {number}", folder, "rock"))
    return tracks


def open_cache(folder, separator="stems", rate=RATE, **settings):
    config = SeparationConfig(separator=separator, separation_cache_dir=str(folder), **settings)
    return StemCache(config, FeatureConfig(sample_rate=rate))


@pytest.fixture
def cache(tmp_path):
    return open_cache(tmp_path / "separated")


def stems_of(track):
    return torch.cat([audio_io.load(track.path / f"{stem}.wav")[0] for stem in STEMS]).numpy()


def test_stems_come_back_within_half_a_step_of_their_own_peak(songs, cache):
    summary = cache.fill(songs)
    assert summary.ready == tuple(songs)
    assert (summary.made, summary.states["missing"], summary.faults) == (3, 3, ())
    for track in songs:
        exact = stems_of(track)
        step = np.abs(exact).max(axis=1, keepdims=True) / 32767
        read = cache.read(track)
        assert read.dtype == np.float32
        assert (np.abs(read - exact) <= 0.51 * step + 1e-12).all()
        assert cache.length(track) == RATE
        # Any span is the same as that of the whole.
        np.testing.assert_array_equal(cache.read(track, 1234, 500), read[:, 1234:1734])
        np.testing.assert_array_equal(cache.read(track, 7900, 500), read[:, 7900:])
        assert cache.read(track, 9000, 10).shape == (4, 0)


def test_the_file_is_an_archive_that_numpy_reads(songs, cache):
    cache.fill(songs[:1])
    with np.load(cache.path(songs[0]), allow_pickle=False) as archive:
        assert set(archive) == {*STEMS, "scale", "meta"}
        for row, stem in enumerate(STEMS):
            assert archive[stem].dtype == np.int16
            np.testing.assert_allclose(
                archive[stem] * archive["scale"][row], cache.read(songs[0])[row], rtol=1e-6
            )


def test_reading_a_span_reads_its_bytes_and_no_others(songs, cache):
    cache.fill(songs[:1])
    path = cache.path(songs[0])
    before = cache.read(songs[0], 4000, 100)
    # Nothing outside the span is looked at: zeros there change nothing.
    archive = open_archive(path)
    data = bytearray(path.read_bytes())
    for offset in archive.offsets:
        data[offset : offset + 2 * 4000] = bytes(8000)
    path.write_bytes(data)
    np.testing.assert_array_equal(cache.read(songs[0], 4000, 100), before)
    assert cache.state(songs[0]) == "ok"
    assert cache.state(songs[0], thorough=True) == "corrupt"
    assert cache.fill(songs[:1], thorough=True).states["corrupt"] == 1
    assert cache.state(songs[0], thorough=True) == "ok"


def test_a_second_fill_makes_nothing_and_a_complete_cache_may_be_read_only(songs, cache):
    cache.fill(songs)
    written = {path: path.stat().st_mtime_ns for path in cache.folder.iterdir()}
    assert len(written) == 3
    summary = open_cache(cache.folder).fill(songs)
    assert (summary.made, summary.states["ok"]) == (0, 3)
    assert {path: path.stat().st_mtime_ns for path in cache.folder.iterdir()} == written


def test_other_settings_and_changed_recordings_are_stale(songs, cache):
    track = songs[0]
    cache.fill(songs)
    assert open_cache(cache.folder, "none").state(track) == "stale"
    assert open_cache(cache.folder, rate=4000).state(track) == "stale"
    assert cache.state(track) == "ok"
    os.utime(track.path / "bass.wav", (1, 1))  # copied: another time, the same content
    assert cache.state(track) == "ok"
    audio_io.save(track.path / "bass.wav", noise(99), RATE)
    assert cache.state(track) == "stale"
    assert cache.fill(songs).made == 1
    np.testing.assert_allclose(cache.read(track)[2], noise(99)[0], atol=1e-4)
    for stem in STEMS:
        (songs[1].path / f"{stem}.wav").unlink()
    songs[1].path.rmdir()
    assert cache.state(songs[1]) == "ok"  # the recording is gone, its stems are not


def test_what_demucs_has_made_is_not_replaced_by_what_costs_nothing(songs, cache):
    cache.fill(songs)
    meta = {"settings": "others", "separator": "demucs htdemucs 955717e8 overlap 0.25", "source": None}
    write_archive(cache.path(songs[1]), cache.read(songs[1]), meta)
    made = cache.path(songs[1]).read_bytes()
    for separator in ("stems", "none"):
        with pytest.raises(CacheError, match=r"song 1\.npz: found stems of demucs htdemucs .* expected an"):
            open_cache(cache.folder, separator).fill(songs)
    assert cache.path(songs[1]).read_bytes() == made
    assert cache.state(songs[0]) == "ok"


def test_a_recording_replaced_under_its_size_and_time_is_found_by_a_thorough_look(songs, cache):
    track = songs[0]
    cache.fill(songs)
    digest = cache.digest(track)
    path = track.path / "bass.wav"
    before = path.stat()
    audio_io.save(path, noise(99), RATE)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert cache.state(track) == "ok"
    assert cache.state(track, thorough=True) == "stale"
    assert cache.fill(songs, thorough=True).made == 1
    np.testing.assert_allclose(cache.read(track)[2], noise(99)[0], atol=1e-4)
    assert cache.digest(track) != digest


def test_recordings_are_identified_by_what_is_in_them(songs, cache, tmp_path):
    cache.fill(songs[:1])
    shutil.copytree(songs[0].path, tmp_path / "jazz" / "copy")
    copy = Track("jazz__copy", tmp_path / "jazz" / "copy", "jazz")
    assert cache.identify(copy) == cache.identify(songs[0]) == cache.digest(songs[0])
    assert cache.identify(songs[1]) != cache.digest(songs[0])
    with pytest.raises(CacheError, match="found no stems"):
        cache.digest(copy)
    write_archive(cache.path(copy), cache.read(songs[0]), {"settings": cache.settings, "source": [5]})
    with pytest.raises(CacheError, match="no description of its source"):
        cache.digest(copy)


@pytest.mark.parametrize("source", [None, 5, [5], [{}], [{"name": "a.wav"}]])
def test_a_recording_described_in_another_way_is_stale(songs, cache, source):
    track = songs[0]
    cache.fill([track], device="cpu")
    meta = {"settings": cache.settings, "source": source}
    write_archive(cache.path(track), cache.read(track), meta)
    assert cache.state(track) == "stale"


def test_the_files_of_earlier_programs_are_stale(songs, cache):
    track = songs[0]
    path = cache.path(track)
    path.parent.mkdir()
    wave = noise(0)[0].numpy()
    np.savez_compressed(path, original=wave, accompaniment=wave, vocals=wave)
    assert cache.state(track) == "stale"
    np.savez_compressed(path, original=wave, vocals=wave, drums=wave, bass=wave, other=wave)
    assert cache.state(track) == "stale"
    with pytest.raises(CacheError, match=r"found the arrays .*original.*`genre separate` makes it anew"):
        cache.read(track)
    assert cache.fill([track]).states["stale"] == 1
    assert cache.state(track) == "ok"


def test_a_file_cut_anywhere_is_corrupt_and_redone(songs, cache):
    track = songs[0]
    cache.fill([track])
    whole = cache.path(track).read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        cache.path(track).write_bytes(whole[:length])
        assert cache.state(track) == "corrupt", length
    with pytest.raises(CacheError, match=r"found BadZipFile.*expected a whole archive of stems; `genre sep"):
        cache.read(track)
    cache.fill([track])
    assert cache.state(track, thorough=True) == "ok"
    with pytest.raises(CacheError, match="found no stems, expected those of"):
        cache.read(songs[1])


def in_a_process(function, *arguments):
    """A forked process: it has all modules already, which would take it seconds to import."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def fill_and_stop_half_way(cache, songs, half_written):
    def write(path, stems, meta):
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            half_written.set()
            time.sleep(600)

    stem_cache.write_archive = write  # of the child alone
    cache.fill(songs)


@POSIX
def test_a_killed_process_loses_the_track_in_work_and_nothing_else(songs, cache):
    cache.fill(songs[:1])
    kept = cache.path(songs[0]).stat().st_mtime_ns
    half_written = multiprocessing.get_context("fork").Event()
    process = in_a_process(fill_and_stop_half_way, cache, songs, half_written)
    assert half_written.wait(60)
    assert cache.path(songs[1]).with_suffix(".lock").is_file()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert [cache.state(track) for track in songs] == ["ok", "missing", "missing"]
    assert len(list(cache.folder.glob(".*.tmp.npz"))) == 1
    # The next run takes over the lock of the dead, and removes the half file.
    assert cache.fill(songs).made == 2
    assert [cache.state(track, thorough=True) for track in songs] == ["ok"] * 3
    assert cache.path(songs[0]).stat().st_mtime_ns == kept
    assert sorted(path.name for path in cache.folder.iterdir()) == [f"{track.id}.npz" for track in songs]


def fill_and_log(cache, songs, log):
    original = stem_cache.write_archive

    def write(path, stems, meta):
        with log.open("a") as file:
            file.write(f"{path.stem}\n")
        time.sleep(0.02)
        original(path, stems, meta)

    stem_cache.write_archive = write  # of the child alone
    assert cache.fill(songs).ready == tuple(songs)


@POSIX
def test_several_processes_fill_one_cache_and_make_each_track_once(songs, cache, tmp_path):
    log = tmp_path / "written"
    processes = [in_a_process(fill_and_log, cache, songs, log) for _ in range(4)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(log.read_text().splitlines()) == [track.id for track in songs]
    assert [cache.state(track, thorough=True) for track in songs] == ["ok"] * 3


@pytest.mark.slow  # each process imports torch
def test_jobs_work_side_by_side_and_report_faults(songs, cache, tmp_path):
    (tmp_path / "rock/song 1/drums.wav").write_bytes(b"")
    summary = cache.fill(songs, jobs=2)
    assert summary.made == 2
    assert [fault.track for fault in summary.faults] == ["rock__song 1"]
    assert [cache.state(track, thorough=True) for track in songs] == ["ok", "missing", "ok"]


def test_a_fill_waits_for_the_track_that_another_works_on(songs, cache, monkeypatch):
    cache.folder.mkdir()
    path = cache.path(songs[0])
    entered = threading.Event()

    def sleep(_seconds):
        entered.set()
        time.sleep = original  # the other finishes only after this one has found nothing else to do
        other.join()

    original = time.sleep
    monkeypatch.setattr(time, "sleep", sleep)

    def work_elsewhere():
        entered.wait(60)
        write_archive(path, np.ones((4, 8), np.float32), {"settings": cache.settings, "source": None})
        lock.__exit__(None, None, None)

    lock = hold(path.with_suffix(".lock"))
    lock.__enter__()
    other = threading.Thread(target=work_elsewhere)
    other.start()
    monkeypatch.setattr(stem_cache, "is_unchanged", lambda *_, **__: True)
    summary = cache.fill(songs)
    assert (summary.made, summary.ready) == (2, tuple(songs))
    assert cache.read(songs[0]).shape == (4, 8)  # the other's work, not repeated


def test_locks_of_the_living_hold_and_those_of_the_dead_do_not(tmp_path):
    path = tmp_path / "a.lock"
    with hold(path), pytest.raises(Busy), hold(path):
        pass
    assert not path.exists()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = __import__("socket").gethostname()
    texts = {
        "dead": f'{{"host": "{host}", "process": {dead.pid}}}',
        "elsewhere": '{"host": "another machine", "process": 1}',
        "empty": "",
    }
    path.write_text(texts["dead"])
    with hold(path):
        assert str(os.getpid()) in path.read_text()
    for name in ("elsewhere", "empty"):
        path.write_text(texts[name])
        with pytest.raises(Busy), hold(path):
            pass
        old = time.time() - GIVEN_UP_SECONDS - 1
        os.utime(path, (old, old))
        with hold(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_faults_are_listed_beside_the_stems_until_they_are_mended(songs, cache, tmp_path):
    broken = Track("rock__song 1", songs[1].path, "rock")
    good = (broken.path / "drums.wav").read_bytes()
    (broken.path / "drums.wav").write_bytes(b"RIFF")
    summary = cache.fill(songs)
    assert summary.ready == (songs[0], songs[2])
    (fault,) = read_quarantine(cache.folder)
    assert (fault.track, fault.path) == (broken.id, broken.path.as_posix())
    assert fault.problem.startswith(f"{broken.path / 'drums.wav'}: found ")
    assert summary.text() == "2 tracks ready (2 separated now; before: 3 missing), 1 cannot be used"
    cache.fill(songs[:1])  # says nothing about the others
    assert len(read_quarantine(cache.folder)) == 1
    with pytest.raises(CacheError, match=r"found no usable track among 1 \(the first: .*drums.wav: found "):
        cache.fill([broken])
    (broken.path / "drums.wav").write_bytes(good)
    cache.fill(songs)
    assert not (cache.folder / "quarantine.csv").exists()


def test_a_damaged_list_of_faults_stops_nothing(songs, cache):
    cache.folder.mkdir()
    (cache.folder / "quarantine.csv").write_bytes(b"\xff\xfe\x00\x80")
    assert len(cache.fill(songs[:1], device="cpu").ready) == 1


def test_no_jobs_are_refused(songs, cache):
    with pytest.raises(ConfigError, match="jobs: found 0"):
        cache.fill(songs, jobs=0)
    assert not Path(cache.folder).exists()
