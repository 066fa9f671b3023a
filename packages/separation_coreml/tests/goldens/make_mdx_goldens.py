"""Writes tests/goldens/mdx: what the networks of MDX-Net and MDX23C compute, with random weights.

    pip install audio-separator pytorch-lightning
    python packages/separation_coreml/tests/goldens/make_mdx_goldens.py

The package audio-separator holds the classes of the authors unchanged: `ConvTDFNet` of kuielab/mdx-net and
`TFC_TDF_net` of kuielab/sdx23.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from audio_separator.separator.uvr_lib_v5.mdxnet import ConvTDFNet
from audio_separator.separator.uvr_lib_v5.tfc_tdf_v3 import TFC_TDF_net
from torch import Tensor, nn

GOLDENS = Path(__file__).parent / "mdx"


def write(name: str, network: nn.Module, inputs: Tensor) -> None:
    """Random weights, the input and the output."""
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and key not in {"window", "freq_pad"}:
                value.copy_(torch.randn(value.shape) * (1.5 / max(value[:1].numel(), 4) ** 0.5))
        output = network.eval()(inputs)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    GOLDENS.mkdir(exist_ok=True)
    np.savez_compressed(GOLDENS / f"{name}.npz", input=inputs.numpy(), output=output.numpy(), **state)


def main() -> None:
    """Both families."""
    torch.manual_seed(0)
    settings = {"dim_c": 4, "dim_f": 32, "dim_t": 8, "n_fft": 128, "hop_length": 64, "overlap": 0}
    network = ConvTDFNet(
        "vocals", 0.1, "rmsprop", **settings, num_blocks=5, l=2, g=3, k=3, bn=4, bias=False
    )  # fmt: skip
    write("mdx_net", network, torch.randn(2, 4, 32, 8))

    audio = SimpleNamespace(n_fft=128, hop_length=32, dim_f=64, num_channels=2)
    model = SimpleNamespace(
        norm="InstanceNorm", act="gelu", num_subbands=2, num_scales=2, scale=[2, 2],
        num_blocks_per_scale=2, num_channels=4, growth=2, bottleneck_factor=2
    )  # fmt: skip
    training = SimpleNamespace(target_instrument=None, instruments=["vocals", "bass", "other"])
    network = TFC_TDF_net(SimpleNamespace(audio=audio, model=model, training=training), "cpu")
    # With its own STFT around the network: 8 frames.
    write("mdx23c", network, torch.randn(1, 2, 7 * 32))


if __name__ == "__main__":
    main()
