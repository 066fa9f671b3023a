"""Are the maps true? Tests of heat maps against the phantom's causes, and against the model itself.

Four tests, each for each band:

- agreement: on the phantom, the map against where the picture holds what the formant depends on, beside the
  maps of those who know less: where the film moves, the middle of the image, the map at a random place, and
  the map of another band;
- masking: how much the predicted band changes when the marked region is replaced, against random regions of
  the same size inside the head;
- insertion and deletion: the same for every share of the pixels;
- randomisation: whether the map changes when the model's weights are destroyed.

The first needs the phantom; the others work on any data set.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from audio_io.progress import Progress
from mri2speech.acoustic.model import AcousticModel
from mri2speech.features import Scaler
from mri2speech.gradcam.agreement import Bootstrap, agreement, rank_correlation
from mri2speech.gradcam.config import FORMANT_BANDS, FaithfulnessConfig, FormantBand, GradcamConfig
from mri2speech.gradcam.films import Film
from mri2speech.gradcam.maps import band_rows, enlarged, heat_maps
from mri2speech.gradcam.masking import Probe, blurred, body, curves, marked_region, random_heat, replaced
from mri2speech.gradcam.randomise import cascade
from mri2speech.gradcam.readout import evaluating
from mri2speech.phantom.scene import Region

Floats = npt.NDArray[np.float32]
EXAMPLES = 3  # frames that the page shows


@dataclass(frozen=True)
class Example:
    """A frame `[H, W]`, its maps and, of the phantom, its causes, by band."""

    film: str
    index: int
    frame: Floats
    heat: dict[str, Floats]
    causes: dict[str, Floats]


@dataclass
class _Record:
    """What was measured, a row for each frame, in lists of the same length."""

    film: list[int] = field(default_factory=list)
    agreement: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    masking: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    deletion: dict[tuple[str, str], list[npt.NDArray[np.float64]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    insertion: dict[tuple[str, str], list[npt.NDArray[np.float64]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    organs: dict[tuple[str, str], list[npt.NDArray[np.float64]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    randomised: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))


def examine(
    model: AcousticModel,
    films: Iterable[Film],
    scaler: Scaler,
    bands: Sequence[FormantBand] = FORMANT_BANDS,
    config: FaithfulnessConfig = FaithfulnessConfig(),  # noqa: B008 - frozen
    gradcam: GradcamConfig = GradcamConfig(),  # noqa: B008 - frozen
) -> tuple[dict[str, Any], list[Example]]:
    """Test the heat maps of a model.

    Args:
        model: In any mode, in which it is left.
        films: Of `phantom_films` or `data_films`.
        scaler: Of the model's mels.
        bands: F1, F2 and F3 are the names that the phantom knows the causes of.
        config: What is measured.
        gradcam: How the maps are made.

    Returns:
        The results as built-in types, and frames to show. Values stand with their 95 % intervals.

    Raises:
        ConfigError: As for `heat_maps`.
    """
    record, examples = _Record(), []
    rng = np.random.default_rng(config.seed)
    size: list[int] = []
    with evaluating(model), Progress("faithfulness", config.films, "films") as progress:
        for number, film in enumerate(films):
            maps = heat_maps(model, _tensor(film, model), bands, scaler, gradcam)
            size = list(next(iter(maps.values())).shape[1:])
            shape = (film.frames.shape[1], film.frames.shape[2])
            heat = {
                name: enlarged(values[film.chosen], shape, "frame").numpy() for name, values in maps.items()
            }
            probe = Probe(model, film.frames, scaler)
            for place in range(len(film.chosen)):
                record.film.append(number)
                here = {name: values[place] for name, values in heat.items()}
                _one_frame(record, film, place, here, probe, bands, scaler, config, rng)
            _randomised(record, film, maps, model, bands, scaler, config, gradcam)
            if number < EXAMPLES:
                causes = {name: values[0] for name, values in film.causes.items() if name in heat}
                first = int(film.chosen[0])
                shown = {name: values[0] for name, values in heat.items()}
                examples.append(Example(film.id, first, film.frames[first], shown, causes))
            progress.advance(1)
    settings = {"gradcam": asdict(gradcam), "test": asdict(config), "bands": list(map(str, bands))}
    counts = {"films": len(set(record.film)), "frames": len(record.film), "map": size}
    return {"settings": settings, **counts, **_summary(record, config)}, examples


def _tensor(film: Film, model: AcousticModel) -> torch.Tensor:
    return torch.from_numpy(film.frames).to(next(model.parameters()).device)


def _one_frame(
    record: _Record,
    film: Film,
    place: int,
    heat: dict[str, Floats],
    probe: Probe,
    bands: Sequence[FormantBand],
    scaler: Scaler,
    config: FaithfulnessConfig,
    rng: np.random.Generator,
) -> None:
    index = int(film.chosen[place])
    frame, mean = film.frames[index], film.frames.mean(0)
    motion, inside = film.frames.std(0), body(mean)
    shift = tuple(int(rng.integers(side)) for side in frame.shape)
    for band in bands:
        name, rows = band.name, band_rows(band, scaler.mel)
        ours = heat[name]
        guesses = {"map": ours, "movement of the film": motion}
        if name in film.causes:
            truth = film.causes[name][place]
            rivals = {
                **guesses,
                "middle of the image": _middle(frame.shape),
                "map at a random place": np.roll(ours, shift, (0, 1)),
                **{f"map of {other}": values for other, values in heat.items() if other != name},
            }
            for rival, values in rivals.items():
                for measure, value in agreement(values, truth, config.top).items():
                    record.agreement[name, rival, measure].append(value)
            guesses["cause"] = truth
            if film.organs is not None:
                for who, values in (("map", ours), ("cause", truth)):
                    record.organs[name, who].append(_shares(values, film.organs[place]))
        _masked(record, name, probe, index, frame, mean, guesses, inside, rows, config, rng)
        guesses["random order"] = random_heat(np.ones_like(inside), rng)
        for guess, values in guesses.items():
            empty = (lambda _: mean) if config.fill == "mean" else blurred
            gone, back = curves(probe, index, frame, values, rows, config.steps, empty, rng)
            record.deletion[name, guess].append(gone)
            record.insertion[name, guess].append(back)


def _masked(
    record: _Record,
    name: str,
    probe: Probe,
    index: int,
    frame: Floats,
    mean: Floats,
    guesses: dict[str, Floats],
    inside: npt.NDArray[np.bool_],
    rows: torch.Tensor,
    config: FaithfulnessConfig,
    rng: np.random.Generator,
) -> None:
    hot = [*guesses.values(), *(random_heat(inside, rng) for _ in range(config.random_regions))]
    pictures = [replaced(frame, marked_region(values, config.top), config.fill, mean) for values in hot]
    change = probe.change(index, pictures, rows)
    for guess, value in zip(guesses, change, strict=False):
        record.masking[name, guess].append(float(value))
    record.masking[name, "random"].append(float(change[len(guesses) :].mean()))


def _middle(shape: tuple[int, ...]) -> Floats:
    """A bell in the middle of the image, a quarter of it wide (standard deviation)."""
    rows, columns = (np.linspace(-2, 2, side, dtype=np.float32) for side in shape)
    return np.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2)


def _shares(heat: Floats, organs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """How much of the heat lies on each organ, `[organs]`."""
    total = np.bincount(organs.ravel(), weights=heat.ravel().astype(np.float64), minlength=len(Region))
    return np.asarray(total / max(float(total.sum()), 1e-12))


def _randomised(
    record: _Record,
    film: Film,
    maps: dict[str, torch.Tensor],
    model: AcousticModel,
    bands: Sequence[FormantBand],
    scaler: Scaler,
    config: FaithfulnessConfig,
    gradcam: GradcamConfig,
) -> None:
    for part, broken in cascade(model, config.seed):
        others = heat_maps(broken, _tensor(film, model), bands, scaler, gradcam)
        for name, values in others.items():
            for index in film.chosen:
                correlation = rank_correlation(maps[name][index].numpy(), values[index].numpy())
                record.randomised[name, part].append(correlation)


def _summary(record: _Record, config: FaithfulnessConfig) -> dict[str, Any]:
    bootstrap = Bootstrap(record.film, config.resamples, config.seed)
    results: dict[str, Any] = {
        "agreement": {},
        "organs": {},
        "masking": {},
        "curves": {},
        "randomisation": {},
    }
    for (band, rival, measure), values in record.agreement.items():
        row = results["agreement"].setdefault(band, {}).setdefault(rival, {})
        row[measure] = bootstrap.mean(values)
        if rival != "map":
            ours = np.array(record.agreement[band, "map", measure])
            row[f"{measure}_behind_map"] = bootstrap.mean(ours - np.array(values))
    for (band, who), shares in record.organs.items():
        mean = np.mean(shares, axis=0)
        names = {
            Region(place).name.lower().replace("_", " "): float(mean[place]) for place in range(len(mean))
        }
        results["organs"].setdefault(band, {})[who] = names
    for (band, guess), values in record.masking.items():
        row = results["masking"].setdefault(band, {}).setdefault(guess, {})
        row["change_db"] = bootstrap.mean(values)
        if guess != "random":
            row["ratio_to_random"] = bootstrap.ratio(values, record.masking[band, "random"])
    for (band, guess), deletion in record.deletion.items():
        insertion = record.insertion[band, guess]
        results["curves"].setdefault(band, {})[guess] = {
            "deletion": np.mean(deletion, axis=0).tolist(),
            "insertion": np.mean(insertion, axis=0).tolist(),
            # The change by the whole fill is 1, so that the area is a share.
            "deletion_area": bootstrap.statistic(_area, deletion, [rows[-1] for rows in deletion]),
            "insertion_area": bootstrap.statistic(_area, insertion, [rows[0] for rows in insertion]),
        }
    for (band, part), values in record.randomised.items():
        results["randomisation"].setdefault(band, {})[part] = bootstrap.mean(values)
    return results


def _area(curve: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> float:
    """Area under the mean curve `[N, steps + 1]`, relative to the mean change by the whole fill `[N]`."""
    mean = curve.mean(0)
    return float(((mean[1:] + mean[:-1]) / 2).mean() / max(float(whole.mean()), 1e-12))
