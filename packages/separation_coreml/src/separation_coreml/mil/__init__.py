"""Core ML programs without Core ML: a reader of `.mlpackage` and an interpreter with torch.

>>> from separation_coreml.mil import load_program
>>> program = load_program("model.mlpackage")  # doctest: +SKIP
>>> program.run(waveform=torch.zeros(1, 2, 44100))  # doctest: +SKIP
"""

from separation_coreml.mil.program import Feature, Program, load_program

__all__ = ["Feature", "Program", "load_program"]
