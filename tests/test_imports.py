"""Who may import whom: read from the sources themselves."""

import ast
import re
import subprocess
import sys

import pytest

WORKSPACE = ["audio_io", "pitch", "genre", "mri2speech", "separation_coreml"]


def source_folder(root, name):
    return root / ("shared" if name == "audio_io" else "packages") / name / "src" / name


def imports(path):
    """Full names of all modules that a source file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.parts[path.parts.index("src") + 1 : len(path.parts) - node.level]
            yield from (
                ".".join([*package, *filter(None, [node.module]), alias.name]) for alias in node.names
            )


def distribution(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("name", WORKSPACE)
def test_a_package_imports_no_sibling_that_its_pyproject_does_not_declare(name, root, members):
    project = members[name]["project"]
    extras = project.get("optional-dependencies", {}).values()
    declared = {distribution(r) for r in [*project["dependencies"], *(r for extra in extras for r in extra)]}
    files = list(source_folder(root, name).rglob("*.py"))
    assert files
    for path in files:
        for module in imports(path):
            top = module.split(".")[0]
            if top in WORKSPACE and top != name:
                assert top.replace("_", "-") in declared, f"{path} imports {module}"


@pytest.mark.parametrize("name", WORKSPACE)
def test_no_module_imports_the_command_line_of_its_package(name, root):
    for path in source_folder(root, name).rglob("*.py"):
        if path.name != "__main__.py":
            assert not any(module.startswith(f"{name}.cli") for module in imports(path)), path


@pytest.mark.parametrize("name", WORKSPACE)
def test_modules_import_one_another_without_a_circle(name, root):
    folder = source_folder(root, name)
    modules = {
        ".".join([name, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in folder.rglob("*.py")
    }
    graph = {
        module: {
            target
            for found in imports(path)
            for target in (found, found.rpartition(".")[0])
            if target in modules and target != module and target != name
        }
        for module, path in modules.items()
    }
    done, entered = set(), []

    def visit(module):
        assert module not in entered, " -> ".join([*entered, module])
        if module in done:
            return
        entered.append(module)
        for target in sorted(graph[module]):
            visit(target)
        done.add(entered.pop())

    for module in graph:
        visit(module)


@pytest.mark.parametrize("name", WORKSPACE)
def test_importing_a_package_loads_nothing_heavy(name):
    heavy = [
        "torch",
        "torchaudio",
        "torchvision",
        "librosa",
        "matplotlib",
        "cv2",
        "demucs",
        "coremltools",
        "timm",
    ]
    script = f"import sys, {name}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("name", WORKSPACE)
def test_every_public_name_is_there(name):
    script = f"import {name} as m; [getattr(m, n) for n in getattr(m, '__all__', [])]"
    subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
