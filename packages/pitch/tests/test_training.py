"""Pruning, distillation and fine-tuning, on the smallest capacity and few steps."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from audio_io.errors import ConfigError
from pitch.cli import main
from pitch.evaluate import load_dataset
from pitch.fast import FastCrepe
from pitch.model import Crepe
from pitch.training.config import DistillConfig, FinetuneConfig, FitConfig, PruneConfig
from pitch.training.distill import Reused, distill
from pitch.training.finetune import finetune, pitch_targets
from pitch.training.fit import rate_factor, steps_done
from pitch.training.labelled import LabelledFrames, measuring_frames
from pitch.training.material import harmonic_frames, noise_frames
from pitch.training.prune import column_subset, prune, reestimate_batch_norm
from pitch.training.recordings import Recordings
from pitch.training.spectral import SpectralCrepe
from pitch.weights import load_model, save_weights


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return measuring_frames(96, seed=0)


def test_the_spectral_network_has_the_plain_one_s_values_and_gradients(frames: Tensor) -> None:
    network = load_model("tiny").requires_grad_(True)
    # Some scales of each sign, which decide whether a maximum or a minimum is pooled.
    with torch.no_grad():
        network.get_submodule("conv3_BN").weight[::3] *= -1  # type: ignore[operator, index]
    parameters = [p for name, p in network.named_parameters() if "conv1" not in name]
    targets = torch.rand(16, 360)
    results = []
    for logits in (network.logits(frames[:16]), SpectralCrepe(network)(frames[:16])):
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        results.append((logits, torch.autograd.grad(loss, parameters)))
    (plain, plain_gradients), (spectral, spectral_gradients) = results
    assert torch.allclose(plain, spectral, atol=1e-4)
    for a, b in zip(plain_gradients, spectral_gradients, strict=True):
        assert float((a - b).norm()) <= 1e-4 * float(a.norm())


def _doubled(network: Crepe) -> Crepe:
    """`tiny` as a `small` in which every channel is there twice, each copy taken half by the next layer."""
    double = Crepe("small").eval().requires_grad_(False)
    for number in range(1, 7):
        for part in ("", "_BN"):
            source = network.get_submodule(f"conv{number}{part}").state_dict()
            state = {key: torch.cat([value, value]) if value.ndim else value for key, value in source.items()}
            if number > 1 and not part:
                state["weight"] = torch.cat([state["weight"], state["weight"]], dim=1) / 2
            double.get_submodule(f"conv{number}{part}").load_state_dict(state)
    dense = network.classifier.weight.view(360, 4, -1)
    double.classifier.weight.copy_(torch.cat([dense, dense], dim=2).flatten(1) / 2)
    double.classifier.bias.copy_(network.classifier.bias)
    return double


def test_pruning_undoes_a_doubling_exactly(frames: Tensor) -> None:
    tiny = load_model("tiny")
    double = _doubled(tiny)
    assert torch.allclose(double(frames), tiny(frames), atol=1e-5)
    result = prune(double, "tiny", criterion="cssp", frames=frames, reestimate=False)
    assert torch.allclose(result.network(frames), tiny(frames), atol=5e-3)
    assert result.explained is not None
    assert min(result.explained) > 0.999
    for number, kept in enumerate(result.kept, start=1):
        width = tiny.capacity.channels[number - 1]
        assert sorted(channel % width for channel in kept) == list(range(width))


@pytest.mark.parametrize("criterion", ["l1", "l2", "fpgm", "taylor", "cssp"])
def test_every_criterion_gives_a_network_of_the_smaller_capacity(criterion: str, frames: Tensor) -> None:
    source = Crepe("small").eval()
    result = prune(source, "tiny", criterion=criterion, frames=frames[:32])  # type: ignore[arg-type]
    assert [len(kept) for kept in result.kept] == list(Crepe("tiny").capacity.channels)
    assert torch.isfinite(result.network(frames[:4])).all()
    assert source.capacity.name == "small"


def test_l1_keeps_the_largest_kernels() -> None:
    source = Crepe("small").eval()
    kept = prune(source, "tiny", criterion="l1", compensate=False, reestimate=False).kept[2]
    sums = source.get_submodule("conv3").weight.abs().sum(dim=(1, 2, 3))  # type: ignore[operator, union-attr]
    assert kept == sorted(torch.topk(sums, 16).indices.tolist())


def test_column_subset_finds_the_columns_that_make_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(500, 5, generator=generator, dtype=torch.float64)
    mixed = torch.cat(
        [basis, 0.3 * basis @ torch.randn(5, 20, generator=generator, dtype=torch.float64)], dim=1
    )
    chosen = column_subset(mixed.T @ mixed / 500, torch.ones(25, dtype=torch.float64), 5)
    fit = torch.linalg.lstsq(mixed[:, chosen], mixed).solution
    assert torch.allclose(mixed[:, chosen] @ fit, mixed, atol=1e-8)


def test_reestimated_statistics_are_those_of_the_activations(frames: Tensor) -> None:
    network = Crepe("tiny").eval().requires_grad_(False)
    reestimate_batch_norm(network, frames)
    with torch.no_grad():
        x = network.nth_layer(network.nth_layer(frames[:, None, :, None], 1), 2)
        activation = F.relu(network.convolve(x, 3))
    normalization = network.get_submodule("conv3_BN")
    assert torch.allclose(normalization.running_mean, activation.mean(dim=(0, 2, 3)), atol=1e-5)  # type: ignore[arg-type]
    variance = activation.var(dim=(0, 2, 3), correction=0)
    assert torch.allclose(normalization.running_var, variance, rtol=1e-3, atol=1e-8)  # type: ignore[arg-type]


def test_pruning_refuses_to_grow_or_to_measure_on_nothing() -> None:
    with pytest.raises(ConfigError, match="no larger than tiny"):
        prune(Crepe("tiny"), "full", frames=torch.zeros(1, 1024))
    with pytest.raises(ConfigError, match="frames"):
        prune(Crepe("small"), "tiny", criterion="cssp")


def test_generated_frames_have_the_pitch_range_and_unit_power() -> None:
    rng = np.random.default_rng(0)
    sounds = harmonic_frames(256, rng)
    assert np.allclose(np.square(sounds).mean(axis=1), 1.0, atol=1e-3)
    assert np.isfinite(noise_frames(16, rng)).all()
    posteriors = FastCrepe(load_model("tiny"))(measuring_frames(256, seed=3))
    bins = posteriors[posteriors.amax(dim=1) > 0.5].argmax(dim=1)
    assert bins.min() < 60
    assert bins.max() > 300


def test_recordings_are_read_at_their_own_speed_and_others(tmp_path: Path) -> None:
    time = np.arange(32000) / 16000
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 16000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    recordings = Recordings([tmp_path])
    assert len(recordings.unreadable) == 1
    spectra = np.abs(np.fft.rfft(recordings.frames(200, np.random.default_rng(0)), axis=1))
    peaks = spectra.argmax(axis=1) * 16000 / 1024
    assert np.mean(np.abs(peaks - 440) < 16) > 0.3
    # A frame beside the silence at the ends may hold next to nothing.
    low, high = np.percentile(peaks, [2, 98])
    assert 440 / 2.6 < low < 250
    assert 700 < high < 440 * 2.6


def test_labelled_batches_depend_on_their_index_alone() -> None:
    whole = iter(LabelledFrames("tiny", batch_size=8, seed=5))
    later = iter(LabelledFrames("tiny", batch_size=8, seed=5, first_batch=2))
    batches = [next(whole) for _ in range(3)]
    frames, targets = next(later)
    assert torch.equal(frames, batches[2][0])
    assert torch.equal(targets, batches[2][1])
    assert torch.allclose(targets, load_model("tiny")(frames), atol=1e-5)


def test_reused_batches_are_mixed_of_earlier_ones() -> None:
    fresh = [(torch.full((4, 2), float(i)), torch.full((4, 1), float(i))) for i in range(5)]
    given = list(Reused(fresh, 3, seed=0))  # type: ignore[arg-type]
    assert len(given) == 15
    assert torch.equal(given[12][0], fresh[4][0])
    for index, (frames, targets) in enumerate(given):
        assert torch.equal(frames[:, :1], targets)
        assert float(targets.max()) <= index // 3


def test_the_learning_rate_rises_stays_and_falls() -> None:
    config = FitConfig(steps=100, warmup_steps=10, decay_steps=20)
    rates = [rate_factor(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:81] == pytest.approx([1.0] * 72)
    assert rates[90] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.01)


CONFIG = DistillConfig(
    student="tiny",
    teacher="tiny",
    steps=8,
    batch_size=32,
    learning_rate=1e-3,
    warmup_steps=2,
    decay_steps=4,
    check_every=4,
    reuse=1,
    workers=0,
)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` with noise on its weights."""
    network = load_model("tiny")
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.add_(0.8 * parameter.std() * torch.randn(parameter.shape, generator=generator))
    path = tmp_path_factory.mktemp("start") / "disturbed.pth"
    save_weights(network, path)
    return path


