"""Predictions of a contest's test tracks, in the order and the form of its example."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from audio_io.atomic import write_text
from audio_io.errors import ConfigError
from audio_io.progress import Progress
from genre.labels import read_table
from genre.layouts import Corpus, composed
from genre.predict import Predictor
from genre.stem_cache import StemCache


@dataclass(frozen=True)
class Submission:
    """What was written.

    Attributes:
        rows: Of the file.
        predicted: How many of them have the network's answer; the others have that of the example.
        problems: A sentence for each row that has not.
    """

    rows: int
    predicted: int
    problems: tuple[str, ...]


def submit(predictor: Predictor, corpus: Corpus, target: str | Path, *, jobs: int = 1) -> Submission:
    """Write the file to hand in: no header, a row `file,label id` for each row of `sample_submit`.

    A test track that is missing or cannot be used gets the id that the example has for it, since the file
    has to be complete.

    Args:
        predictor: What predicts; its separation says where stems are kept.
        corpus: In the layout of the contest.
        target: The file to write.
        jobs: Processes that separate side by side.

    Returns:
        What was written.

    Raises:
        ConfigError: If the corpus has no test tracks, or the network knows other genres.
        OSError: If the file cannot be written; it carries its name.
    """
    if corpus.sample_submit is None or not corpus.test:
        found = "no sample_submit" if corpus.sample_submit is None else "no test track"
        raise ConfigError("submit", f"{corpus.root} with {found}", "a corpus in the layout of the contest")
    ids = dict(zip(corpus.labels, corpus.label_ids, strict=True))
    if unknown := [label for label in predictor.checkpoint.labels if label not in ids]:
        raise ConfigError("submit", f"a network that knows {unknown[0]!r}", f"the genres {', '.join(ids)}")
    cache = StemCache(predictor.separation, predictor.checkpoint.features)
    summary = cache.fill(corpus.test, device=str(predictor.device), jobs=jobs)
    predicted: dict[str, str] = {}
    with Progress("predict", len(summary.ready), "tracks") as progress:
        for track in summary.ready:
            predicted[composed(track.path.name)] = ids[predictor.predict(track, cache).label]
            progress.advance(1)
    faults = {composed(Path(fault.path).name): fault.problem for fault in summary.faults}
    problems = []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = read_table(corpus.sample_submit, ("file_name", "label_id"), has_header=False)
    for row in rows:
        name = composed(row["file_name"])
        if name not in predicted:
            problems.append(faults.get(name, f"{row['file_name']}: no such file in test_sound_*"))
        writer.writerow((row["file_name"], predicted.get(name, row["label_id"])))
    write_text(target, text.getvalue())
    return Submission(len(rows), len(rows) - len(problems), tuple(problems))
