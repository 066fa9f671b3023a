"""Heat maps of a film, from its file to files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from audio_io.atomic import write_json
from audio_io.errors import ConfigError
from mri2speech.acoustic import checkpoint
from mri2speech.gradcam.config import FORMANT_BANDS, FormantBand, GradcamConfig
from mri2speech.gradcam.maps import band_rows, enlarged, heat_maps
from mri2speech.gradcam.pictures import overlay, save_average, save_png, with_legend
from mri2speech.gradcam.sequences import save_sequence
from mri2speech.preprocess.config import PreprocessConfig
from mri2speech.preprocess.frames import load_frames, load_mask

ALPHA = 0.7


def explain_film(
    video: str | Path,
    mri_checkpoint: str | Path,
    output_dir: str | Path,
    bands: Sequence[FormantBand] = FORMANT_BANDS,
    *,
    scaler_json: str | Path | None = None,
    target_frames: Sequence[int] = (),
    config: GradcamConfig = GradcamConfig(),  # noqa: B008 - frozen
    preprocess: PreprocessConfig = PreprocessConfig(),  # noqa: B008 - frozen
    mask: str | Path | None = None,
    device: torch.device | None = None,
) -> list[Path]:
    """Write what the model looks at in a film, for each band.

    In the folder: `gradcam_<band>_sequence.npy` (the maps, `[T, 256, 256]`, a frame for each mel frame),
    `gradcam_<band>_average.png`, `gradcam_<band>_frame<number>.png` of the frames asked for, and
    `gradcam.json`, which says how they were made.

    Args:
        video: The film.
        mri_checkpoint: Of the acoustic model.
        output_dir: Where to write.
        bands: Whose energy is explained.
        scaler_json: A scaler instead of the checkpoint's own.
        target_frames: Frames of which overlays are drawn, from 0, a frame for each mel frame.
        config: How the maps are made.
        preprocess: How the film becomes frames; as for the training.
        mask: The speaker's mask, if the data set of the training had one.
        device: Where the model runs; the CPU if None.

    Returns:
        The files written.

    Raises:
        UserError: If a file or a setting cannot be used.
    """
    names = [band.name for band in bands]
    if not names or len(set(names)) < len(names):
        raise ConfigError("formant_band", " ".join(map(str, bands)) or "none", "bands of different names")
    model, scaler, mel = checkpoint.load(mri_checkpoint, scaler=scaler_json)
    rows = {band.name: torch.nonzero(band_rows(band, mel)).flatten().tolist() for band in bands}
    hidden = None if mask is None else load_mask(Path(mask), preprocess.image_size)
    frames, times = load_frames(video, preprocess, mel, hidden)
    wrong = next((number for number in target_frames if not 0 <= number < len(frames)), None)
    if wrong is not None:
        raise ConfigError("target_frames", wrong, f"frames from 0 to {len(frames) - 1}")
    target = device or torch.device("cpu")
    maps = heat_maps(model.to(target), torch.from_numpy(frames).to(target), bands, scaler, config)
    size = (frames.shape[1], frames.shape[2])
    heat = {name: enlarged(value, size, config.scale).numpy() for name, value in maps.items()}
    folder = Path(output_dir)
    written = []
    for number, (name, values) in enumerate(heat.items()):
        written += [folder / f"gradcam_{name}_sequence.npy", folder / f"gradcam_{name}_average.png"]
        save_sequence(written[-2], values.astype(config.dtype))
        save_average(written[-1], frames, heat, name)
        for index in target_frames:
            layers = np.zeros((len(heat), *size), dtype=np.float32)
            layers[number] = values[index]
            picture = with_legend(overlay(frames[index], layers, ALPHA), names)
            written.append(folder / f"gradcam_{name}_frame{index:04d}.png")
            save_png(written[-1], picture)
    about = {
        "video": Path(video).name,
        "checkpoint": Path(mri_checkpoint).name,
        "mask": None if mask is None else Path(mask).name,
        "settings": asdict(config),
        "bands": {band.name: {"hz": [band.low, band.high], "mel_bands": rows[band.name]} for band in bands},
        "map": list(next(iter(maps.values())).shape[1:]),
        "frame_rate": mel.frame_rate,
        "start_time": float(times[0]),
        "frames": len(frames),
    }
    written.append(folder / "gradcam.json")
    write_json(written[-1], about)
    return written
