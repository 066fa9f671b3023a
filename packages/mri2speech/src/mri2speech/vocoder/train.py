"""Training and fine-tuning of the vocoder.

A run lives in a folder: checkpoints `g_XXXXXXXX` and `do_XXXXXXXX` with `config.json`, `metrics.csv`,
TensorBoard events and `curves.png`. A run that goes on from a checkpoint ends with the weights that it would
have had without the interruption.

Reference: Kong et al., 2020, arXiv 2010.05646; github.com/jik876/hifi-gan, train.py, for the order of the
updates and the schedule: AdamW, the learning rate multiplied by `lr_decay` after each epoch.
"""

import contextlib
import itertools
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from audio_io import cli
from audio_io.errors import FileError
from audio_io.progress import Progress
from mri2speech.features import DB_TO_LOG
from mri2speech.vocoder.checkpoint import (
    Training,
    load_discriminators,
    load_generator,
    load_training,
    save_training,
)
from mri2speech.vocoder.config import CONFIG_NAME, TrainConfig, VocoderConfig, VocoderData
from mri2speech.vocoder.data import Batch, Segments, batches, read_filelist
from mri2speech.vocoder.discriminators import MultiPeriodDiscriminator, MultiScaleDiscriminator
from mri2speech.vocoder.generator import Generator
from mri2speech.vocoder.losses import (
    discriminator_loss,
    feature_loss,
    generator_loss,
    mel_loss,
    stft_distance,
)
from mri2speech.vocoder.runlog import RunLog

# Recordings that TensorBoard gets as sound.
_HEARD = 4

Losses = dict[str, Tensor]


