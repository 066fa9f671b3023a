"""Channel pruning: a smaller capacity out of a larger one's channels.

The criteria:

- `l1`, `l2`: norm of a channel's kernel (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017).
- `fpgm`: distance to the other kernels (He et al., "Filter Pruning via Geometric Median", CVPR 2019).
- `taylor`: loss that a channel is worth to first order (Molchanov et al., "Importance Estimation for Neural
  Network Pruning", CVPR 2019).
- `cssp`: greedy column subset selection: the channels from which all the others follow best by a linear map,
  weighed by what the next layer makes of them (Farahat et al., "Greedy column subset selection for
  large-scale data sets", Knowl. Inf. Syst. 45, 2015).

Pruning alone does not give a usable network (docs/pitch_training.md has the numbers); it is where
distillation starts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the customary name

from audio_io.errors import ConfigError
from pitch.capacities import CapacityName, get_capacity
from pitch.model import Crepe
from pitch.training.config import Criterion

LAYERS = range(1, 7)
# Share of the mean power that is added to the diagonal of a least-squares fit, for its stability.
RIDGE = 1e-4
BATCH = 64


@dataclass(frozen=True)
class PruneResult:
    """A pruned network and what was kept.

    Attributes:
        network: Of the smaller capacity.
        kept: Channels kept in each of the six layers, in rising order.
        explained: Share of the power of each layer's output that follows from the kept channels, from 0 to
            1; None where it was not measured.
    """

    network: Crepe
    kept: list[list[int]]
    explained: list[float] | None


def prune(
    network: Crepe,
    to: CapacityName | str,
    *,
    criterion: Criterion = "cssp",
    frames: Tensor | None = None,
    compensate: bool = True,
    reestimate: bool = True,
) -> PruneResult:
    """Cut a network down to a smaller capacity.

    Args:
        network: The larger one, in evaluation mode; it is not changed.
        to: Capacity of the result.
        criterion: What decides which channels stay.
        frames: Frames of zero mean and unit variance to measure activations on, a few thousand; not needed
            for l1, l2 and fpgm with neither compensation nor re-estimation.
        compensate: Whether the next layer takes in what the dropped channels carried, as the best linear
            map of the kept ones.
        reestimate: Whether BatchNorm statistics are measured again on the pruned network.

    Shape:
        - frames: `[N, 1024]`

    Raises:
        ConfigError: If a layer would have to grow, or frames are missing.
    """
    capacity = get_capacity(to)
    for have, want in zip(network.capacity.channels, capacity.channels, strict=True):
        if want > have:
            raise ConfigError("to", capacity.name, f"a capacity no larger than {network.capacity.name}")
    needs_frames = compensate or reestimate or criterion in ("cssp", "taylor")
    if needs_frames and (frames is None or len(frames) == 0):
        raise ConfigError(
            "frames", "none", f"frames to measure on, which {criterion} with these options needs"
        )
    moments = None
    if frames is not None and (compensate or criterion == "cssp"):
        moments = second_moments(network, frames)
    scores = taylor_scores(network, frames) if criterion == "taylor" and frames is not None else None
    kept = []
    for number, width in zip(LAYERS, capacity.channels, strict=True):
        if criterion == "cssp" and moments is not None:
            chosen = column_subset(moments[number - 1], next_weight(network, number), width)
        else:
            score = scores[number - 1] if scores is not None else kernel_scores(network, number, criterion)
            chosen = torch.topk(score, width).indices
        kept.append(torch.sort(chosen).values)
    pruned = _cut(network, capacity.name, kept, moments if compensate else None)
    if reestimate and frames is not None:
        reestimate_batch_norm(pruned, frames)
    explained = (
        None
        if moments is None
        else [_explained(moment, chosen) for moment, chosen in zip(moments, kept, strict=True)]
    )
    return PruneResult(pruned, [chosen.tolist() for chosen in kept], explained)


def kernel_scores(network: Crepe, number: int, criterion: str) -> Tensor:
    """Worth of each output channel of a layer by its kernel alone, `[C]`: `l1`, `l2` or `fpgm`."""
    kernels = _convolution(network, number).weight.detach().double().flatten(1)  # [C, inputs * taps]
    if criterion == "l1":
        return kernels.abs().sum(dim=1)
    if criterion == "l2":
        return kernels.square().sum(dim=1)
    return torch.cdist(kernels, kernels).sum(dim=1)


def taylor_scores(network: Crepe, frames: Tensor) -> list[Tensor]:
    """Squared first-order change of the loss if a channel were zero, summed over frames, `[C]` a layer.

    The loss is the cross-entropy to the network's own most likely pitch.
    """
    scores = [torch.zeros(width, dtype=torch.float64) for width in network.capacity.channels]
    for batch in frames.split(BATCH):  # type: ignore[no-untyped-call]
        outputs: list[Tensor] = []
        with torch.enable_grad():
            x = batch[:, None, :, None].requires_grad_(True)
            for number in LAYERS:
                x = network.nth_layer(x, number)
                outputs.append(x)
            logits = network.classifier(x.permute(0, 2, 1, 3).flatten(1))
            loss = F.cross_entropy(logits, logits.detach().argmax(dim=1), reduction="sum")
            gradients = torch.autograd.grad(loss, outputs)
        for index, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
            scores[index] += (output * gradient).sum(dim=(2, 3)).square().sum(dim=0).double().cpu()
    return scores


@torch.no_grad()
def second_moments(network: Crepe, frames: Tensor) -> list[Tensor]:
    """Mean products of the channels' outputs over positions and frames, `[C, C]` float64, a layer each."""
    sums = [torch.zeros(width, width, dtype=torch.float64) for width in network.capacity.channels]
    counts = [0] * len(sums)
    for batch in frames.split(BATCH):  # type: ignore[no-untyped-call]
        x = batch[:, None, :, None]
        for number in LAYERS:
            x = network.nth_layer(x, number)
            columns = x.transpose(0, 1).flatten(1)  # [C, N * positions]
            sums[number - 1] += (columns @ columns.T).double().cpu()
            counts[number - 1] += columns.shape[1]
    return [total / count for total, count in zip(sums, counts, strict=True)]


