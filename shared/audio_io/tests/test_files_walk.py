import pytest

from audio_io.atomic import atomic_path
from audio_io.errors import AudioNotFoundError
from audio_io.files import walk


def test_order_and_selection(tmp_path):
    wanted = ["B/z.wav", "B a/x.FLAC", "a-b/y.mp3", "a/b.wav", "a/b/c.ogg", "a.wav", "é.m4a"]
    others = ["readme.txt", ".hidden.wav", ".cache/a.wav", "video.mp4", "a/wav"]
    for name in wanted + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with atomic_path(tmp_path / "a/new.wav") as temporary:
        temporary.touch()
        found = walk(tmp_path)
    order = ["B/z.wav", "B a/x.FLAC", "a/b/c.ogg", "a/b.wav", "a-b/y.mp3", "a.wav", "é.m4a"]
    assert [path.relative_to(tmp_path).as_posix() for path in found] == order


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    import os

    for name in ("c.wav", "a.wav", "b/a.wav", "b/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    forwards = walk(tmp_path)
    original = os.walk
    monkeypatch.setattr(
        "os.walk",
        lambda *args, **kwargs: reversed([(p, d, n[::-1]) for p, d, n in original(*args, **kwargs)]),
    )
    assert walk(tmp_path) == forwards
    assert len(forwards) == 4


def test_extensions(tmp_path):
    for name in ("a.wav", "b.MP4", "c.mp4"):
        (tmp_path / name).touch()
    assert [path.name for path in walk(str(tmp_path), extensions=[".MP4"])] == ["b.MP4", "c.mp4"]
    assert walk(tmp_path, extensions=[".flac"]) == []


def test_no_folder(tmp_path):
    with pytest.raises(AudioNotFoundError, match=r"nowhere: found nothing, expected a folder$"):
        walk(tmp_path / "nowhere")
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioNotFoundError, match=r"a\.wav: found a file, expected a folder$"):
        walk(tmp_path / "a.wav")
