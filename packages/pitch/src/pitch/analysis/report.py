"""The analysis of one recording: every note, and the song in a few numbers.

Field names carry their units and are the keys of the JSON file.

Reference:
    Pfordresher, Brown, Meier, Belyk, Liotti, "Imprecise singing is widespread", J. Acoust. Soc. Am. 128(4),
    2010 (accuracy is the mean of the deviations, precision their spread); Titze, "Quantifying tessitura in a
    song", J. Singing 65(1), 2008 (tessitura from the time spent at each pitch).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pitch.analysis.config import AnalysisConfig
from pitch.analysis.intonation import drift, estimate_tuning, nearest_degree
from pitch.analysis.vibrato import Vibrato, measure_vibrato
from pitch.notes import A4_HZ, A4_MIDI, NoteConfig, NoteEvent, frequency_to_midi, midi_name
from pitch.result import Track
from pitch.segmentation import segment_notes

Floats = npt.NDArray[np.float64]

SCHEMA = "pitch.analysis.v1"
SETTLED_CENTS = 30.0  # within which of its pitch a note has arrived
LONGEST_ATTACK = 0.4  # of the note
RELEASE_SECONDS = 0.05  # at the end of a note, which belongs to the next one or to silence
DRIFT_NOTES, DRIFT_SECONDS = 4, 20.0  # less says nothing about a drift
TESSITURA = (10, 90)  # percentiles of the sung time


@dataclass(frozen=True)
class NoteVibrato:
    """Vibrato of a note.

    Attributes:
        rate_hz: Mean rate.
        extent_cents: Mean of half the distance from peak to peak, once it is full. CREPE averages over its
            window of 64 ms: of a vibrato of ±45 cents at 5.5 Hz it shows 80 to 95 %.
        regularity: 1 less the coefficient of variation of the rate; 1 is a clockwork.
        rate_sd_hz: Standard deviation of the rate within the note.
        extent_sd_cents: Standard deviation of the extent within the note.
        onset_delay_s: From the note's onset to where the vibrato begins.
    """

    rate_hz: float
    extent_cents: float
    regularity: float
    rate_sd_hz: float
    extent_sd_cents: float
    onset_delay_s: float


@dataclass(frozen=True)
class NoteReport:
    """What a note was like.

    Attributes:
        onset_s: Where it begins.
        offset_s: Where it ends.
        name: The note that was meant: the nearest of the scale.
        target_midi: Its MIDI note number.
        pitch_hz: Median pitch without vibrato, attack and release.
        pitch_midi: The same as fractional MIDI note number in the tuning of the song.
        deviation_cents: `pitch_hz` against `target_midi`; above 0 is sharp.
        attack_s: From the onset until the pitch comes within 30 cents of `pitch_hz`.
        attack_cents: Pitch of the first 30 ms against `pitch_hz`: below 0 the note is reached from below.
        stability_cents: Standard deviation of the pitch without vibrato, attack and release.
        vibrato: None if there is none, or the note holds less than two cycles of it.
        confidence: Mean confidence of the tracker, from 0 to 1.
    """

    onset_s: float
    offset_s: float
    name: str
    target_midi: int
    pitch_hz: float
    pitch_midi: float
    deviation_cents: float
    attack_s: float
    attack_cents: float
    stability_cents: float
    vibrato: NoteVibrato | None
    confidence: float


@dataclass(frozen=True)
class SongReport:
    """The song in a few numbers; those of notes are None where there is no note to take them from.

    Attributes:
        duration_s: Of the recording.
        sung_s: Total length of the notes.
        notes: Number of notes.
        tuning_hz: A4 that the deviations refer to.
        tuning_is_estimated: Whether it was taken from the notes (known up to whole semitones).
        tuning_cents: `tuning_hz` against 440 Hz.
        accuracy_cents: Mean deviation of the notes, each counted by its length; above 0 is sharp.
        precision_cents: Standard deviation of it.
        absolute_deviation_cents: Mean of the deviations without their signs.
        in_tune_share: Share of the sung time whose note is within the tolerance, from 0 to 1.
        tolerance_cents: That tolerance.
        drift_cents_per_min: Median slope of the deviations over time; None below four notes or 20 s.
        stability_cents: Median over the notes.
        attack_s: Median over the notes.
        attack_cents: Median over the notes.
        vibrato_share: Share of the sung time whose note has a measurable vibrato.
        vibrato_rate_hz: Mean over the notes with vibrato.
        vibrato_extent_cents: The same; half the distance from peak to peak.
        vibrato_regularity: The same.
        vibrato_onset_delay_s: The same.
        lowest_hz: Pitch of the lowest note.
        lowest_name: The note meant.
        highest_hz: Pitch of the highest note.
        highest_name: The note meant.
        range_semitones: From the lowest to the highest note.
        tessitura_low_hz: A tenth of the sung time is below it.
        tessitura_high_hz: A tenth of the sung time is above it.
    """

    duration_s: float
    sung_s: float
    notes: int
    tuning_hz: float
    tuning_is_estimated: bool
    tuning_cents: float
    accuracy_cents: float | None
    precision_cents: float | None
    absolute_deviation_cents: float | None
    in_tune_share: float | None
    tolerance_cents: float
    drift_cents_per_min: float | None
    stability_cents: float | None
    attack_s: float | None
    attack_cents: float | None
    vibrato_share: float | None
    vibrato_rate_hz: float | None
    vibrato_extent_cents: float | None
    vibrato_regularity: float | None
    vibrato_onset_delay_s: float | None
    lowest_hz: float | None
    lowest_name: str | None
    highest_hz: float | None
    highest_name: str | None
    range_semitones: float | None
    tessitura_low_hz: float | None
    tessitura_high_hz: float | None

    def lines(self) -> list[str]:
        """The numbers for people to read."""
        source = "estimated" if self.tuning_is_estimated else "given"
        if self.accuracy_cents is None or self.absolute_deviation_cents is None:
            return ["notes       none found"]
        lines = [
            f"notes       {self.notes} in {self.sung_s:.1f} s, {self.lowest_name} to {self.highest_name} "
            f"({self.range_semitones:.1f} semitones)",
            f"tuning      A4 = {self.tuning_hz:.1f} Hz ({source})",
            f"intonation  {self.absolute_deviation_cents:.0f} cents off in the mean "
            f"({self.accuracy_cents:+.0f} signed, spread {self.precision_cents:.0f}); "
            f"{self.in_tune_share:.0%} of the time within {self.tolerance_cents:g}",
            f"stability   {self.stability_cents:.0f} cents within a note"
            + (
                ""
                if self.drift_cents_per_min is None
                else f", drift {self.drift_cents_per_min:+.1f} cents/min"
            ),
        ]
        if self.vibrato_rate_hz is None:
            return [*lines, "vibrato     none found"]
        vibrato = f"{self.vibrato_rate_hz:.2f} Hz, ±{self.vibrato_extent_cents:.0f} cents, "
        return [
            *lines,
            f"vibrato     {vibrato}{self.vibrato_onset_delay_s:.2f} s after the onset, in "
            f"{self.vibrato_share:.0%} of the sung time",
        ]


@dataclass(frozen=True)
class Analysis:
    """The analysis of one recording.

    Attributes:
        song: In a few numbers.
        notes: Every note, in order.
        config: What the intonation was measured against.
    """

    song: SongReport
    notes: tuple[NoteReport, ...]
    config: AnalysisConfig

    def finding(self) -> str:
        """The result in half a sentence."""
        song = self.song
        if song.absolute_deviation_cents is None:
            return "no note found"
        vibrato = "" if song.vibrato_rate_hz is None else f", vibrato of {song.vibrato_rate_hz:.1f} Hz"
        return f"{song.notes} notes, {song.absolute_deviation_cents:.0f} cents off in the mean{vibrato}"

    def to_json(self, recording: str) -> dict[str, Any]:
        """The content of the JSON file: `schema`, `recording`, `settings`, `song` and `notes`."""
        return {
            "schema": SCHEMA,
            "recording": recording,
            "settings": dataclasses.asdict(self.config),
            "song": dataclasses.asdict(self.song),
            "notes": [dataclasses.asdict(note) for note in self.notes],
        }


@dataclass(frozen=True)
class _Measured:
    """A note before the tuning of the song is known."""

    event: NoteEvent
    pitch_hz: float
    attack: float
    attack_cents: float
    stability: float
    vibrato: NoteVibrato | None


def analyze_track(
    track: Track, config: AnalysisConfig | None = None, notes: NoteConfig | None = None
) -> Analysis:
    """Analyse the singing that a track is of.

    Args:
        track: The pitch of a recording of one voice.
        config: What to measure the intonation against.
        notes: How to cut the track into notes.
    """
    config = config if config is not None else AnalysisConfig()
    measured = [_measure(event, track) for event in segment_notes(track, notes)]
    tuning = config.tuning
    if tuning is None:
        midi = [frequency_to_midi(note.pitch_hz) for note in measured]
        tuning = estimate_tuning(midi, [note.event.duration for note in measured])
    reports = tuple(_report(note, tuning, config) for note in measured)
    return Analysis(_song(track, reports, tuning, config), reports, config)


def _measure(event: NoteEvent, track: Track) -> _Measured:
    times = track.times
    frames = np.flatnonzero((times >= event.onset) & (times <= event.offset) & track.voiced)
    time = times[frames]
    cents = 1200 * np.log2(track.frequency[frames].astype(np.float64) / event.frequency)
    centre, first = 0.0, -1
    vibrato: Vibrato | None = None
    rest = cents
    # Where the attack ends depends on the pitch of the note, which is that of what follows the attack.
    for _ in range(2):
        arrived = np.abs(cents - centre) <= SETTLED_CENTS
        before, first = first, min(int(np.argmax(arrived)), int(LONGEST_ATTACK * len(cents)))
        if first == before:
            break
        vibrato, rest = measure_vibrato(time[first:], cents[first:])
        held = time[first:] < event.offset - RELEASE_SECONDS
        rest = rest[held] if held.sum() >= 3 else rest
        centre = float(np.median(rest))
    start = cents[: max(1, round(0.03 / track.hop_seconds))]
    delay = float(time[first]) - event.onset
    return _Measured(
        event=event,
        pitch_hz=event.frequency * 2 ** (centre / 1200),
        attack=max(0.0, delay) if first else 0.0,
        attack_cents=float(np.mean(start)) - centre,
        stability=float(np.std(rest)),
        vibrato=None
        if vibrato is None
        else NoteVibrato(
            rate_hz=vibrato.rate,
            extent_cents=vibrato.extent,
            regularity=vibrato.regularity,
            rate_sd_hz=vibrato.rate_deviation,
            extent_sd_cents=vibrato.extent_deviation,
            onset_delay_s=max(0.0, vibrato.onset + delay),
        ),
    )


def _report(note: _Measured, tuning: float, config: AnalysisConfig) -> NoteReport:
    midi = A4_MIDI + 12 * float(np.log2(note.pitch_hz / tuning))
    target = nearest_degree(midi, config.degrees)
    return NoteReport(
        onset_s=note.event.onset,
        offset_s=note.event.offset,
        name=midi_name(target),
        target_midi=target,
        pitch_hz=note.pitch_hz,
        pitch_midi=midi,
        deviation_cents=100 * (midi - target),
        attack_s=note.attack,
        attack_cents=note.attack_cents,
        stability_cents=note.stability,
        vibrato=note.vibrato,
        confidence=note.event.confidence,
    )


def _song(track: Track, notes: tuple[NoteReport, ...], tuning: float, config: AnalysisConfig) -> SongReport:
    lengths = np.array([note.offset_s - note.onset_s for note in notes])
    deviations = np.array([note.deviation_cents for note in notes])
    vibratos = [note.vibrato for note in notes if note.vibrato is not None]
    total = float(lengths.sum())

    def over_time(values: npt.ArrayLike) -> float | None:
        return float(np.sum(lengths * np.asarray(values, dtype=np.float64)) / total) if notes else None

    def median(values: list[float]) -> float | None:
        return float(np.median(values)) if values else None

    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    accuracy = over_time(deviations)
    variance = None if accuracy is None else over_time((deviations - accuracy) ** 2)
    lowest = min(notes, key=lambda note: note.pitch_hz, default=None)
    highest = max(notes, key=lambda note: note.pitch_hz, default=None)
    sung = track.frequency[track.voiced]
    low, high = (float(np.percentile(sung, q)) if len(sung) else None for q in TESSITURA)
    return SongReport(
        duration_s=track.duration,
        sung_s=total,
        notes=len(notes),
        tuning_hz=tuning,
        tuning_is_estimated=config.tuning is None,
        tuning_cents=1200 * float(np.log2(tuning / A4_HZ)),
        accuracy_cents=accuracy,
        precision_cents=None if variance is None else float(np.sqrt(variance)),
        absolute_deviation_cents=over_time(np.abs(deviations)),
        in_tune_share=over_time(np.abs(deviations) <= config.tolerance),
        tolerance_cents=config.tolerance,
        drift_cents_per_min=drift([note.onset_s for note in notes], deviations)
        if len(notes) >= DRIFT_NOTES and notes[-1].onset_s - notes[0].onset_s >= DRIFT_SECONDS
        else None,
        stability_cents=median([note.stability_cents for note in notes]),
        attack_s=median([note.attack_s for note in notes]),
        attack_cents=median([note.attack_cents for note in notes]),
        vibrato_share=over_time([note.vibrato is not None for note in notes]),
        vibrato_rate_hz=mean([vibrato.rate_hz for vibrato in vibratos]),
        vibrato_extent_cents=mean([vibrato.extent_cents for vibrato in vibratos]),
        vibrato_regularity=mean([vibrato.regularity for vibrato in vibratos]),
        vibrato_onset_delay_s=mean([vibrato.onset_delay_s for vibrato in vibratos]),
        lowest_hz=lowest.pitch_hz if lowest else None,
        lowest_name=lowest.name if lowest else None,
        highest_hz=highest.pitch_hz if highest else None,
        highest_name=highest.name if highest else None,
        range_semitones=12 * float(np.log2(highest.pitch_hz / lowest.pitch_hz))
        if lowest and highest
        else None,
        tessitura_low_hz=low,
        tessitura_high_hz=high,
    )
