import json
import subprocess
import sys

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from audio_io import info, load
from audio_io.errors import FileError
from mri2speech.cli import main
from mri2speech.config import MelConfig
from mri2speech.features import mel_db
from mri2speech.phantom import causal
from mri2speech.phantom.anatomy import reference_speaker, speaker
from mri2speech.phantom.config import PhantomConfig
from mri2speech.phantom.corpus import utterance
from mri2speech.phantom.gestures import Plan, compose, perform, sustained
from mri2speech.phantom.outline import ARTICULATORS, HIGHEST, LOWEST, trace
from mri2speech.phantom.phones import FORMANTS, PHONES
from mri2speech.phantom.render import Painter, noisy
from mri2speech.phantom.scene import Region
from mri2speech.phantom.tube import SOUND_SPEED, resonances
from mri2speech.phantom.writer import load_truth, plans, write_corpus
from mri2speech.video import open_video

RATE = MelConfig().frame_rate


def lpc_formants(waveform, rate, order=14):
    """The two lowest resonances by linear prediction, in Hz."""
    x = scipy.signal.lfilter([1, -0.97], [1], waveform) * np.hamming(len(waveform))
    roots = np.roots(librosa.lpc(x.astype(np.float64), order=order))
    roots = roots[np.imag(roots) > 0]
    hz = np.angle(roots) * rate / (2 * np.pi)
    width = -np.log(np.abs(roots)) * rate / np.pi
    return np.sort(hz[(width < 500) & (hz > 150)])[:2]


def test_a_uniform_tube_resonates_at_odd_quarter_waves():
    found = resonances(np.full((1, 40), 3.0), np.full((1, 40), 17.5 / 40), losses=False, radiation=False)
    np.testing.assert_allclose(found[0], SOUND_SPEED / (4 * 17.5) * np.array([1, 3, 5]), rtol=1e-6)


def test_two_tubes_resonate_where_their_admittances_cancel():
    # Closed and open end: tan(k l1) tan(k l2) = A2 / A1; Fant, "Acoustic theory of speech production", 1960.
    a1, a2, l1, l2 = 1.0, 7.0, 9.0, 8.0
    area = np.array([[a1] * 9 + [a2] * 8])
    for hz in resonances(area, np.ones((1, 17)), losses=False, radiation=False)[0]:
        k = 2 * np.pi * hz / SOUND_SPEED
        assert np.tan(k * l1) * np.tan(k * l2) == pytest.approx(a2 / a1, rel=1e-3)


@pytest.mark.parametrize("vowel", FORMANTS)
def test_vowels_are_where_peterson_and_barney_found_them(vowel):
    outline = perform(sustained(vowel, reference_speaker()), [0.5]).outline(reference_speaker())
    found = resonances(outline.area, outline.lengths)[0]
    np.testing.assert_allclose(found[:2], FORMANTS[vowel][:2], rtol=0.01)
    assert found[2] == pytest.approx(FORMANTS[vowel][2], rel=0.04)


