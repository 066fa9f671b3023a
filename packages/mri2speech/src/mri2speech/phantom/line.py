"""The vocal tract as a transmission line in the time domain.

After Maeda, "A digital simulation method of the vocal-tract system", Speech Communication 1 (1982): every
tube is a mass and a compliance, the equations are integrated by the trapezoidal rule, and the tridiagonal
system of each sample is solved exactly, so areas and lengths may differ from tube to tube and change with
time. Walls, losses and the mouth's radiation are those of `tube`. The nose is a side branch behind the velum.

The rate is eight times that of the speech: the trapezoidal rule bends a resonance at 4 kHz by 0.6 %.
"""

import numba
import numpy as np
import numpy.typing as npt

from mri2speech.phantom.tube import (
    DENSITY,
    LOSS,
    SOUND_SPEED,
    WALL_COUPLING,
    WALL_DAMPING,
    WALL_STIFFNESS,
)

Samples = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

OVERSAMPLING = 8
GLOTTIS_RESISTANCE = 500.0  # g/(s cm4), what the glottis lets leak back
UPDATE = 15  # samples between new coefficients
# From the velum to the nostrils, 11 cm: a smooth rendering of the areas that Dang, Honda & Suzuki, JASA 96
# (1994), measured, both sides together. The first tube's area is that of the port.
NOSE = np.array([0.0, 1.2, 2.2, 3.2, 4.0, 4.2, 3.8, 3.2, 2.6, 2.0, 1.5, 1.1])  # cm2
NOSE_LENGTH = 11.0 / 12  # cm
NOSE_LOSS = 5.0  # relative to the mouth: its walls are many


def simulate(
    area: Samples,
    lengths: Samples,
    port: Samples,
    junction: int,
    flow: Samples,
    noise: Samples,
    place: Indices,
    rate: float,
) -> Samples:
    """Sound pressure in front of mouth and nose, up to a factor.

    Args:
        area: In cm2, at K moments that are evenly spread over the N samples.
        lengths: Of the tubes in cm.
        port: Area of the opening to the nose in cm2.
        junction: Tube from which the nose branches off.
        flow: Flow through the glottis in cm3/s.
        noise: Pressure of turbulence in dyn/cm2.
        place: Tube at whose end the turbulence is.
        rate: Samples a second.

    Shape:
        - area, lengths: `[K, S]`
        - port, place: `[K]`
        - flow, noise: `[N]`
        - output: `[N]`
    """
    return np.asarray(_simulate(area, lengths, port, junction, flow, noise, place, 1.0 / rate))


