import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from audio_io import errors, files


@pytest.mark.parametrize(
    "kind", [errors.FileError, *errors.FileError.__subclasses__(), *errors.AudioError.__subclasses__()]
)
def test_errors_of_files_survive_pickling(kind):
    error = kind("a.wav", "this", "that")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.path, copy.found, copy.expected) == (str(error), error.path, "this", "that")


def test_errors_of_settings_survive_pickling_whatever_was_found():
    copy = pickle.loads(pickle.dumps(errors.ConfigError("n_fft", lambda: None, "a number")))
    assert copy.field == "n_fft"
    assert copy.expected == "a number"


def test_a_worker_process_reports_a_bad_file_like_any_other(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"nothing of the kind")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(files.info, tmp_path / "bad.wav").exception(timeout=120)
    assert isinstance(error, errors.UnknownFormatError)
    assert str(error).startswith(f"{tmp_path / 'bad.wav'}: found")
