"""Packages that cannot be used are refused in one sentence, before anything runs."""

import json
import shutil

import numpy as np
import pytest
import torch

from audio_io.errors import ConfigError, FileError
from separation_coreml.mil import load_program
from separation_coreml.mil.blobs import WeightFile, decode

ct = pytest.importorskip("coremltools")
from coremltools.converters.mil.mil import Builder as mb  # noqa: E402

WEIGHT = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    @mb.program(input_specs=[mb.TensorSpec((1, 2, 16))], opset_version=ct.target.iOS17)
    def program(x):
        return mb.relu(x=mb.conv(x=x, weight=WEIGHT, name="first"), name="second")

    model = ct.convert(
        program,
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    model.short_description = "A test"
    model.user_defined_metadata["stems"] = "vocals,drums"
    path = tmp_path_factory.mktemp("packages") / "model.mlpackage"
    model.save(str(path))
    return path


@pytest.fixture
def package(original, tmp_path):
    return shutil.copytree(original, tmp_path / "model.mlpackage")


def edit(package, change):
    from separation_coreml.mil.proto import messages

    specification = messages()[0].Model()
    specification.ParseFromString((package / MODEL).read_bytes())
    function = specification.mlProgram.functions["main"]
    change(specification, function.block_specializations[function.opset].operations)
    (package / MODEL).write_bytes(specification.SerializeToString())


def blob(operations):
    """The reference to the weight file."""
    return next(
        op.attributes["val"].blobFileValue
        for op in operations
        if op.type == "const" and op.attributes["val"].WhichOneof("value") == "blobFileValue"
    )


def refusal(package):
    with pytest.raises(FileError) as caught:
        load_program(package)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_package_says_what_it_is(package):
    program = load_program(package)
    assert [feature.name for feature in program.inputs] == ["x"]
    assert program.inputs[0].type.shape == (1, 2, 16)
    assert [feature.name for feature in program.outputs] == ["second"]
    assert [(op.kind, op.name) for op in program.operations] == [("conv", "first"), ("relu", "second")]
    assert program.metadata["description"] == "A test"
    assert program.metadata["stems"] == "vocals,drums"
    x = torch.randn(1, 2, 16)
    expected = torch.relu(torch.nn.functional.conv1d(x, torch.tensor(WEIGHT)))
    torch.testing.assert_close(program.run(x=x)["second"], expected)
    traced = {operation.name: values[0] for operation, values in program.trace(x=x)}
    assert torch.equal(traced["second"], program.run(x=x)["second"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "inputs: found none, expected exactly x"),
        ({"y": torch.zeros(1, 2, 16)}, "inputs: found y, expected exactly x"),
        ({"x": torch.zeros(2, 16)}, r"x: found the shape \[2, 16\], expected float32\[1, 2, 16\]"),
        ({"x": torch.zeros(1, 2, 16, dtype=torch.int32)}, "x: found torch.int32, expected float32"),
    ],
)
def test_wrong_inputs_are_refused(package, inputs, message):
    with pytest.raises(ConfigError, match=message):
        load_program(package).run(**inputs)


def test_what_is_no_package_is_refused(tmp_path, package):
    assert "found nothing, expected a .mlpackage folder" in refusal(tmp_path / "none.mlpackage")
    assert "no Manifest.json" in refusal(tmp_path)
    (package / "Manifest.json").write_text("{]")
    assert "without a root model" in refusal(package)


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "a/../../../secret"])
def test_a_manifest_that_leads_out_of_the_package_is_refused(package, path):
    (package.parent / "secret").write_bytes((package / MODEL).read_bytes())
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = path
    (package / "Manifest.json").write_text(json.dumps(manifest))
    assert f"leads out of the package ({path})" in refusal(package)


def test_a_link_out_of_the_package_is_refused(package):
    (package.parent / "elsewhere.bin").write_bytes((package / WEIGHTS).read_bytes())
    (package / WEIGHTS).unlink()
    (package / WEIGHTS).symlink_to(package.parent / "elsewhere.bin")
    assert "leads out of the package" in refusal(package)


