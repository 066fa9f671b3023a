from . import convert, decode, evaluate
from .capacities import CAPACITIES, Capacity
from .config import TrackConfig
from .core import (
    CENTS_PER_BIN,
    MAX_FMAX,
    PITCH_BINS,
    SAMPLE_RATE,
    UNVOICED,
    WINDOW_SIZE,
    infer,
    periodicity,
    postprocess,
    predict,
    preprocess,
    resample,
)
from .fast import FastCrepe
from .model import Crepe
from .result import Summary, Track
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
    "Summary",
    "Track",
    "TrackConfig",
    "Tracker",
    "WeightsError",
    "WeightsNotFoundError",
    "convert",
    "decode",
    "evaluate",
    "infer",
    "load_model",
    "periodicity",
    "postprocess",
    "predict",
    "preprocess",
    "resample",
]
