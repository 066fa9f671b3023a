"""Models on songs with known stems: every model on every song, in one process or several."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from audio_io.atomic import fingerprint, write_json
from audio_io.errors import ConfigError, FileError
from audio_io.progress import Progress
from separation_coreml.engines import Engine
from separation_coreml.evaluation import baselines
from separation_coreml.evaluation.config import EvaluateConfig
from separation_coreml.evaluation.scores import bss_eval, frame_sdr, sdr
from separation_coreml.evaluation.tracks import Loaded, Track
from separation_coreml.separate import separate
from separation_coreml.workers import spread

_WINDOW_SECONDS = 1.0
_RECORD_VERSION = 1  # raised when the same settings give other scores


@dataclass(frozen=True)
class Method:
    """Something that gives stems.

    Attributes:
        name: What the reports call it.
        load: Gives the engine; for several workers, a `functools.partial` of a function of a module. None for
            a baseline, which goes by its name.
        made_from: What its stems depend on, as text: only scores recorded for the same are taken over.
    """

    name: str
    load: Callable[[], Engine] | None = None
    made_from: str = ""


BASELINES = ("mixture / 4", "median filters", "ideal ratio mask")


@dataclass(frozen=True)
class Score:
    """One stem of one song by one method.

    Attributes:
        method: Its name.
        track: Name of the song.
        stem: Which.
        values: By the name of the ratio, in dB: `sdr` of the whole song, `frame_sdr`, and of `bss_eval`.
    """

    method: str
    track: str
    stem: str
    values: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """All scores, and of what.

    Attributes:
        title: What the songs are.
        methods: Names, in order; the others are compared with the first.
        tracks: Names of the songs.
        scores: One for each method, song and stem.
    """

    title: str
    methods: tuple[str, ...]
    tracks: tuple[str, ...]
    scores: list[Score] = field(default_factory=list)


def evaluate(
    methods: Sequence[Method],
    tracks: Sequence[Track],
    config: EvaluateConfig,
    *,
    title: str,
    records: str | Path | None = None,
    resume: bool = False,
) -> Evaluation:
    """Score methods on songs.

    Stems are compared at the rate of the model. Stems that a model gives and the songs do not have count as
    `other`; an `accompaniment` is compared with all but the vocals. Stems that only the songs have are left
    out.

    Args:
        methods: The first is the one that others are compared with.
        tracks: The songs.
        config: What to compute, and with how many processes.
        title: What the songs are.
        records: Folder for the scores of each model on each song, written as they are known.
        resume: Whether those that an earlier run has written there are taken over.

    Raises:
        UserError: If a model cannot be loaded or a song not be read.
    """
    if not methods:
        raise ConfigError("model", "none", "at least one")
    names = [*(method.name for method in methods), *(BASELINES if config.baselines else ())]
    if len(set(names)) != len(names):
        raise ConfigError("against", ", ".join(names), "models of different names")
    everything = [*methods, *(Method(name) for name in names[len(methods) :])]
    jobs = [
        _Job(place, track, _record(records, method, track, config))
        for place, method in enumerate(everything)
        for track in tracks
    ]
    scores: list[list[Score] | None] = [_read(job.record) if resume else None for job in jobs]
    waiting = [index for index, result in enumerate(scores) if result is None]
    with Progress("evaluate", len(jobs), "songs") as progress:
        progress.advance(len(jobs) - len(waiting))
        for index, result in _results(everything, [jobs[index] for index in waiting], config):
            scores[waiting[index]] = result
            progress.advance(1)
    ordered = [score for result in scores for score in result or ()]
    return Evaluation(title, tuple(names), tuple(track.name for track in tracks), ordered)


@dataclass(frozen=True)
class _Job:
    """The place of a method, a song, and where the scores are kept."""

    place: int
    track: Track
    record: Path | None


def _record(folder: str | Path | None, method: Method, track: Track, config: EvaluateConfig) -> Path | None:
    if folder is None:
        return None
    mark = fingerprint([_RECORD_VERSION, method.name, method.made_from, track.made_from, config.bss_eval])
    return Path(folder) / f"{mark}.json"


def _write(record: Path, scores: Sequence[Score]) -> None:
    # JSON knows neither NaN nor infinity.
    texts = [{**asdict(score), "values": {k: str(v) for k, v in score.values.items()}} for score in scores]
    write_json(record, texts)


def _read(record: Path | None) -> list[Score] | None:
    if record is None or not record.is_file():
        return None
    try:
        texts = json.loads(record.read_text(encoding="utf-8"))
        return [
            Score(**{**each, "values": {k: float(v) for k, v in each["values"].items()}}) for each in texts
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FileError(record, "no scores", "what `evaluate` has written; delete it") from error


class _Worker:
    """What a process holds: it loads a model when the first song for it comes."""

    methods: Sequence[Method] = ()
    with_filters: bool = False
    place: int | None = None
    engine: Engine | None = None

    @classmethod
    def start(cls, methods: Sequence[Method], *, with_filters: bool) -> None:
        cls.methods, cls.with_filters, cls.place, cls.engine = methods, with_filters, None, None

    @classmethod
    def score(cls, job: _Job) -> list[Score]:
        method = cls.methods[job.place]
        if job.place != cls.place:
            cls.engine = None  # two large models at a time may be too many
            cls.engine = None if method.load is None else method.load()
            cls.place = job.place
        scores = _score(method.name, cls.engine, job.track, with_filters=cls.with_filters)
        if job.record is not None:
            _write(job.record, scores)
        return scores


def _results(
    methods: Sequence[Method], jobs: Sequence[_Job], config: EvaluateConfig
) -> Iterator[tuple[int, list[Score]]]:
    start = functools.partial(_Worker.start, methods, with_filters=config.bss_eval)
    if min(config.workers, len(jobs)) > 1:
        yield from spread(_Worker.score, jobs, workers=config.workers, start=start)
        return
    start()
    for index, job in enumerate(jobs):
        yield index, _Worker.score(job)
    _Worker.engine = None


def _score(method: str, engine: Engine | None, track: Track, *, with_filters: bool) -> list[Score]:
    song = track.load()
    rate, estimates = _estimate(method, engine, song)
    references = song.at(rate)
    references, estimates = match(references, estimates)
    stems = list(estimates)
    truth = torch.stack([references[stem] for stem in stems])
    found = torch.stack([estimates[stem] for stem in stems])
    window = round(_WINDOW_SECONDS * rate)
    columns = {
        "sdr": [sdr(reference, estimate) for reference, estimate in zip(truth, found, strict=True)],
        "frame_sdr": frame_sdr(truth, found, window),
        **(bss_eval(truth, found, window) if with_filters else {}),
    }
    return [
        Score(method, track.name, stem, {name: values[index] for name, values in columns.items()})
        for index, stem in enumerate(stems)
    ]


def _estimate(method: str, engine: Engine | None, song: Loaded) -> tuple[int, dict[str, Tensor]]:
    rate = song.sample_rate
    if engine is not None:
        try:
            return engine.sample_rate, separate(song.mixture, rate, engine)
        except ConfigError as error:
            raise ConfigError(f"{method}: {error.field}", error.found, error.expected) from error
    if method == BASELINES[0]:
        return rate, baselines.mixture_share(song.mixture)
    if method == BASELINES[1]:
        return rate, baselines.median_filters(song.mixture, rate)
    return rate, baselines.ideal_mask(song.stems)


def match(
    references: dict[str, Tensor], estimates: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """References and estimates of the same stems and lengths; see `evaluate`.

    Raises:
        ConfigError: If they have no stem in common.
    """
    references, estimates = dict(references), dict(estimates)
    if "accompaniment" in estimates and "accompaniment" not in references and "vocals" in references:
        rest = [stem for name, stem in references.items() if name != "vocals"]
        references["accompaniment"] = torch.stack(rest).sum(dim=0)
    if "other" in estimates and "other" in references:
        for name in [name for name in estimates if name not in references]:
            estimates["other"] = estimates["other"] + estimates.pop(name)
    common = [name for name in estimates if name in references]
    if not common:
        found = f"{', '.join(estimates)} of the model and {', '.join(references)} of the songs"
        raise ConfigError("stems", found, "at least one in common")
    length = min(references[common[0]].shape[-1], estimates[common[0]].shape[-1])
    return (
        {name: references[name][..., :length] for name in common},
        {name: estimates[name][..., :length] for name in common},
    )
