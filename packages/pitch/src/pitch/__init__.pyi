from . import convert, decode, evaluate, filter, load, loudness, threshold
from .analysis.config import AnalysisConfig
from .analysis.report import Analysis, analyze_track
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
from .diagnosis import Check, diagnose
from .export.config import ExportConfig
from .export.job import Exported, ParityError, export_model
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
from .notes import NoteConfig, NoteEvent
from .result import Summary, Track
from .segmentation import segment_notes
from .stream import Frames, Stream
from .structure import ModelFile, inspect_file
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
    "Analysis",
    "AnalysisConfig",
    "Capacity",
    "Check",
    "Crepe",
    "ExportConfig",
    "Exported",
    "FastCrepe",
    "Frames",
    "ModelFile",
    "NoteConfig",
    "NoteEvent",
    "ParityError",
    "Stream",
    "Summary",
    "Track",
    "TrackConfig",
    "Tracker",
    "WeightsError",
    "WeightsNotFoundError",
    "analyze_track",
    "convert",
    "decode",
    "diagnose",
    "embed",
    "embed_from_file",
    "embed_from_file_to_file",
    "embed_from_files_to_files",
    "evaluate",
    "export_model",
    "filter",
    "infer",
    "inspect_file",
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
    "segment_notes",
    "threshold",
    "unpatch_torchcrepe",
]
