from . import convert, decode, evaluate, filter, load, loudness, threshold
from .capacities import CAPACITIES, Capacity
from .compat import patch_torchcrepe, unpatch_torchcrepe
from .config import TrackConfig
from .core import (
    CENTS_PER_BIN,
    MAX_FMAX,
    PITCH_BINS,
    SAMPLE_RATE,
    UNVOICED,
    WINDOW_SIZE,
    embed,
    infer,
    periodicity,
    postprocess,
    predict,
    preprocess,
    resample,
)
from .fast import FastCrepe
from .file_api import (
    embed_from_file,
    embed_from_file_to_file,
    embed_from_files_to_files,
    predict_from_file,
    predict_from_file_to_file,
    predict_from_files_to_files,
)
from .model import Crepe
from .result import Summary, Track
from .stream import Frames, Stream
from .tracking import Tracker
from .weights import WeightsError, WeightsNotFoundError, load_model

__all__ = [
    "CAPACITIES",
    "CENTS_PER_BIN",
    "MAX_FMAX",
    "PITCH_BINS",
    "SAMPLE_RATE",
    "UNVOICED",
    "WINDOW_SIZE",
    "Capacity",
    "Crepe",
    "FastCrepe",
    "Frames",
    "Stream",
    "Summary",
    "Track",
    "TrackConfig",
    "Tracker",
    "WeightsError",
    "WeightsNotFoundError",
    "convert",
    "decode",
    "embed",
    "embed_from_file",
    "embed_from_file_to_file",
    "embed_from_files_to_files",
    "evaluate",
    "filter",
    "infer",
    "load",
    "load_model",
    "loudness",
    "patch_torchcrepe",
    "periodicity",
    "postprocess",
    "predict",
    "predict_from_file",
    "predict_from_file_to_file",
    "predict_from_files_to_files",
    "preprocess",
    "resample",
    "threshold",
    "unpatch_torchcrepe",
]
