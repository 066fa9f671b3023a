"""Each package alone: what it brings, what its wheel holds, that the wheel works in an empty environment."""

import json
import sys
import zipfile

import pytest

PACKAGES = {
    "audio-io": "audio_io",
    "pitch": "pitch",
    "genre": "genre",
    "mri2speech": "mri2speech",
    "separation-coreml": "separation_coreml",
}
HEAVY = {"demucs", "coremltools", "opencv-python-headless", "openunmix", "timm", "lightning", "torchvision"}
# What of the heavy dependencies a package may bring.
BRINGS = {
    "audio-io": set(),
    "pitch": set(),
    "genre": {"demucs", "lightning", "torchvision"},
    "mri2speech": {"lightning", "opencv-python-headless", "timm", "torchvision"},
    "separation-coreml": {"coremltools", "demucs", "openunmix"},
}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_alone_brings_only_what_it_needs(package, uv):
    exported = uv("export", "--frozen", "--package", package, "--no-hashes", "--no-annotate", "--no-header")
    brought = {line.split("==")[0] for line in exported.splitlines() if "==" in line}
    assert "torch" in brought
    assert brought & HEAVY == BRINGS[package]
    assert "pytest" not in brought


def test_the_lock_is_current(uv):
    uv("lock", "--check")


def test_one_script_a_package_named_after_it_and_train_only_in_mri2speech(members):
    scripts = {
        project["project"]["name"]: set(project["project"].get("scripts", {})) for project in members.values()
    }
    assert scripts.pop("audio-io") == set()
    for package, names in scripts.items():
        assert package in names
        # Scripts of one name overwrite each other silently in the environment that the packages share.
        assert names - {package} <= ({"train"} if package == "mri2speech" else set())


def test_all_packages_agree_on_python_version_and_licence(members, root):
    projects = [project["project"] for project in members.values()]
    for field in ("version", "requires-python", "license", "license-files"):
        assert len({str(project[field]) for project in projects}) == 1, field
    texts = {path.read_text() for path in [root / "LICENSE", *root.glob("*/*/LICENSE")]}
    assert len(texts) == 1


@pytest.fixture(scope="module")
def wheels(uv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        uv("build", "--package", package, "--wheel", "--out-dir", folder)
    return {package: next(folder.glob(f"{name}-*.whl")) for package, name in PACKAGES.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_the_package_its_types_and_its_licence(package, wheels, root):
    name = PACKAGES[package]
    with zipfile.ZipFile(wheels[package]) as wheel:
        held = set(wheel.namelist())
    source = (
        next(path for path in (root / "shared" / name, root / "packages" / name) if path.is_dir()) / "src"
    )
    wanted = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert f"{name}/py.typed" in wanted
    assert wanted <= held
    assert any(entry.endswith("licenses/LICENSE") for entry in held)
    assert not any("test" in entry for entry in held)


@pytest.mark.slow
def test_wheels_work_in_an_empty_environment(wheels, uv, tmp_path):
    uv("venv", tmp_path / "env", "--python", sys.executable)
    python = next(path for path in (tmp_path / "env").glob("*/python*") if path.stem == "python")
    uv(
        "pip",
        "install",
        "--python",
        python,
        f"audio-io[figures] @ {wheels['audio-io'].as_uri()}",
        wheels["pitch"],
    )
    done = uv(
        "run",
        "--no-project",
        "--python",
        python,
        "pitch",
        "track",
        "--model",
        "tiny",
        "--json",
        "-o",
        tmp_path / "out",
        cwd=tmp_path,
        VIRTUAL_ENV=str(tmp_path / "env"),
    )
    report = json.loads(done)
    assert report["scores"]["raw_pitch_accuracy"] > 0.98
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".csv", ".json", ".png"]
    listed = uv("pip", "list", "--python", python, "--format", "json")
    assert not HEAVY & {entry["name"] for entry in json.loads(listed)}