def train(
    config: VocoderConfig,
    settings: TrainConfig,
    data: VocoderData,
    folder: str | Path,
    *,
    start: str | Path | None = None,
    device: torch.device | None = None,
) -> Path:
    """Train a vocoder, or go on with the run of the folder.

    Args:
        config: Networks, mel and optimiser.
        settings: How long, and with which losses.
        data: Recordings and mels.
        folder: Of the run.
        start: A checkpoint `g_*` whose weights a new run starts from; those of the discriminators are taken
            from the `do_*` beside it if there is one. Steps and learning rate start anew.
        device: Where to train; the CPU if None.

    Returns:
        The last `g_XXXXXXXX`.

    Raises:
        FileError: If a file cannot be used; it names it.
        KeyboardInterrupt: After Ctrl-C, once the checkpoint is written.
    """
    folder = Path(folder)
    device = torch.device("cpu") if device is None else device
    training_set = Segments(read_filelist(data.training), data, config)
    validation_set = Segments(read_filelist(data.validation), data, config)
    _check_same_run(folder, config)
    cli.seed_everything(config.seed)
    training = _build(config, settings, device)
    if not load_training(folder, training) and start is not None:
        _start_from(start, training)
    run = _Run(config, settings, training, device)
    per_epoch = max(len(training_set) // config.batch_size, 1)
    total = settings.epochs * per_epoch
    total = total if settings.max_steps is None else min(total, settings.max_steps)
    log = RunLog(folder, training.steps)
    saved = validated = training.steps
    with contextlib.closing(log), Progress("training the vocoder", total, "steps") as progress:
        progress.advance(training.steps)
        with _held_interrupt() as interrupted:
            for batch in _endless(training, training_set, settings):
                if interrupted.is_set() or training.steps >= total or training.epoch >= settings.epochs:
                    break
                losses = run.step(batch)
                progress.advance(1)
                if training.steps % settings.log_interval == 0:
                    log.add(training.steps, {key: float(value) for key, value in losses.items()})
                if training.steps % settings.validation_interval == 0:
                    _validate(run, validation_set, log)
                    validated = training.steps
                if training.steps % settings.checkpoint_interval == 0:
                    save_training(folder, training)
                    saved = training.steps
                    _forget(folder, settings.keep)
        if validated < training.steps and not interrupted.is_set():
            _validate(run, validation_set, log)
        if training.steps > saved or not saved:
            save_training(folder, training)
            _forget(folder, settings.keep)
    log.plot()
    if interrupted.is_set():
        raise KeyboardInterrupt
    return folder / f"g_{training.steps:08d}"


class _Run:
    """The two updates of a step."""

    def __init__(
        self, config: VocoderConfig, settings: TrainConfig, training: Training, device: torch.device
    ) -> None:
        self.config, self.settings, self.training, self.device = config, settings, training, device

    def step(self, batch: Batch) -> Losses:
        """Update the discriminators, then the generator, on one batch."""
        training, settings = self.training, self.settings
        mel, real = (part.to(self.device, non_blocking=True) for part in batch)
        rate = self.config.learning_rate * self.config.lr_decay**training.epoch
        for optimizer in (training.optim_g, training.optim_d):
            for group in optimizer.param_groups:
                group["lr"] = rate
        generated = self.generate(mel)
        adversarial = training.steps >= settings.adversarial_from
        losses: Losses = {}
        if adversarial:
            losses["discriminator"] = self._update_discriminators(real, generated.detach())
        losses |= self._update_generator(real, generated, adversarial=adversarial)
        training.steps += 1
        training.batch += 1
        return losses

    def generate(self, mel: Tensor) -> Tensor:
        """The generator's waveform, in float32."""
        with self._arithmetic():
            waveform: Tensor = self.training.generator(mel)
        return waveform.float()

    def _update_discriminators(self, real: Tensor, generated: Tensor) -> Tensor:
        training = self.training
        with self._arithmetic():
            loss = discriminator_loss(training.mpd(real), training.mpd(generated))
            loss = loss + discriminator_loss(training.msd(real), training.msd(generated))
        training.optim_d.zero_grad()
        torch.autograd.backward(loss)
        training.optim_d.step()
        return loss.detach()

    def _update_generator(self, real: Tensor, generated: Tensor, *, adversarial: bool) -> Losses:
        settings, training = self.settings, self.training
        losses: Losses = {"mel": mel_loss(real, generated, self.config.mel)}
        total = settings.mel_weight * losses["mel"]
        if settings.stft_weight:
            losses["stft"] = stft_distance(real, generated)
            total = total + settings.stft_weight * losses["stft"]
        if adversarial:
            networks = (training.mpd, training.msd)
            for network in networks:
                network.requires_grad_(False)
            with self._arithmetic():
                judged = [(network(real), network(generated)) for network in networks]
                losses["feature"] = torch.stack([feature_loss(*pair) for pair in judged]).sum()
                losses["generator"] = torch.stack([generator_loss(false) for _, false in judged]).sum()
            for network in networks:
                network.requires_grad_(True)
            total = total + losses["feature"] + losses["generator"]
        training.optim_g.zero_grad()
        torch.autograd.backward(total)
        training.optim_g.step()
        return {key: value.detach() for key, value in losses.items()}

    def _arithmetic(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )


@contextlib.contextmanager
def _held_interrupt() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets instead of stopping a step half-way; a second one stops at once."""
    event = threading.Event()

    def hold(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    # Python lets only the main thread have handlers; elsewhere there is no Ctrl-C to hold.
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, hold) if in_main else None
    try:
        yield event
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


def _build(config: VocoderConfig, settings: TrainConfig, device: torch.device) -> Training:
    generator = Generator(config).to(device)
    mpd = MultiPeriodDiscriminator(settings.discriminator_width).to(device)
    msd = MultiScaleDiscriminator(settings.discriminator_width).to(device)
    betas = (config.adam_b1, config.adam_b2)
    return Training(
        generator,
        mpd,
        msd,
        torch.optim.AdamW(generator.parameters(), config.learning_rate, betas),
        torch.optim.AdamW(itertools.chain(msd.parameters(), mpd.parameters()), config.learning_rate, betas),
    )


def _start_from(start: str | Path, training: Training) -> None:
    path = Path(start)
    found = load_generator(path, config=training.generator.config, remove_weight_norm=False)
    training.generator.load_state_dict(found.state_dict())
    other = path.with_name("do_" + path.name.removeprefix("g_"))
    if path.name.startswith("g_") and other.is_file():
        load_discriminators(other, training.mpd, training.msd)


def _check_same_run(folder: Path, config: VocoderConfig) -> None:
    """Refuse to go on with other networks or another mel than the folder's checkpoints have."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        return
    stored = VocoderConfig.load(path)
    free = {"batch_size", "learning_rate", "lr_decay", "adam_b1", "adam_b2", "seed", "segment_size", "extra"}
    for name in sorted(set(config.__dataclass_fields__) - free):
        found, wanted = getattr(stored, name), getattr(config, name)
        if found != wanted:
            raise FileError(path, f"{name} = {found}", f"{wanted}; a folder of its own for each run")


def _endless(training: Training, segments: Segments, settings: TrainConfig) -> Iterator[Batch]:
    """Batches from where the run is; `training.epoch` counts the epochs that are done."""
    while True:
        yield from batches(segments, training.epoch, training.batch, settings.num_workers)
        training.epoch, training.batch = training.epoch + 1, 0


def _validate(run: _Run, validation: Segments, log: RunLog) -> None:
    """Distances on whole recordings, and a few of them as sound."""
    generator, config = run.training.generator, run.config
    generator.eval()
    rate = config.sampling_rate
    totals = {"val_mel_db": 0.0, "val_stft": 0.0}
    count = min(len(validation), run.settings.validation_recordings)
    with torch.no_grad():
        for index in range(count):
            mel, real = validation.whole(index)
            real = real.to(run.device)
            generated = run.generate(mel[None].to(run.device))[0]
            totals["val_mel_db"] += float(mel_loss(real, generated, config.mel)) / DB_TO_LOG
            totals["val_stft"] += float(stft_distance(real, generated))
            if index < _HEARD:
                log.add_sound(run.training.steps, validation.names[index], generated[0].cpu(), rate)
    generator.train()
    means = {key: value / count for key, value in totals.items()}
    log.add(run.training.steps, means)
    print(
        f"step {run.training.steps}, epoch {run.training.epoch}: on {count} validation recordings the mels "
        f"differ by {means['val_mel_db']:.2f} dB, the spectra by {means['val_stft']:.3f}",
        file=sys.stderr,
        flush=True,
    )


def _forget(folder: Path, keep: int | None) -> None:
    if keep is None:
        return
    for prefix in ("g_", "do_"):
        for path in sorted(folder.glob(prefix + "[0-9]" * 8))[:-keep]:
            path.unlink()