@pytest.mark.parametrize("vowel", ["i", "ɑ", "u", "ɛ"])
def test_the_sound_has_the_resonances_of_the_tube(vowel):
    # A low voice, whose harmonics lie close enough to show the resonances between them.
    made = utterance(sustained(vowel, reference_speaker(), 1.0, f0=70.0), size=32)
    middle = made.waveform[4000:8000]
    found = lpc_formants(middle, made.sample_rate)
    truth = made.formants[len(made.formants) // 2, :2]
    assert np.abs(found - truth).max() < 60, (found, truth)


def test_the_pitch_stored_is_the_pitch_heard():
    made = utterance(sustained("ɑ", reference_speaker(), 1.0, f0=117.0), size=32)
    spectrum = np.abs(np.fft.rfft(made.waveform[2000:10000] * np.hanning(8000), 2**17))
    hz = np.arange(len(spectrum)) * made.sample_rate / 2**17
    # The tenth harmonic, so that a tenth of a per cent would show.
    near = (hz > 1170 * 0.97) & (hz < 1170 * 1.03)
    assert hz[near][spectrum[near].argmax()] / 10 == pytest.approx(117.0, rel=5e-3)
    assert made.f0[10] == pytest.approx(117.0)


def test_picture_and_sound_change_at_the_same_frame():
    # The tract jumps from /i/ to /ɑ/ within 90 ms about 0.6 s.
    plan = Plan("x", reference_speaker(), (("i", 0.6), ("ɑ", 0.6)), ((0.0, 120.0), (1.2, 120.0)))
    made = utterance(plan)
    assert len(made.frames) == mel_db(torch.from_numpy(made.waveform)).shape[-1] == len(made.formants)
    f1 = made.formants[:, 0]
    by_formant = int(np.argmin(np.abs(f1 - (f1[2] + f1[-3]) / 2)))
    frames = made.frames.astype(float)
    towards = ((frames - frames[2]) ** 2).mean((1, 2)) - ((frames - frames[-3]) ** 2).mean((1, 2))
    by_picture = int(np.argmin(np.abs(towards)))
    mel = mel_db(torch.from_numpy(made.waveform)).numpy()
    towards = ((mel - mel[:, [4]]) ** 2).mean(0) - ((mel - mel[:, [-5]]) ** 2).mean(0)
    by_sound = 4 + int(np.argmin(np.abs(towards[4:-4])))
    assert abs(by_picture - 0.6 * RATE) <= 1.5
    assert abs(by_sound - by_picture) <= 1
    assert abs(by_formant - by_picture) <= 2


def test_the_same_plan_gives_the_same_bytes_and_another_seed_does_not():
    plan = compose(speaker(3), 4)
    first, second = utterance(plan, size=64), utterance(plan, size=64)
    assert first.frames.tobytes() == second.frames.tobytes()
    assert first.waveform.tobytes() == second.waveform.tobytes()
    assert compose(speaker(3), 4, seed=1) != plan
    assert np.abs(first.waveform).max() == pytest.approx(plan.peak, rel=1e-6)


def test_closures_are_silent_and_nasals_are_not():
    def level(consonant):
        segments = (("ɑ", 0.3), (consonant, 0.14), ("ɑ", 0.3))
        plan = Plan("x", reference_speaker(), segments, ((0.0, 110.0), (1.0, 110.0)))
        x = utterance(plan, size=32).waveform
        at = int((0.3 + 0.05) * 11413)
        return 20 * np.log10(x[at : at + 500].std() / x[1500:3000].std())

    assert level("p") < -35
    assert -25 < level("m") < 0
    assert -40 < level("s") < 0


def test_silence_is_silent():
    made = utterance(sustained("_", reference_speaker(), 0.3), size=32)
    assert not made.waveform.any()
    assert len(made.waveform) == round(0.3 * 11413)


@pytest.mark.parametrize("vowel", FORMANTS)
def test_formants_move_as_smoothly_as_the_tongue(vowel):
    who = reference_speaker()
    outline = perform(sustained(vowel, who), [0.5]).outline(who)
    moves = np.arange(-3, 3.01, 0.05)
    for name in ("body_x", "body_y", "tip_x", "tip_y"):
        index = ARTICULATORS.index(name)
        values = np.repeat(outline.articulators, len(moves), axis=0)
        values[:, index] = np.clip(values[:, index] + moves, LOWEST[index], HIGHEST[index])
        moved = trace(who, values, groove=float(outline.groove[0]))
        jumps = np.abs(np.diff(resonances(moved.area, moved.lengths)[:, :2], axis=0))
        assert jumps.max() < 25, (name, jumps.max())


def test_noise_is_rician():
    quiet = noisy(np.zeros((8, 64, 64), np.float32), speaker(0), 1).astype(float) / 255
    sigma = speaker(0).noise
    # Rice without a signal is Rayleigh: its mean is sigma sqrt(pi / 2).
    assert quiet.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.05)
    bright = noisy(np.full((8, 64, 64), 0.6, np.float32), speaker(0), 1).astype(float) / 255
    assert bright.std() == pytest.approx(sigma, rel=0.05)
    assert bright.mean() == pytest.approx(np.sqrt(0.6**2 + sigma**2), rel=0.01)


def test_tissue_is_brighter_than_air_and_the_airway_is_what_the_tube_says():
    plan = sustained("ɑ", reference_speaker())
    painter = Painter(plan.speaker)
    outline = perform(plan, [0.5]).outline(plan.speaker)
    picture, organs = painter.anatomy(outline, 0), painter.regions(outline, 0)
    assert picture[organs == Region.TONGUE_BODY].mean() > 5 * picture[organs == Region.AIRWAY].mean()
    # Middle of the airway, line by line, is painted dark.
    middle = (outline.inner[0] + outline.outer[0]) / 2
    wide = np.linalg.norm(outline.outer[0] - outline.inner[0], axis=-1) > 6
    columns, rows = painter.pixels(middle[wide]).round().astype(int).T
    assert picture[rows, columns].max() < 0.2


@pytest.mark.parametrize(
    ("articulator", "organs"),
    [
        ("velum", {Region.VELUM, Region.AIRWAY}),
        ("lip_aperture", {Region.LIPS, Region.AIRWAY}),
        ("tip_y", {Region.TONGUE_TIP, Region.TONGUE_BODY, Region.AIRWAY}),
    ],
)
def test_an_articulator_moves_its_own_organ_alone(articulator, organs):
    plan = sustained("ɛ", reference_speaker())
    delta = causal.STEP[articulator]
    effect = causal.moved(plan, 5, articulator, delta, fps=RATE)
    assert effect.delta == pytest.approx(delta)
    before = causal.regions(plan, 5, fps=RATE)
    changed = np.abs(effect.image) > 0.2
    assert changed.any()
    # A pixel's width around the organ belongs to it: that is where it goes.
    near = scipy.ndimage.binary_dilation(np.isin(before, list(organs - {Region.AIRWAY})), iterations=5)
    assert near[changed].mean() > 0.9


