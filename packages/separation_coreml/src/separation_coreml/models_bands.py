"""The models of the families `bs_roformer`, `mel_band_roformer` and `scnet`.

Reference:
    https://github.com/ZFTurbo/Music-Source-Separation-Training (configs, docs/pretrained_models.md);
    https://github.com/starrytong/SCNet (conf/config.yaml)
"""

from collections.abc import Iterator
from typing import Any

from separation_coreml.model_spec import ModelSpec

_MSST = "https://github.com/ZFTurbo/Music-Source-Separation-Training"
_STEMS = ("drums", "bass", "other", "vocals")
_COMMON: dict[str, Any] = {"sample_rate": 44100, "channels": 2, "overlap": 0.5}


def _roformers() -> Iterator[ModelSpec]:
    yield ModelSpec(
        name="bs_roformer",
        family="bs_roformer",
        title="BS-RoFormer for vocals, by viperx",
        stems=("vocals",),
        segment_seconds=8.0,
        parameters=159_758_028,
        licence="not stated",
        source=_MSST,
        options={
            "dim": 512,
            "depth": 12,
            "url": "https://github.com/TRvlvr/model_repo/releases/download/all_public_uvr_models/"
            "model_bs_roformer_ep_317_sdr_12.9755.ckpt",
        },
        **_COMMON,
    )
    yield ModelSpec(
        name="bs_roformer_4stems",
        family="bs_roformer",
        title="BS-RoFormer, four stems, trained on MUSDB18-HQ alone",
        stems=_STEMS,
        segment_seconds=11.0,
        parameters=131_704_100,
        licence="MIT",
        source=_MSST,
        options={
            "dim": 384,
            "depth": 8,
            "mask_widening": 2,
            "url": f"{_MSST}/releases/download/v1.0.12/model_bs_roformer_ep_17_sdr_9.6568.ckpt",
        },
        **_COMMON,
    )
    yield ModelSpec(
        name="mel_band_roformer",
        family="mel_band_roformer",
        title="Mel-Band RoFormer for vocals, by Kimberley Jensen",
        stems=("vocals",),
        segment_seconds=8.0,
        parameters=228_202_788,
        licence="not stated",
        source="https://github.com/KimberleyJensen/Mel-Band-Roformer-Vocal-Model",
        options={
            "dim": 384,
            "depth": 6,
            "num_bands": 60,
            "mask_layers": 3,
            "url": "https://huggingface.co/KimberleyJSN/melbandroformer/resolve/main/MelBandRoformer.ckpt",
        },
        **_COMMON,
    )


def _scnets() -> Iterator[ModelSpec]:
    # The author publishes no hashes; these were found alike in several independent lists of downloads.
    for name, title, parameters, options in (
        (
            "scnet",
            "SCNet, four stems",
            10_578_768,
            {
                "dims": (32, 64, 128),
                "shares": (0.175, 0.392),
                "file": "v.1.0.6/scnet_checkpoint_musdb18.ckpt",
                "digest": "1bc0d1abb20bfdf966dcd07637bafd03e4bc13653d09ef18bc9b3e342eafe2aa",
            },
        ),
        (
            "scnet_large",
            "SCNet with twice as many channels",
            42_181_232,
            {
                "dims": (64, 128, 256),
                "shares": (0.225, 0.372),
                "file": "v1.0.9/SCNet-large_starrytong_fixed.ckpt",
                "digest": "65900dfa07d6b6e5d784c0f143920200a4bd281d6e78a806c549d0b912d5885e",
            },
        ),
    ):
        yield ModelSpec(
            name=name,
            family="scnet",
            title=title,
            stems=_STEMS,
            segment_seconds=11.0,
            parameters=parameters,
            licence="MIT",
            source="https://github.com/starrytong/SCNet",
            options=options,
            **_COMMON,
        )


BAND_MODELS: tuple[ModelSpec, ...] = (*_roformers(), *_scnets())
