"""Fine-tuning of the embedded vocoder on the mels that the demo's model predicts.

Those mels are blurred where the film does not say all: a vocoder that only ever saw mels of recordings makes
hoarse speech of them, in which formants are no peaks. Seeing predicted mels with the true sound, it learns
what they stand for. The brief fine-tunes likewise, with discriminators, on a GPU.
"""

from dataclasses import replace
from pathlib import Path

import torch

from audio_io.atomic import file_digest
from mri2speech.demo.config import TuningConfig
from mri2speech.vocoder import checkpoint_of
from mri2speech.vocoder.config import CONFIG_NAME, TrainConfig, VocoderConfig, VocoderData
from mri2speech.vocoder.data import write_filelists
from mri2speech.vocoder.export import GROUND_TRUTH, PREDICTED, export_mels
from mri2speech.vocoder.train import train

# No discriminators: the step at which they would come in is never reached.
_NEVER = 1_000_000_000


def fine_tune(
    data: Path, acoustic: Path, split: Path, folder: Path, config: TuningConfig, device: torch.device | None
) -> Path:
    """Fine-tune the embedded vocoder, or go on with it.

    Args:
        data: What `mri2speech preprocess` wrote.
        acoustic: The model whose mels the vocoder shall speak.
        split: The split.json of its training; the vocoder hears no utterance of its test part.
        folder: Where runs are kept, one for each acoustic model.
        config: How long, and at which rate.
        device: Where; the CPU if None.

    Returns:
        The checkpoint `g_*`.
    """
    run = folder / file_digest(acoustic)[:12]
    export_mels(data, run, acoustic=acoustic, device=device)
    training, validation = write_filelists(data, split, run)
    settings = TrainConfig(
        max_steps=config.steps,
        stft_weight=config.stft_weight,
        adversarial_from=_NEVER,
        discriminator_width=0.03125,
        checkpoint_interval=config.save_every,
        validation_interval=config.steps,
        validation_recordings=8,
        log_interval=10,
        keep=1,
    )
    recordings = VocoderData(
        data / "wavs",
        training,
        validation,
        run / PREDICTED,
        run / GROUND_TRUTH,
        config.truth_share,
    )
    with checkpoint_of() as start:
        shape = replace(
            VocoderConfig.load(start.with_name(CONFIG_NAME)),
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            lr_decay=config.decay,
        )
        return train(shape, settings, recordings, run, start=start, device=device)