def test_a_distillation_learns_and_one_that_goes_on_is_the_same(disturbed: Path, tmp_path: Path) -> None:
    whole = distill(CONFIG, tmp_path / "whole", start=disturbed, progress=False)
    part = dataclasses.replace(CONFIG, decay_steps=CONFIG.decay_steps)
    distill(
        dataclasses.replace(part, steps=4, decay_steps=0), tmp_path / "parts", start=disturbed, progress=False
    )
    assert steps_done(tmp_path / "parts") == 4
    resumed = distill(part, tmp_path / "parts", start=disturbed, progress=False)
    assert steps_done(tmp_path / "parts") == 8
    a, b = load_model("tiny", weights=whole), load_model("tiny", weights=resumed)
    for name, value in a.state_dict().items():
        assert torch.allclose(value, b.state_dict()[name], atol=1e-6), name

    teacher, start = load_model("tiny"), load_model("tiny", weights=disturbed)
    frames = measuring_frames(128, seed=9)
    losses = [
        float(F.binary_cross_entropy(network(frames), teacher(frames))) for network in (teacher, a, start)
    ]
    assert losses[1] - losses[0] < 0.75 * (losses[2] - losses[0])
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 5000
    assert json.loads((tmp_path / "whole" / "distill.json").read_text())["steps"] == 8