def test_the_causal_map_weighs_movements_by_what_they_do_to_the_formant():
    effects = causal.sensitivity(sustained("i", reference_speaker()), 5, fps=RATE)
    assert {effect.articulator for effect in effects} == set(ARTICULATORS)
    expected = sum(np.abs(effect.image) * abs(effect.formants[1]) for effect in effects)
    np.testing.assert_allclose(causal.causal_map(effects, 1), expected, rtol=1e-5)
    # Moving the tongue's body forward raises F2 of /i/, rounding the lips lowers it.
    by_name = {effect.articulator: effect for effect in effects}
    assert by_name["body_x"].formants[1] * by_name["body_x"].delta > 0
    assert by_name["lip_protrusion"].formants[1] * by_name["lip_protrusion"].delta < 0


def test_targets_stay_within_the_range_of_the_articulators():
    for name, phone in PHONES.items():
        for articulator, value in phone.targets.items():
            index = ARTICULATORS.index(articulator)
            assert LOWEST[index] <= value <= HIGHEST[index], (name, articulator)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    config = PhantomConfig(speakers=2, utterances=1, size=64)
    return folder, config, write_corpus(folder, config)


def test_a_corpus_holds_the_very_pixels_and_samples(corpus):
    folder, config, ids = corpus
    plan = next(plans(config))
    made = utterance(plan, size=64)
    film = open_video(folder / "videos" / f"{ids[0]}.avi")
    frames = np.stack(list(film.frames()))
    np.testing.assert_array_equal(frames, made.frames)
    assert film.fps == pytest.approx(RATE, rel=1e-4)
    waveform, rate = load(folder / "audio" / f"{ids[0]}.wav")
    assert rate == 11413
    np.testing.assert_allclose(waveform[0].numpy(), made.waveform, atol=2**-15)
    assert info(folder / "audio" / f"{ids[0]}.wav").subtype == "PCM_16"
    truth = load_truth(folder / "truth" / f"{ids[0]}.npz")
    np.testing.assert_array_equal(truth["formants"], made.formants)
    assert "".join(truth["phones"])[:1] == "_"


def test_a_corpus_goes_on_where_it_was_and_is_not_mixed_with_another(corpus, tmp_path):
    folder, config, ids = corpus
    before = {path: path.stat().st_mtime_ns for path in (folder / "videos").iterdir()}
    again = [folder / "audio" / f"{ids[1]}.wav", folder / "truth" / f"{ids[1]}.npz"]
    contents = [path.read_bytes() for path in again]
    (folder / "truth" / f"{ids[1]}.npz").unlink()
    write_corpus(folder, config)
    after = {path: path.stat().st_mtime_ns for path in (folder / "videos").iterdir()}
    assert after[folder / "videos" / f"{ids[0]}.avi"] == before[folder / "videos" / f"{ids[0]}.avi"]
    assert [path.read_bytes() for path in again] == contents
    assert after[folder / "videos" / f"{ids[1]}.avi"] > before[folder / "videos" / f"{ids[1]}.avi"]
    with pytest.raises(FileError, match=r"found a corpus of the phantom of other settings"):
        write_corpus(folder, PhantomConfig(speakers=3, utterances=1, size=64))
    (tmp_path / "corpus.json").write_text("{")
    with pytest.raises(FileError, match=r"corpus.json: found no JSON, expected the settings of a corpus"):
        write_corpus(tmp_path, config)
    with pytest.raises(FileError, match=r"expected truth/<ID>.npz of a phantom"):
        load_truth(tmp_path / "corpus.json")
    whole = (folder / "truth" / f"{ids[0]}.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"half\.npz: found an array that cannot be read"):
        load_truth(tmp_path / "half.npz")


def test_the_command_and_its_picture(tmp_path, capsys):
    options = ["--speakers", "1", "--utterances", "1", "--size", "64", "--fps", "50"]
    assert main(["phantom", "-o", str(tmp_path / "p"), *options]) == 0
    assert "wrote 1 utterances of 1 speakers" in capsys.readouterr().out
    assert (tmp_path / "p" / "phantom.png").stat().st_size > 50_000
    film = open_video(tmp_path / "p" / "videos" / "s0_000.avi")
    assert film.fps == pytest.approx(50)
    assert json.loads((tmp_path / "p" / "corpus.json").read_text())["speakers"][0]["id"] == "s0"
    for option, value, sentence in (
        ("--size", "65", "size: found 65, expected an even number"),
        ("--fps", "inf", "fps: found inf, expected from 1.0 to 1000.0"),
        ("--workers", "0", "workers: found 0, expected at least 1"),
    ):
        assert main(["phantom", "-o", str(tmp_path / "q"), option, value]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


def test_help_of_the_command_needs_nothing_heavy():
    script = "import sys; from mri2speech.cli import main; main(['phantom', '--help'])"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", script], capture_output=True, text=True)
    assert "articulatory model" in done.stdout
    assert "numpy" not in done.stderr
