"""The models of the families `mdx_net` and `mdx23c`.

Reference:
    KUIELab: https://github.com/kuielab/mdx-net-submission (mdxnet/configs.py, leaderboard_A). Ultimate Vocal
    Remover: https://github.com/TRvlvr/application_data (mdx_model_data/model_data_new.json). MDX23C:
    https://github.com/ZFTurbo/Music-Source-Separation-Training (configs).
"""

from collections.abc import Iterator
from typing import Any

from separation_coreml.model_spec import ModelSpec

_HOP_LENGTH = 1024
_COMMON: dict[str, Any] = {"sample_rate": 44100, "channels": 2}

# Length of the STFT by stem.
_KUIELAB = {"drums": 4096, "bass": 16384, "other": 8192, "vocals": 6144}
_KUIELAB_PARAMETERS = 7_423_236  # of each network

_MSST = "https://github.com/ZFTurbo/Music-Source-Separation-Training"
_UVR = "https://github.com/TRvlvr/model_repo"


def _frames(count: int) -> float:
    """The length of so many frames in s: the first and the last are centred on the ends."""
    return (count - 1) * _HOP_LENGTH / float(_COMMON["sample_rate"])


def _kuielab(name: str, title: str, stems: tuple[str, ...]) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="mdx_net",
        title=title,
        stems=stems,
        segment_seconds=_frames(512),
        overlap=0.25,
        parameters=len(stems) * _KUIELAB_PARAMETERS,
        licence="MIT",
        source="https://github.com/kuielab/mdx-net-submission",
        options={
            "network": {"bins": 2048, "growth": 32},
            "n_fft": {stem: _KUIELAB[stem] for stem in stems},
            "url": "https://zenodo.org/record/5717356/files/onnx_A.zip",
        },
        **_COMMON,
    )


# Name, file, its stem, n_fft, bins, what the output is multiplied by, parameters.
_UVR_MODELS = (
    ("uvr_main", "UVR_MDXNET_Main", "vocals", 7680, 3072, 1.043, 16_688_260),
    ("uvr_kim_vocal_2", "Kim_Vocal_2", "vocals", 7680, 3072, 1.009, 16_688_260),
    ("uvr_inst_hq_3", "UVR-MDX-NET-Inst_HQ_3", "instrumental", 6144, 3072, 1.022, 16_688_260),
    ("uvr_inst_hq_4", "UVR-MDX-NET-Inst_HQ_4", "instrumental", 5120, 2560, 1.019, 14_767_044),
)


def _uvr() -> Iterator[ModelSpec]:
    for name, file, stem, n_fft, bins, gain, parameters in _UVR_MODELS:
        rest = "instrumental" if stem == "vocals" else "vocals"
        yield ModelSpec(
            name=name,
            family="mdx_net",
            title=f"{file} of UVR: {stem} from an MDX-Net, {rest} from what is left",
            stems=(stem, rest),
            segment_seconds=_frames(256),
            overlap=0.25,
            parameters=parameters,
            licence="no formal licence; UVR asks for credit",
            source=_UVR,
            options={
                "network": {"bins": bins, "growth": 48},
                "n_fft": n_fft,
                "complement": True,
                "gain": gain,
                "url": f"{_UVR}/releases/download/all_public_uvr_models/{file}.onnx",
            },
            **_COMMON,
        )


def _mdx23c(name: str, title: str, stems: tuple[str, ...], parameters: int, file: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        family="mdx23c",
        title=title,
        stems=stems,
        segment_seconds=_frames(256),
        overlap=0.75,
        parameters=parameters,
        licence="MIT",
        source=_MSST,
        options={
            "network": {},
            "n_fft": 8192,
            "hop_length": _HOP_LENGTH,
            "url": f"{_MSST}/releases/download/{file}",
        },
        **_COMMON,
    )


MDX_MODELS: tuple[ModelSpec, ...] = (
    _kuielab("mdx_net", "KUIELab MDX-Net (TFC-TDF-UNet v2), one network a stem", tuple(_KUIELAB)),
    *(
        _kuielab(f"mdx_net_{stem}", f"the network of mdx_net that gives {stem}, alone", (stem,))
        for stem in _KUIELAB
    ),
    *_uvr(),
    _mdx23c(
        "mdx23c",
        "MDX23C (TFC-TDF-UNet v3), four stems",
        ("vocals", "bass", "drums", "other"),
        111_994_368,
        "v1.0.1/model_mdx23c_ep_168_sdr_7.0207.ckpt",
    ),
    _mdx23c(
        "mdx23c_vocals",
        "MDX23C (TFC-TDF-UNet v3), vocals and instrumental",
        ("vocals", "instrumental"),
        111_990_272,
        "v1.0.0/model_vocals_mdx23c_sdr_10.17.ckpt",
    ),
)