@numba.njit(cache=True)
def _simulate(  # noqa: PLR0912, PLR0915 - one compiled loop, without calls that would cost its speed
    area: Samples,
    lengths: Samples,
    port: Samples,
    junction: int,
    flow: Samples,
    noise: Samples,
    place: Indices,
    dt: float,
) -> Samples:
    moments, oral = area.shape
    nasal = len(NOSE)
    total = oral + nasal  # the nose's nodes follow the mouth's
    h = dt / 2
    p, u, q, z = np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total)
    a, size = np.empty(total), np.empty(total)
    store, keep, wall = np.empty(total), np.empty(total), np.empty(total)
    conductance, momentum, inverse = np.empty(total), np.empty(total), np.empty(total)
    known, source = np.empty(total), np.empty(total)
    mouth_v, mouth_u = np.zeros(2), np.zeros(2)  # pressure and mass flow of the two radiating ends
    mouth_r, mouth_m, end_r = np.empty(2), np.empty(2), np.empty(2)
    bottom = 1 + WALL_DAMPING * h + WALL_STIFFNESS * h * h
    out = np.empty(len(flow))
    before, glottis, where = 0.0, 0.0, 0
    for n in range(len(flow)):
        if n % UPDATE == 0:
            at = min(n * (moments - 1.0) / max(len(flow) - 1, 1), moments - 1.000001)
            k = int(at)
            part = at - k
            where = place[k]
            for i in range(oral):
                a[i] = (1 - part) * area[k, i] + part * area[k + 1, i]
                size[i] = (1 - part) * lengths[k, i] + part * lengths[k + 1, i]
            gate = (1 - part) * port[k] + part * port[k + 1]
            for i in range(nasal):
                a[oral + i] = max(min(NOSE[i], 1e9) if i else gate, 1e-4)
                size[oral + i] = NOSE_LENGTH
            for i in range(total):
                loss = LOSS * (NOSE_LOSS if i >= oral else 1.0)
                compliance = a[i] * size[i] / (DENSITY * SOUND_SPEED * SOUND_SPEED)
                wall[i] = compliance * WALL_COUPLING
                leak = compliance * loss + (1 / GLOTTIS_RESISTANCE if i == 0 else 0.0)
                store[i] = 2 * compliance / dt - leak
                inverse[i] = 2 * compliance / dt + leak + wall[i] * h / bottom
                mass = DENSITY * size[i] / (2 * a[i])
                end = i == oral - 1 or i == total - 1
                if not end:
                    mass += DENSITY * size[i + 1] / (2 * a[i + 1])
                resistance = mass * loss
                extra = 0.0
                if end:
                    side = 0 if i == oral - 1 else 1
                    mouth_r[side] = 128 * DENSITY * SOUND_SPEED / (9 * np.pi**2 * a[i])
                    mouth_m[side] = 8 * DENSITY / (3 * np.pi * np.sqrt(np.pi * a[i]))
                    end_r[side] = mouth_r[side] / (1 + mouth_r[side] * h / mouth_m[side])
                    extra = end_r[side]
                conductance[i] = 1 / (2 * mass / dt + resistance + extra)
                momentum[i] = 2 * mass / dt - resistance
            # The flow from the junction into the nose passes half a tube of each.
            mass = DENSITY * (size[junction] / (2 * a[junction]) + size[oral] / (2 * a[oral]))
            gate_g = 1 / (2 * mass / dt + mass * LOSS)
            gate_m = 2 * mass / dt - mass * LOSS
            # Elimination from the ends to the glottis; only its diagonal is needed later.
            for i in range(total - 1, oral - 1, -1):
                inverse[i] += conductance[i] + (conductance[i - 1] if i > oral else gate_g)
                if i < total - 1:
                    inverse[i] -= conductance[i] ** 2 * inverse[i + 1]
                inverse[i] = 1 / inverse[i]
            for i in range(oral - 1, -1, -1):
                inverse[i] += conductance[i] + (conductance[i - 1] if i > 0 else 0.0)
                if i < oral - 1:
                    inverse[i] -= conductance[i] ** 2 * inverse[i + 1]
                if i == junction:
                    inverse[i] += gate_g - gate_g**2 * inverse[oral]
                inverse[i] = 1 / inverse[i]
            if n == 0:
                gate_u = 0.0
        for side in range(2):
            i = oral - 1 if side == 0 else total - 1
            keep[side] = mouth_u[side] + h * mouth_v[side] / mouth_m[side]
            known[i] = conductance[i] * (p[i] - mouth_v[side] + end_r[side] * keep[side] + momentum[i] * u[i])
        for i in range(total - 1):
            if i != oral - 1:
                push = 2 * noise[n] if i == where else 0.0
                known[i] = conductance[i] * (p[i] - p[i + 1] + push + momentum[i] * u[i])
        gate_known = gate_g * (p[junction] - p[oral] + gate_m * gate_u)
        for i in range(total - 1, -1, -1):
            rest = (q[i] * (2 - bottom) + h * p[i] - 2 * WALL_STIFFNESS * h * z[i]) / bottom
            value = store[i] * p[i] - wall[i] * (q[i] + rest) - u[i] - known[i]
            if i == 0:
                value += flow[n] + glottis
            elif i == oral:
                value += gate_u + gate_known
            else:
                value += u[i - 1] + known[i - 1]
            if i == junction:
                value += gate_g * source[oral] * inverse[oral] - gate_u - gate_known
            if i not in (oral - 1, total - 1):
                value += conductance[i] * source[i + 1] * inverse[i + 1]
            source[i] = value
            # For now the part of the wall's movement that does not depend on the new pressure.
            z[i] += h * q[i]
            q[i] = rest
        glottis = flow[n]
        # Substitution from the glottis to the ends, and the new flows.
        for i in range(total):
            new = source[i]
            if i == oral:
                new += gate_g * p[junction]
            elif i > 0:
                new += conductance[i - 1] * p[i - 1]
            p[i] = new * inverse[i]
            q[i] += h / bottom * p[i]
            z[i] += h * q[i]
        for i in range(total):
            next_p = 0.0 if i in (oral - 1, total - 1) else p[i + 1]
            u[i] = conductance[i] * (p[i] - next_p) + known[i]
        gate_u = gate_g * (p[junction] - p[oral]) + gate_known
        sound = 0.0
        for side in range(2):
            i = oral - 1 if side == 0 else total - 1
            now = end_r[side] * (u[i] - keep[side])
            mouth_u[side] += h / mouth_m[side] * (now + mouth_v[side])
            mouth_v[side] = now
            sound += u[i]
        out[n] = (sound - before) / dt
        before = sound
    return out
