"""How good a pitch track is."""

from pitch.evaluate.metrics import PitchScores, score

__all__ = ["PitchScores", "score"]
