import numpy as np
import pytest
import torch

from mri2speech.acoustic.config import LossConfig
from mri2speech.acoustic.loss import MaskedMSEMAE


def reference(p, t, mask, step, ramp_steps=120_000, share=0.5):
    """The brief's terms one element at a time, in float64."""
    ramp = 1.0 if step is None else min(1.0, step / ramp_steps)
    target = [2.0] * 6 + [3.0] * 10 + [2.4] * 16 + [1.6] * 16 + [1.8] * 16
    band = [1 + ramp * (w - 1) for w in target]
    time = [1 + ramp * (1.6 - i * (1.6 - 1.02) / 7 - 1 if i < 8 else 0.0) for i in range(p.shape[1])]
    sums = {name: [0.0, 0.0] for name in ("mse", "mae", "delta", "accel", "latest")}

    def add(name, value, weight):
        sums[name][0] += weight * value
        sums[name][1] += weight

    for b in range(p.shape[0]):
        frames = [t_ for t_ in range(p.shape[1]) if mask[b, t_].any()]
        for m in range(64):
            e = [p[b, i, m] - t[b, i, m] for i in range(p.shape[1])]
            ok = mask[b, :, m]
            for i in range(p.shape[1]):
                if ok[i]:
                    add("mse", e[i] ** 2, band[m] * time[i])
                    add("mae", abs(e[i]), band[m] * time[i])
                if i >= 1 and ok[i] and ok[i - 1]:
                    add("delta", (e[i] - e[i - 1]) ** 2, band[m])
                if i >= 2 and ok[i] and ok[i - 1] and ok[i - 2]:
                    add("accel", (e[i] - 2 * e[i - 1] + e[i - 2]) ** 2, band[m])
            if frames and ok[frames[-1]]:
                add("latest", e[frames[-1]] ** 2, band[m])
    means = {name: total / weight if weight else 0.0 for name, (total, weight) in sums.items()}
    total = (1 - share) * means["mse"] + share * means["mae"]
    total += (0.3 + 0.15 * ramp) * means["delta"] + (0.1 + 0.05 * ramp) * means["accel"]
    total += (0.2 + 0.2 * ramp) * means["latest"]
    return total, means


def batch(frames, seed=0, holes=False):
    rng = np.random.default_rng(seed)
    p, t = rng.normal(size=(2, 3, frames, 64))
    mask = np.ones((3, frames, 64), dtype=bool)
    if holes:
        mask[1, frames // 2 :] = False
        mask[0, 0] = False
        mask[2] = rng.random((frames, 64)) < 0.7
    return p, t, mask


@pytest.mark.parametrize("step", [0, 30_000, 500_000, None])
@pytest.mark.parametrize(("frames", "holes"), [(4, False), (12, False), (12, True), (2, True)])
def test_every_term_equals_the_reference_in_float64(frames, holes, step):
    p, t, mask = batch(frames, holes=holes)
    expected, means = reference(p, t, mask, step)
    found = MaskedMSEMAE()(torch.from_numpy(p), torch.from_numpy(t), torch.from_numpy(mask), step)
    assert found.total.item() == pytest.approx(expected, rel=1e-5)
    for name, value in means.items():
        assert getattr(found, name).item() == pytest.approx(value, rel=1e-5), name
    error = np.where(mask, np.abs(p - t), 0)
    edges = {"F0": (0, 6), "F1": (6, 16), "F2": (16, 32), "F3": (32, 48), "top": (48, 64)}
    for name, (a, b) in edges.items():
        mae = error[..., a:b].sum() / mask[..., a:b].sum()
        assert found.bands[name].item() == pytest.approx(mae, rel=1e-5)


def test_what_is_masked_has_no_influence_on_value_or_gradient():
    p, t, mask = (torch.from_numpy(x) for x in batch(6, holes=True))
    loss, results = MaskedMSEMAE(), []
    for junk in (0.0, 1e6, float("nan")):
        predicted = p.clone().requires_grad_()
        terms = loss(predicted, torch.where(mask, t, junk), mask, 1000)
        terms.total.backward()
        results.append((terms.total.detach(), predicted.grad))
        assert (predicted.grad[~mask] == 0).all()
        assert (predicted.grad[mask] != 0).all()
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    torch.testing.assert_close(results[0], results[2], rtol=0, atol=0)
    whole = mask[..., :1].expand_as(mask)
    torch.testing.assert_close(loss(p, t, whole).total, loss(p, t, mask[..., 0]).total, rtol=0, atol=0)


def test_a_batch_without_a_valid_frame_is_zero():
    predicted = torch.randn(2, 4, 64, requires_grad=True)
    terms = MaskedMSEMAE()(predicted, torch.zeros(2, 4, 64), torch.zeros(2, 4, dtype=torch.bool), 0)
    terms.total.backward()
    assert terms.total.item() == 0.0
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


def test_an_error_of_one_everywhere_costs_the_same_along_the_ramp():
    loss = MaskedMSEMAE(LossConfig(latest_from=0.0, latest_to=0.0))
    target, mask = torch.zeros(1, 9, 64), torch.ones(1, 9, dtype=torch.bool)
    for step in (0, 60_000, None):
        assert loss(target + 1, target, mask, step).total.item() == pytest.approx(1.0, rel=1e-6)


def test_bands_move_in_proportion_to_the_number_of_mels():
    assert MaskedMSEMAE(n_mels=80).slices["F1"] == slice(8, 20)
    assert [part.stop for part in MaskedMSEMAE(n_mels=32).slices.values()] == [3, 8, 16, 24, 32]