def test_a_truncated_specification_is_refused(package):
    content = (package / MODEL).read_bytes()
    (package / MODEL).write_bytes(content[: len(content) // 2])
    assert "specification that cannot be read" in refusal(package)
    (package / MODEL).write_bytes(b"")
    assert "a model of the kind unknown, expected an ML program" in refusal(package)
    (package / MODEL).unlink()
    assert "no file" in refusal(package)


def test_another_kind_of_model_is_refused(package):
    def change(specification, operations):
        specification.neuralNetwork.layers.add()

    edit(package, change)
    assert "a model of the kind neuralNetwork" in refusal(package)


def test_every_unknown_operation_is_named(package):
    def change(specification, operations):
        for name, index in (("fly_away", -1), ("custom_layer", -2)):
            operations[index].type = name

    edit(package, change)
    assert "not known here: custom_layer, fly_away" in refusal(package)


def test_unknown_and_missing_parameters_are_named(package):
    def change(specification, operations):
        operations[-1].inputs["slope"].CopyFrom(operations[-1].inputs["x"])
        del operations[-2].inputs["weight"]

    edit(package, change)
    assert "conv without its parameter weight, relu with a parameter slope" in refusal(package)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("@model_path/../../../secret.bin", "leads out of the package"),
        ("/etc/passwd", "a weight file named '/etc/passwd'"),
        ("@model_path/weights/other.bin", "no weight file '@model_path/weights/other.bin'"),
    ],
)
def test_a_weight_file_elsewhere_is_refused(package, name, message):
    edit(package, lambda _, operations: setattr(blob(operations), "fileName", name))
    assert message in refusal(package)


@pytest.mark.parametrize(
    ("offset", "message"),
    [(10**9, "a record at byte 1000000000"), (0, "no record at byte 0"), (65, "no record at byte 65")],
)
def test_an_offset_without_a_record_is_refused(package, offset, message):
    edit(package, lambda _, operations: setattr(blob(operations), "offset", offset))
    assert message in refusal(package)


def test_damaged_weight_files_are_refused(package):
    content = (package / WEIGHTS).read_bytes()
    (package / WEIGHTS).write_bytes(content[:-40])
    assert "expected data inside the weight file" in refusal(package)
    (package / WEIGHTS).write_bytes(content[:20])
    assert "a weight file of 20 bytes" in refusal(package)
    (package / WEIGHTS).write_bytes(content[:4] + b"\7" + content[5:])
    assert "version 7 of the weight format" in refusal(package)
    damaged = bytearray(content)
    damaged[68] = 1
    (package / WEIGHTS).write_bytes(damaged)
    assert "float16 at byte 64, expected float32" in refusal(package)
    damaged = bytearray(content)
    damaged[72] += 4
    (package / WEIGHTS).write_bytes(damaged)
    assert "100 bytes of float32 at byte 64, expected 96, for 24 numbers" in refusal(package)


def test_an_operation_that_does_not_fit_is_named(package):
    def change(specification, operations):
        stride = next(
            op for op in operations if op.type == "const" and op.outputs[0].name == "first_strides_0"
        )
        stride.attributes["val"].immediateValue.tensor.ints.values[0] = 0

    edit(package, change)
    with pytest.raises(FileError, match="found conv 'first', which cannot be computed"):
        load_program(package).run(x=torch.zeros(1, 2, 16))


@pytest.mark.parametrize(
    "dtype", ["int4", "uint1", "uint2", "uint3", "uint4", "uint6", "int16", "uint16", "int8"]
)
def test_every_type_is_read_as_coremltools_writes_it(dtype, tmp_path):
    from coremltools.libmilstoragepython import _BlobStorageWriter

    bits = int(dtype.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    storage = dtype if bits >= 8 else ("uint8" if low == 0 else "int8")
    numbers = np.random.default_rng(0).integers(low, high, 1001).astype(storage)
    path = tmp_path / "weight.bin"
    writer = _BlobStorageWriter(str(path))
    offset = getattr(writer, f"write_{dtype}_data")(numbers)
    del writer
    np.testing.assert_array_equal(WeightFile(path).read(offset, dtype, 1001), numbers)


def test_packed_numbers_begin_at_the_lowest_bit():
    np.testing.assert_array_equal(decode(np.uint8([0b10_11_00_01]), "uint2", 3), [1, 0, 3])
    np.testing.assert_array_equal(decode(np.uint8([0x8F]), "int4", 2), [-1, -8])
