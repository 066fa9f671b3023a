from .config import EvaluateConfig
from .datasets import load_dataset
from .examples import Example, Truth
from .generated import generated_set
from .metrics import PitchScores, Tally, score
from .network import NetworkScores, score_network
from .report import write_report
from .runner import Evaluation, FileResult, evaluate
from .world import resynthesize, resynthesized_set

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "Example",
    "FileResult",
    "NetworkScores",
    "PitchScores",
    "Tally",
    "Truth",
    "evaluate",
    "generated_set",
    "load_dataset",
    "resynthesize",
    "resynthesized_set",
    "score",
    "score_network",
    "write_report",
]
