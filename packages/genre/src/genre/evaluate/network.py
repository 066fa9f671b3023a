"""What a trained network says about whole tracks, and its temperature."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audio_io.progress import Progress
from genre import checkpoint as checkpoints
from genre.checkpoint import Checkpoint
from genre.dataset import Stems
from genre.evaluate.calibration import Floats, fit_temperature
from genre.layouts import Track
from genre.predict import Predictor
from genre.run_config import PredictConfig


def track_logits(
    checkpoint: Checkpoint,
    tracks: Sequence[Track],
    stems: Stems,
    *,
    config: PredictConfig | None = None,
    device: str = "auto",
) -> list[Floats]:
    """Logits of the windows of tracks, up to a constant for each window.

    Args:
        checkpoint: The network; its temperature has no part in the result.
        tracks: What to predict.
        stems: Where their stems are.
        config: Windows.
        device: See `audio_io.cli.pick_device`.

    Shape:
        - output: `[W, C]` for each track
    """
    predictor = Predictor(replace(checkpoint, temperature=1.0), config, device=device)
    found = []
    with Progress("predict", len(tracks), "tracks") as progress:
        for track in tracks:
            shares = predictor.predict(track, stems).windows.astype(np.float64)
            # The logarithm of a softmax is its logits up to a constant.
            found.append(np.log(np.maximum(shares, np.finfo(np.float32).tiny)))
            progress.advance(1)
    return found


def calibrate(path: str | Path, tracks: Sequence[Track], stems: Stems, *, device: str = "auto") -> float:
    """Fit the temperature of a checkpoint and store it in the file.

    Args:
        path: The checkpoint.
        tracks: With labels, and not among those that it was trained on.
        stems: Where their stems are.
        device: See `audio_io.cli.pick_device`.

    Returns:
        The temperature.

    Raises:
        FileError: If it is no checkpoint.
    """
    checkpoint = checkpoints.load(path)
    logits = track_logits(checkpoint, tracks, stems, device=device)
    truth = np.array([checkpoint.labels.index(track.label or "") for track in tracks])
    temperature = fit_temperature(logits, truth)
    checkpoints.save(path, replace(checkpoint, temperature=temperature))
    return temperature
