"""Prints what museval says of the signals of `test_frame_sdr_is_that_of_museval` (tests/test_evaluate.py).

    pip install museval          # and ffmpeg, which it looks for as it is imported
    python packages/separation_coreml/tests/goldens/make_museval_goldens.py

The signals are integers from a linear congruential generator, so that both sides have the same.
"""

import museval
import numpy as np

WINDOW, LENGTH = 1000, 6500


def noise(seed: int, *shape: int) -> np.ndarray:
    state, values = seed, []
    for _ in range(int(np.prod(shape))):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state / 2**32 - 0.5)
    return np.array(values).reshape(shape)


def main() -> None:
    stems = noise(1, 3, 2, LENGTH)
    estimates = stems + 0.3 * noise(2, 3, 2, LENGTH) * np.linspace(0.1, 2, LENGTH)
    stems[0, :, 2 * WINDOW : 3 * WINDOW] = 0
    estimates[1, :, 4 * WINDOW : 5 * WINDOW] = 0
    # [stems, T, channels]
    sdr, _, _, _, _ = museval.metrics.bss_eval(
        stems.transpose(0, 2, 1), estimates.transpose(0, 2, 1), window=WINDOW, hop=WINDOW
    )
    print(np.isnan(sdr).any(axis=0))
    print(np.nanmedian(sdr, axis=1).tolist())


if __name__ == "__main__":
    main()
