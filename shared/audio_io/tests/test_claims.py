import pytest

from audio_io.claims import claim_for
from audio_io.errors import FileError


def test_a_folder_belongs_to_the_settings_that_came_first(tmp_path):
    mark = tmp_path / "new" / "mark.json"
    claim_for(mark, {"seed": 1, "sizes": (3, 4), "none": None}, "a corpus")
    (tmp_path / "new" / "song.wav").touch()
    claim_for(mark, {"seed": 1, "sizes": (3, 4), "none": None}, "a corpus")
    written = mark.read_bytes()
    with pytest.raises(FileError, match=r"new: found a corpus of other settings, expected the same settings"):
        claim_for(mark, {"seed": 2, "sizes": (3, 4), "none": None}, "a corpus")
    assert mark.read_bytes() == written
    mark.write_text("{")
    with pytest.raises(FileError, match=r"mark.json: found no JSON, expected the settings of a corpus"):
        claim_for(mark, {"seed": 1}, "a corpus")


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / ".mark.1-2.tmp.json").touch()
    claim_for(tmp_path / "mark.json", {"seed": 1}, "a corpus")
    with pytest.raises(FileError, match=r"found something other than a demo, expected a new or empty folder"):
        claim_for(tmp_path / "demo.json", {"seed": 1}, "a demo")
    assert not (tmp_path / "demo.json").exists()
    with pytest.raises(FileError, match=r"mark.json: found something other than a demo"):
        claim_for(tmp_path / "mark.json" / "demo.json", {"seed": 1}, "a demo")
