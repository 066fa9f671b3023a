"""From notes to sound: every stem by itself through TinySoundFont, then the artist's tone and room.

The soundfont is TimGM6mb by Tim Brechbill (GPL-2), the file that the wheel of pretty_midi carries; it is read
from there and nothing rendered with it is part of this package.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter

from audio_io.errors import FileError
from genre.corpus.compose import Artist, Part, Song

SOUNDFONT = "TimGM6mb.sf2"
_DRAIN = 2048  # samples in which voices that were stopped have faded
_PEAK = 0.9  # of the loudest of mixture and stems
_QUIETEST = 1e-5  # RMS below which a stem counts as silent
_LOW_HZ, _HIGH_HZ = 250.0, 2500.0
_DRUM_BANK = 128

Samples = NDArray[np.float64]


def find_soundfont() -> Path:
    """The soundfont in the installed pretty_midi; that package itself is not imported.

    Raises:
        FileError: If it is not there.
    """
    found = importlib.util.find_spec("pretty_midi")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = Path(folders[0] if folders else "pretty_midi", SOUNDFONT)
    if not path.is_file():
        raise FileError(path, "nothing", "the soundfont of pretty_midi 0.2.11 or later")
    return path


class Renderer:
    """Plays parts into arrays.

    Args:
        sample_rate: In Hz.

    Raises:
        FileError: If there is no soundfont.
    """

    def __init__(self, sample_rate: int) -> None:
        import tinysoundfont

        self.sample_rate = sample_rate
        self._synth = tinysoundfont.Synth(samplerate=sample_rate)
        self._font = self._synth.sfload(str(find_soundfont()))

    def song(self, song: Song, artist: Artist, samples: int, rng: np.random.Generator) -> NDArray[np.int16]:
        """The stems of a song in 16 bit, such that neither they nor their sum clip.

        Args:
            song: What is played.
            artist: How it sounds.
            samples: Length.
            rng: For the room.

        Shape:
            - output: `[4, samples]`
        """
        room = _room(artist, self.sample_rate, rng)
        stems = np.stack([self._stem(parts, artist, samples, room) for parts in song.parts])
        rms = np.sqrt(np.square(stems).mean(axis=1))
        gains = np.power(10, np.array(song.levels) / 20) / np.maximum(rms, _QUIETEST)
        stems *= np.where(rms > _QUIETEST, gains, 0.0)[:, None]
        peak = max(np.abs(stems).max(), np.abs(stems.sum(axis=0)).max(), 1e-9)
        return np.asarray(np.rint(stems * (_PEAK * 32767 / peak)), dtype=np.int16)

    def _stem(self, parts: tuple[Part, ...], artist: Artist, samples: int, room: Samples) -> Samples:
        dry = self.play(parts, samples)
        if not dry.any():
            return dry
        dry = _shelf(dry, _LOW_HZ, artist.low_shelf, self.sample_rate, low=True)
        dry = _shelf(dry, _HIGH_HZ, artist.high_shelf, self.sample_rate, low=False)
        return np.asarray(fftconvolve(dry, room)[:samples])

    def play(self, parts: tuple[Part, ...], samples: int) -> Samples:
        """Parts together, mono, without tone and room.

        Shape:
            - output: `[samples]`
        """
        synth = self._synth
        events: list[tuple[int, int, int, int, int]] = []  # sample, on, channel, key, velocity
        for channel, part in enumerate(parts):
            bank = _DRUM_BANK if part.is_kit else 0
            synth.program_select(channel, self._font, bank, part.program, part.is_kit)
            for note in part.notes:
                start = round(note.start * self.sample_rate)
                end = start + max(1, round(note.duration * self.sample_rate))
                events.append((start, 1, channel, note.key, note.velocity))
                events.append((end, 0, channel, note.key, 0))
        output = np.zeros(samples)
        place = 0
        # A note ends before the next of the same key begins.
        for time, on, channel, key, velocity in sorted(events):
            if time >= samples:
                break
            self._advance(output, place, time)
            place = time
            if on:
                synth.noteon(channel, key, velocity)
            else:
                synth.noteoff(channel, key)
        self._advance(output, place, samples)
        synth.sounds_off()
        synth.generate(_DRAIN)
        return output

    def _advance(self, output: Samples, start: int, end: int) -> None:
        if end > start:
            stereo = np.frombuffer(self._synth.generate(end - start), dtype=np.float32)
            output[start:end] = (stereo[::2] + stereo[1::2]) / 2


def _shelf(signal: Samples, cutoff: float, gain_db: float, sample_rate: int, *, low: bool) -> Samples:
    """A first-order shelf: the band below or above a one-pole filter's cutoff, scaled by a gain."""
    pole = np.exp(-2 * np.pi * cutoff / sample_rate)
    below = lfilter([1 - pole], [1, -pole], signal)
    band = below if low else signal - below
    return np.asarray(signal + (10 ** (gain_db / 20) - 1) * band)


def _room(artist: Artist, sample_rate: int, rng: np.random.Generator) -> Samples:
    """An impulse, and noise that decays: the statistical model of a room (Moorer 1979)."""
    time = np.arange(round(artist.room_seconds * sample_rate)) / sample_rate
    tail = rng.normal(size=time.size) * np.power(10, -3 * time / artist.room_seconds)
    tail *= 10 ** (artist.room_level / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return np.asarray(tail)
