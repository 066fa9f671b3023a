"""Writes tests/goldens/spleeter: small Spleeter models as TensorFlow computes and saves them.

    pip install tensorflow-cpu && python packages/separation_coreml/tests/goldens/make_spleeter_goldens.py

The pipeline is put together here from TensorFlow's own layers and `tf.signal`, after the published code of
Spleeter, with few filters. TensorFlow is not a dependency of the package, so the results are checked in.
"""

import argparse
from pathlib import Path

import numpy as np
import tensorflow as tf

FILTERS = (2, 2, 4, 4, 6, 8)
N_FFT, HOP_LENGTH, FRAMES, BINS = 4096, 1024, 512, 1024
SAMPLES = 5000
GOLDENS = Path(__file__).parent / "spleeter"


def unet(elu: bool) -> tuple[tf.keras.Model, dict[str, list[tf.keras.layers.Layer]]]:
    """The logits of one stem, and its layers by kind in the order of creation."""
    layers: dict[str, list[tf.keras.layers.Layer]] = {
        "conv2d": [],
        "conv2d_transpose": [],
        "batch_normalization": [],
    }

    def made(kind: str, layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        layers[kind].append(layer)
        return layer

    def norm(x: tf.Tensor) -> tf.Tensor:
        return made("batch_normalization", tf.keras.layers.BatchNormalization(epsilon=1e-3))(x)

    def down(x: tf.Tensor) -> tf.Tensor:
        return tf.keras.layers.ELU()(x) if elu else tf.keras.layers.LeakyReLU(negative_slope=0.2)(x)

    def up(x: tf.Tensor) -> tf.Tensor:
        return tf.keras.layers.ELU()(x) if elu else tf.keras.layers.ReLU()(x)

    magnitude = x = tf.keras.Input((FRAMES, BINS, 2))
    skipped = []
    for width in FILTERS:
        x = made("conv2d", tf.keras.layers.Conv2D(width, 5, strides=2, padding="same"))(x)
        skipped.append(x)
        deepest = x
        x = down(norm(x))
    x = deepest
    skipped.pop()
    for width in (*FILTERS[-2::-1], 1):
        layer = tf.keras.layers.Conv2DTranspose(width, 5, strides=2, padding="same")
        x = norm(up(made("conv2d_transpose", layer)(x)))
        if skipped:
            x = tf.keras.layers.Concatenate()([skipped.pop(), x])
    x = made("conv2d", tf.keras.layers.Conv2D(2, 4, dilation_rate=2, padding="same"))(x)
    return tf.keras.Model(magnitude, x), layers


def separate(waveform: np.ndarray, models: list[tf.keras.Model], softmax: bool) -> np.ndarray:
    """Stems `[stems, channels, samples]` of `[channels, samples]`."""
    front = np.pad(waveform, ((0, 0), (N_FFT, 0)))
    spectrum = tf.signal.stft(front, N_FFT, HOP_LENGTH, pad_end=True)  # [C, frames, F]
    frames = spectrum.shape[1]
    magnitude = tf.pad(tf.abs(spectrum), ((0, 0), (0, -frames % FRAMES), (0, 0)))[:, :, :BINS]
    batch = tf.transpose(magnitude, (1, 2, 0))[None]  # [1, frames, bins, C]
    logits = tf.stack([model(batch, training=False) for model in models])
    shares = tf.nn.softmax(logits, axis=0) if softmax else tf.sigmoid(logits)
    powers = (shares * batch) ** 2
    masks = (powers + 1e-10 / len(models)) / (tf.reduce_sum(powers, axis=0) + 1e-10)
    masks = tf.transpose(masks[:, 0, :frames], (0, 3, 1, 2))  # [stems, C, frames, bins]
    masks = tf.pad(masks, ((0, 0), (0, 0), (0, 0), (0, N_FFT // 2 + 1 - BINS)))
    stems = tf.signal.inverse_stft(
        tf.cast(masks, tf.complex64) * spectrum,
        N_FFT,
        HOP_LENGTH,
        window_fn=lambda length, dtype: tf.signal.hann_window(length, periodic=True, dtype=dtype),
    )
    return (stems * 2 / 3).numpy()[..., N_FFT : N_FFT + waveform.shape[1]]


def save(prefix: Path, layers: dict[str, list[tf.keras.layers.Layer]]) -> None:
    """The variables under the names that Keras gives them in a graph of version 1."""
    named: dict[str, tf.Tensor] = {"global_step": tf.constant(7, tf.int64)}
    for kind, members in layers.items():
        for index, layer in enumerate(members):
            for variable in layer.weights:
                name = kind if index == 0 else f"{kind}_{index}"
                named[f"{name}/{variable.name}"] = tf.convert_to_tensor(variable)
    part = f"{prefix}.part"
    tf.raw_ops.SaveV2(
        prefix=part,
        tensor_names=list(named),
        shape_and_slices=[""] * len(named),
        tensors=list(named.values()),
    )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[part], destination_prefix=str(prefix))


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    rng = np.random.default_rng(0)
    waveform = (0.1 * rng.standard_normal((2, SAMPLES))).astype(np.float32)
    for name, stems, elu, softmax in (("2stems", 2, False, False), ("5stems", 5, True, True)):
        tf.keras.utils.set_random_seed(1)
        models, layers = [], {"conv2d": [], "conv2d_transpose": [], "batch_normalization": []}
        for _ in range(stems):
            model, made = unet(elu)
            models.append(model)
            for kind, members in made.items():
                layers[kind].extend(members)
                for layer in members:
                    shapes = [weight.shape for weight in layer.get_weights()]
                    low, high = (0.5, 1.5) if kind == "batch_normalization" else (-0.5, 0.5)
                    layer.set_weights([rng.uniform(low, high, shape) for shape in shapes])
        folder = GOLDENS / name
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / "model", layers)
        np.savez(folder / "reference.npz", waveform=waveform, stems=separate(waveform, models, softmax))


if __name__ == "__main__":
    main()
