from .examples import Example, Truth
from .generated import generated_set
from .metrics import PitchScores, Tally, score
from .network import NetworkScores, score_network

__all__ = [
    "Example",
    "NetworkScores",
    "PitchScores",
    "Tally",
    "Truth",
    "generated_set",
    "score",
    "score_network",
]
