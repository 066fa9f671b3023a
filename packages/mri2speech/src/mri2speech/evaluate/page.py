"""The page of an evaluation: the finding, a table, and utterances to listen to."""

import html
import math
from pathlib import Path

from mri2speech.config import MelConfig
from mri2speech.evaluate.runner import Result, summary
from mri2speech.pages import table_html, write_html
from mri2speech.vocoder.page import Sound, sound_html

_HEADS = {
    "voice": "voice",
    "f1_reader_rmse_hz": "F1 error, spectrum (Hz)",
    "f2_reader_rmse_hz": "F2 error, spectrum (Hz)",
    "f3_reader_rmse_hz": "F3 error, spectrum (Hz)",
    "f1_rmse_hz": "F1 error, peaks (Hz)",
    "f2_rmse_hz": "F2 error, peaks (Hz)",
    "f3_rmse_hz": "F3 error, peaks (Hz)",
    "mcd_db": "MCD (dB)",
    "mcd_dtw_db": "MCD, warped (dB)",
    "mel_all_db": "mel error (dB)",
    "mel_F0_db": "F0 band (dB)",
    "mel_F1_db": "F1 band (dB)",
    "mel_F2_db": "F2 band (dB)",
    "mel_F3_db": "F3 band (dB)",
    "mel_top_db": "top band (dB)",
    "f0_rmse_cents": "F0 error (cents)",
    "voicing_error": "voicing error",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "pesq": "PESQ",
    "real_time_factor": "real-time factor",
}
_VOICES = {
    "recording": "recording",
    "predicted": "read off the film",
    "copy": "the recording's mels through the vocoder",
    "griffin-lim": "read off the film, Griffin-Lim",
    "mean": "mean of the training",
}


def write_page(path: str | Path, result: Result, mel: MelConfig) -> None:
    """Write the page, one file with sounds and pictures in it.

    Args:
        path: Where to write.
        result: Of `runner.evaluate`.
        mel: Of the mels.
    """
    known = {name for row in result.means.values() for name in row}
    heads = {name: head for name, head in _HEADS.items() if name == "voice" or name in known}
    rows: list[list[str | float]] = []
    for voice, means in result.means.items():
        values = [means.get(name, math.nan) for name in heads if name != "voice"]
        rows.append([_VOICES[voice], *(value if math.isfinite(value) else "-" for value in values)])
    body = [f"<p>{html.escape(summary(result.means))}</p>", table_html(heads.values(), rows)]
    body += [f"<p>{html.escape(note)}</p>" for note in result.notes]
    body.append(
        "<p>Errors are means over the utterances (RMSE: roots of mean squares). Lines: F1, F2, F3.</p>"
    )
    for name, voices in result.shown.items():
        top = max(float(mels.max()) for _, mels, _ in voices.values())
        players = "\n".join(
            sound_html(Sound(_VOICES[voice], waveform, mels), top, mel, list(lines.T))
            for voice, (waveform, mels, lines) in voices.items()
        )
        body.append(f'<h2>{html.escape(name)}</h2>\n<div class="row">\n{players}\n</div>')
    write_html(path, "Speech from film, measured", body)