def test_pitch_targets_are_crepe_s() -> None:
    targets = pitch_targets(np.array([1997.3794084376191 + 20 * 100, np.nan]))
    assert targets[0].argmax() == 100
    assert float(targets[0, 100]) == pytest.approx(1.0)
    assert float(targets[0, 101]) == pytest.approx(np.exp(-(20**2) / (2 * 25**2)), abs=1e-6)
    assert float(targets[1].sum()) == 0.0


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    time = np.arange(16000) / 16000
    for index, f0 in enumerate((220.0, 330.0, 500.0)):
        tone = sum(np.sin(2 * np.pi * k * f0 * time) / k for k in range(1, 8))
        soundfile.write(folder / f"{index}.wav", 0.2 * np.asarray(tone), 16000)
        rows = "".join(f"{t:.2f},{f0 if t < 0.9 else 0:.2f}\n" for t in np.arange(0, 1, 0.01))
        (folder / f"{index}.csv").write_text("time,frequency\n" + rows)
    return folder


def test_finetuning_brings_a_disturbed_network_back(labelled: Path, disturbed: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(
        model="tiny",
        steps=12,
        batch_size=32,
        warmup_steps=2,
        decay_steps=4,
        check_every=6,
        learning_rate=2e-3,
    )
    examples = load_dataset("folder", labelled)
    target = finetune(config, tmp_path, examples, start=disturbed, progress=False)
    time = np.arange(1024) / 16000
    tone = torch.from_numpy(np.sin(2 * np.pi * 330 * time) + 0.5 * np.sin(2 * np.pi * 660 * time)).float()
    frame = ((tone - tone.mean()) / tone.std())[None]
    wanted = pitch_targets(1200 * np.log2(np.array([33.0])))
    before, after = (
        float(F.binary_cross_entropy(load_model("tiny", weights=path)(frame), wanted))
        for path in (disturbed, target)
    )
    assert after < 0.8 * before
    assert len(json.loads((tmp_path / "finetune.json").read_text())["validation"]) == 1


def test_the_commands(
    labelled: Path, disturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruned = tmp_path / "pruned.pth"
    save_weights(Crepe("small"), tmp_path / "small.pth")
    small = ["prune", "--from", "small", "--to", "tiny", "--weights", str(tmp_path / "small.pth")]
    assert main([*small, "-o", str(pruned), "--frames", "64", "--criterion", "l2"]) == 0
    assert "128 of 256 channels" in capsys.readouterr().out
    assert load_model("tiny", weights=pruned).capacity.name == "tiny"
    fit = ["--steps", "2", "--batch-size", "8", "--device", "cpu", "--workers", "0"]
    run = ["distill", "--student", "tiny", "--teacher", "tiny", "--start", str(disturbed), *fit]
    assert main([*run, "-o", str(tmp_path / "a"), "--audio", str(labelled), "--reuse", "2"]) == 0
    assert "pitch track --model tiny --weights" in capsys.readouterr().out
    assert main(["finetune", str(labelled), "--model", "tiny", "-o", str(tmp_path / "b"), *fit]) == 0
    assert load_model("tiny", weights=tmp_path / "b" / "tiny.pth").capacity.name == "tiny"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["distill", "--audio", "missing", "-o", "run"], "found no missing"),
        (["distill", "--reuse", "0", "-o", "run"], "reuse"),
        (["prune", "--from", "tiny", "--to", "full", "-o", "x.pth"], "no larger than tiny"),
        (["finetune", ".", "-o", "run", "--model", "tiny"], "no sound file"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("pitch: error:")
    assert message in error


def test_the_settings_check_themselves() -> None:
    with pytest.raises(ConfigError, match="criterion"):
        PruneConfig(criterion="best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="validation_share"):
        FinetuneConfig(validation_share=0.0)
