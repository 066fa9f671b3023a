"""What Keras computes and writes for the six capacities, as references of `tests/test_keras.py`.

    uv run --no-project --python 3.11 --with tensorflow-cpu --with tf_keras --with h5py \
        python packages/pitch/tests/goldens/make_keras_goldens.py

The weights and inputs follow from a seed by numpy alone, so that the test makes the same ones without Keras;
stored are the posteriors (`keras_posteriors.npz`) and the names in the files that Keras 2 and 3 write
(`keras_layouts.json`). Nothing of the package is imported: the architecture is that of crepe/core.py
(marl/crepe), written a second time.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
MULTIPLIERS = {"tiny": 4, "small": 8, "regular": 12, "medium": 16, "large": 24, "full": 32}
WIDTHS = (512, 64, 64, 64, 64, 64)
CHANNELS = (32, 4, 4, 4, 8, 16)  # times the multiplier
VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def keras_weights(name):
    """Tensors by (layer, variable) in the shapes of Keras, scaled so that every layer says something."""
    # RandomState, unlike default_rng, promises the same numbers in every version of numpy.
    random = np.random.RandomState(MULTIPLIERS[name])
    tensors = {}

    def normal(*shape, mean=0.0, std=1.0):
        return (mean + std * random.standard_normal(shape)).astype(np.float32)

    inputs = 1
    for number, (width, channels) in enumerate(zip(WIDTHS, CHANNELS, strict=True), start=1):
        outputs = channels * MULTIPLIERS[name]
        std = (2 / (width * inputs)) ** 0.5  # keeps the variance through a ReLU (He et al. 2015)
        kernel = normal(width, 1, inputs, outputs, std=std)
        # Without an answer to constants, which would drown what differs from frame to frame.
        tensors[f"conv{number}", "kernel"] = kernel - kernel.mean(axis=0)
        tensors[f"conv{number}", "bias"] = normal(outputs, std=0.2)
        # Scales of either sign: where a ReLU follows the wrong side of a BatchNorm the result differs.
        signs = np.where(random.uniform(size=outputs) < 0.2, -1, 1)
        tensors[f"conv{number}-BN", "gamma"] = (signs * normal(outputs, mean=0.8, std=0.1)).astype(np.float32)
        tensors[f"conv{number}-BN", "beta"] = normal(outputs, mean=-0.2, std=0.2)
        tensors[f"conv{number}-BN", "moving_mean"] = normal(outputs, mean=0.35, std=0.1)
        variance = random.uniform(0.15, 0.8, size=outputs)
        tensors[f"conv{number}-BN", "moving_variance"] = variance.astype(np.float32)
        inputs = outputs
    tensors["classifier", "kernel"] = normal(4 * inputs, 360, std=(2 / (4 * inputs)) ** 0.5)
    tensors["classifier", "bias"] = normal(360, std=0.2)
    return tensors


def frames():
    """Six normalised frames, [6, 1024]: tones in noise, and noise alone."""
    random = np.random.RandomState(0)
    time = np.arange(1024) / 16000
    tones = [np.sin(2 * np.pi * f0 * time) * gain for f0, gain in ((110, 2), (220, 1), (440, 4), (0, 0))]
    signals = np.array([*tones, 3 * tones[0] + tones[1], tones[2] - tones[1]])
    signals = signals + random.standard_normal(signals.shape)
    signals -= signals.mean(axis=1, keepdims=True)
    return (signals / signals.std(axis=1, keepdims=True)).astype(np.float32)


def build(keras, name):
    """The Keras model of a capacity with the seeded weights."""
    layers = keras.layers
    multiplier = MULTIPLIERS[name]
    x = layers.Input(shape=(1024,), name="input", dtype="float32")
    y = layers.Reshape(target_shape=(1024, 1, 1), name="input-reshape")(x)
    for number, (width, channels) in enumerate(zip(WIDTHS, CHANNELS, strict=True), start=1):
        strides = (4, 1) if number == 1 else (1, 1)
        y = layers.Conv2D(
            channels * multiplier,
            (width, 1),
            strides=strides,
            padding="same",
            activation="relu",
            name=f"conv{number}",
        )(y)
        y = layers.BatchNormalization(name=f"conv{number}-BN")(y)
        y = layers.MaxPooling2D((2, 1), strides=None, padding="valid", name=f"conv{number}-maxpool")(y)
        y = layers.Dropout(0.25, name=f"conv{number}-dropout")(y)
    y = layers.Permute((2, 1, 3), name="transpose")(y)
    y = layers.Flatten(name="flatten")(y)
    y = layers.Dense(360, activation="sigmoid", name="classifier")(y)
    model = keras.Model(inputs=x, outputs=y)
    model.compile("adam", "binary_crossentropy")
    set_weights(model, keras_weights(name))
    return model


def set_weights(model, tensors):
    """Give each layer its tensors, in the order of the layer's own variables."""
    for layer in model.layers:
        values = [
            tensors[layer.name, variable] for variable in VARIABLES if (layer.name, variable) in tensors
        ]
        if values:
            layer.set_weights(values)


def layout(path, tensors):
    """The names in a file: those of tensors (recognised by their values), of anything else, and of groups."""
    import h5py

    tensor_names, others, groups = {}, {}, []

    def visit(name, item):
        if isinstance(item, h5py.Group):
            if not len(item):
                groups.append(name)
            return
        value = np.asarray(item)
        for key, tensor in tensors.items():
            if value.shape == tensor.shape and np.array_equal(value, tensor):
                tensor_names[name] = list(key)
                return
        others[name] = [str(value.dtype), list(value.shape)]

    with h5py.File(path) as file:
        file.visititems(visit)
    assert len(tensor_names) == len(tensors)
    return {"tensors": tensor_names, "others": others, "empty_groups": groups}


def layouts(keras, folder):
    """The layouts that a Keras writes, by how it was asked to."""
    model = build(keras, "tiny")
    # After a step the files hold the optimizer's variables too, which have the shapes of the weights.
    model.fit(frames(), np.zeros((6, 360), np.float32), verbose=0)
    tensors = keras_weights("tiny")
    set_weights(model, tensors)
    major = keras.__version__.split(".")[0]
    files = {f"keras {major}, model.save": "m.h5", f"keras {major}, model.save_weights": "m.weights.h5"}
    if major == "2":
        files["keras 2, model.save_weights to .h5"] = "w.h5"
    result = {}
    for how, file in files.items():
        path = Path(folder) / file
        (model.save if how.endswith("save") else model.save_weights)(str(path))
        result[how] = {"version": keras.__version__, **layout(path, tensors)}
    return result


def main():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tf_keras

    posteriors = {name: build(keras, name).predict(frames(), verbose=0) for name in MULTIPLIERS}
    for name, values in posteriors.items():
        print(
            f"{name}: varies by {values.std(axis=0).mean():.3f} from frame to frame, "
            f"{values.min():.3f} to {values.max():.3f}"
        )
    np.savez_compressed(FOLDER / "keras_posteriors.npz", **posteriors)
    with tempfile.TemporaryDirectory() as folder:
        # tf_keras reports the version of tensorflow; it is Keras 2.
        written = {**layouts(keras, folder), **layouts(tf_keras, folder)}
    (FOLDER / "keras_layouts.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