def next_weight(network: Crepe, number: int) -> Tensor:
    """What the layer behind takes from each output channel: power of its weights, `[C]`."""
    width = network.capacity.channels[number - 1]
    if number == LAYERS[-1]:
        return network.classifier.weight.detach().double().view(-1, 4, width).square().sum(dim=(0, 1))
    return _convolution(network, number + 1).weight.detach().double().square().sum(dim=(0, 2, 3))


def column_subset(moment: Tensor, weight: Tensor, count: int) -> Tensor:
    """Channels from which the others, weighed, follow best by a linear map, chosen one after the other.

    Args:
        moment: Mean products of the channels.
        weight: How much each channel matters.
        count: How many to choose.

    Shape:
        - moment: `[C, C]`
        - weight: `[C]`
        - Output: `[count]`
    """
    residual = moment.clone()
    chosen: list[int] = []
    floor = RIDGE * moment.diagonal().mean()
    for _ in range(count):
        power = residual.diagonal().clamp_min(0) + floor
        gain = (weight[:, None] * residual.square()).sum(dim=0) / power
        gain[chosen] = -1.0
        pick = int(gain.argmax())
        chosen.append(pick)
        column = residual[:, pick].clone()
        residual -= torch.outer(column, column) / power[pick]
    return torch.tensor(chosen)


@torch.no_grad()
def reestimate_batch_norm(network: Crepe, frames: Tensor) -> None:
    """Set each BatchNorm's statistics to those of its input, layer after layer, in place.

    Shape:
        - frames: `[N, 1024]`
    """
    for number in LAYERS:
        width = network.capacity.channels[number - 1]
        total, squares = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
        count = 0
        for batch in frames.split(BATCH):  # type: ignore[no-untyped-call]
            x = batch[:, None, :, None]
            for before in range(1, number):
                x = network.nth_layer(x, before)
            activation = F.relu(network.convolve(x, number)).double()
            total += activation.sum(dim=(0, 2, 3)).cpu()
            squares += activation.square().sum(dim=(0, 2, 3)).cpu()
            count += activation.numel() // width
        mean = total / count
        normalization = _normalization(network, number)
        assert normalization.running_mean is not None
        assert normalization.running_var is not None
        normalization.running_mean.copy_(mean)
        normalization.running_var.copy_((squares / count - mean.square()).clamp_min(1e-10))


def _cut(network: Crepe, name: str, kept: list[Tensor], moments: list[Tensor] | None) -> Crepe:
    pruned = Crepe(name).eval().requires_grad_(False)
    maps: Tensor | None = None  # from kept to all channels of the layer before, [C, kept]
    for number in LAYERS:
        source, target = _convolution(network, number), _convolution(pruned, number)
        keep = kept[number - 1]
        weight = source.weight.detach().double()[keep, :, :, 0]  # [kept, inputs, taps]
        if maps is not None:
            weight = torch.einsum("oct,ck->okt", weight, maps)
        assert source.bias is not None
        assert target.bias is not None
        target.weight.copy_(weight[..., None])
        target.bias.copy_(source.bias[keep])
        for entry, value in _normalization(network, number).state_dict().items():
            if value.ndim:
                _normalization(pruned, number).state_dict()[entry].copy_(value[keep])
        maps = _map_to_all(keep, network.capacity.channels[number - 1], moments, number)
    assert maps is not None
    dense = network.classifier.weight.detach().double().view(-1, 4, len(maps))
    pruned.classifier.weight.copy_(torch.einsum("opc,ck->opk", dense, maps).flatten(1))
    pruned.classifier.bias.copy_(network.classifier.bias)
    return pruned


def _map_to_all(keep: Tensor, width: int, moments: list[Tensor] | None, number: int) -> Tensor:
    """Linear map from the kept channels to all: the identity on the kept, the best fit for the rest."""
    result = torch.zeros(width, len(keep), dtype=torch.float64)
    if moments is not None:
        moment = moments[number - 1]
        inside = moment[keep][:, keep]
        inside = inside + RIDGE * inside.diagonal().mean() * torch.eye(len(keep), dtype=torch.float64)
        result = torch.linalg.solve(inside, moment[keep]).T.contiguous()
    result[keep] = torch.eye(len(keep), dtype=torch.float64)
    return result


def _explained(moment: Tensor, keep: Tensor) -> float:
    inside = moment[keep][:, keep]
    inside = inside + RIDGE * inside.diagonal().mean() * torch.eye(len(keep), dtype=torch.float64)
    fitted = (moment[keep] * torch.linalg.solve(inside, moment[keep])).sum()
    return float(fitted / moment.diagonal().sum())


def _convolution(network: Crepe, number: int) -> nn.Conv2d:
    module = network.get_submodule(f"conv{number}")
    assert isinstance(module, nn.Conv2d)
    return module


def _normalization(network: Crepe, number: int) -> nn.BatchNorm2d:
    module = network.get_submodule(f"conv{number}_BN")
    assert isinstance(module, nn.BatchNorm2d)
    return module
