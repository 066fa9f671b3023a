"""What decided the genre of a recording: stems by Shapley values, and maps of each window.

A stem is silenced in the recording, before the features: the network sees what it would see of a recording in
which that stem does not sound. With the dB reference `common` the other stems then count from the loudest
value among those that are left. Zeros in the standardised picture would be something else: a stem at the
mean level of the training tracks.
"""

from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from audio_io.errors import ConfigError
from genre.config import STEMS
from genre.explain.config import ExplainConfig
from genre.explain.maps import cell_of, cell_of_frames, gradcam, integrated_gradients, log_odds, stride_of
from genre.explain.shapley import ALL, SUBSETS, occlusion, shapley
from genre.features import mel_power, picture, to_decibels
from genre.predict import Predictor, window_starts


@dataclass(frozen=True)
class Deletion:
    """What deleting places of the map does to the probability of the genre, the mean over the windows.

    Attributes:
        marked: By how much it falls when the places that the map marks most are silenced.
        random: By how much when as large a part of the map is silenced at random.
        loudest: By how much when it is the loudest part, a choice that knows nothing of the network.
    """

    marked: float
    random: float
    loudest: float


@dataclass(frozen=True)
class WindowMap:
    """Where each stem counted in one window.

    Attributes:
        cells: Share of the log-odds of the genre in nats, `[4, h, w]`: stems, mel bands from low to high,
            time.
        error: What the sum of the cells misses of the effect of the sound, in nats.
    """

    cells: Tensor
    error: float


@dataclass(frozen=True)
class Explanation:
    """Why the network says what it says about a recording.

    Attributes:
        labels: Names of the genres.
        genre: The index of the genre that is explained.
        starts: Where the windows begin, in s.
        log_shares: log p of each window, for each subset of stems, of each genre, `[W, 16, C]`, in float64.
        log_odds: log p / (1 - p) of the same.
        maps: Of each window; empty if no maps were asked for.
        deletion: The check of the maps; None if there are none.
    """

    labels: tuple[str, ...]
    genre: int
    starts: tuple[float, ...]
    log_shares: Tensor
    log_odds: Tensor
    maps: tuple[WindowMap, ...]
    deletion: Deletion | None

    @property
    def probabilities(self) -> Tensor:
        """Of the vote, for each subset of stems: the means over the windows, `[16, C]`."""
        return self.log_shares.exp().mean(dim=0)

    @property
    def vote(self) -> Tensor:
        """Log-odds of the vote, for each subset of stems, `[16, C]`, in nats."""
        # log p - log(1 - p) of means, each added up in the log domain: neither vanishes.
        against = self.log_shares - self.log_odds
        return self.log_shares.logsumexp(dim=0) - against.logsumexp(dim=0)

    def of_stems(self, unit: str = "log_odds", window: int | None = None) -> Tensor:
        """Shapley values of the stems for every genre.

        Args:
            unit: `log_odds` in nats, or `probability`.
            window: Its number; None for the vote over all.

        Shape:
            - output: `[4, C]`; the sum over the stems is what all of them together change
        """
        return shapley(self._values(unit, window))

    def of_silenced(self, unit: str = "log_odds", window: int | None = None) -> Tensor:
        """What silencing each stem alone takes away; see `of_stems`."""
        return occlusion(self._values(unit, window))

    def _values(self, unit: str, window: int | None) -> Tensor:
        if unit == "probability":
            return self.probabilities if window is None else self.log_shares[window].exp()
        return self.vote if window is None else self.log_odds[window]

    @property
    def label(self) -> str:
        """The genre that is explained."""
        return self.labels[self.genre]

    @property
    def decisive(self) -> str:
        """The stem with the greatest Shapley value of the genre's log-odds."""
        return STEMS[int(self.of_stems()[:, self.genre].argmax())]

    def finding(self) -> str:
        """The genre, its probability, and the Shapley values of its log-odds, the greatest first."""
        values = self.of_stems()[:, self.genre]
        order = values.argsort(descending=True).tolist()
        parts = ", ".join(f"{STEMS[stem]} {float(values[stem]):+.2f}" for stem in order)
        return f"{self.label} {float(self.probabilities[ALL, self.genre]):.3f}: {parts} nats"


class Explainer:
    """Explains what a predictor says.

    Args:
        predictor: From `genre.predict`; windows overlap as there.
        config: What is explained, and how.

    Raises:
        ConfigError: If the genre is none of the network's, there is only one, or the network was trained
            without separation, so that its channels are no stems.
    """

    def __init__(self, predictor: Predictor, config: ExplainConfig | None = None) -> None:
        self.predictor = predictor
        self.config = ExplainConfig() if config is None else config
        labels = predictor.checkpoint.labels
        if self.config.genre is not None and self.config.genre not in labels:
            raise ConfigError("genre", repr(self.config.genre), "one of " + ", ".join(labels))
        if len(labels) < 2:
            raise ConfigError("labels", f"one genre, {labels[0]}", "at least two: there is nothing to decide")
        if "none" in (predictor.separation.separator, predictor.checkpoint.separation.separator):
            raise ConfigError("separator", "none: all four channels are the mixture", "demucs or stems")
        # Gradients are of pixels; Grad-CAM has the cells of the last feature map.
        fine = self.config.maps == "gradients"
        self._stride = self.config.cell_size if fine else stride_of(predictor.network.features)

    def explain(self, source: str | Path) -> Explanation:
        """Explain a recording.

        Args:
            source: A sound file or a folder of ready-made stems.

        Raises:
            AudioError: If it cannot be used.
            WeightsNotFoundError: If Demucs is needed and its weights cannot be had.
        """
        return self.explain_stems(self.predictor.read_stems(source))

    def explain_stems(self, stems: Tensor) -> Explanation:
        """Explain stems at the rate of the features.

        Args:
            stems: In the order of `genre.config.STEMS`, full scale ±1.

        Shape:
            - stems: `[4, N]`
        """
        predictor, features = self.predictor, self.predictor.checkpoint.features
        labels = predictor.checkpoint.labels
        if self.config.genre is not None:
            genre = labels.index(self.config.genre)
        else:
            genre = int(predictor.predict_stems(stems).probabilities.argmax())
        starts = window_starts(stems.shape[-1], features, predictor.config.window_overlap)
        logits, maps, falls = [], [], []
        for number, start in enumerate(starts):
            power = mel_power(stems[:, start : start + features.samples], features)
            activations = self._activations(SUBSETS[..., None, None] * power)
            logits.append(self._head(activations.mean(dim=(2, 3))).detach().double())
            if self.config.maps == "none":
                continue
            maps.append(self._map(power, activations, genre))
            falls.append(self._deletion(power, maps[-1].cells, genre, logits[-1][ALL], seed=number))
        stacked = torch.stack(logits)
        return Explanation(
            labels=labels,
            genre=genre,
            starts=tuple(start / features.sample_rate for start in starts),
            log_shares=stacked.log_softmax(dim=-1),
            log_odds=log_odds(stacked),
            maps=tuple(maps),
            deletion=Deletion(*(fmean(column) for column in zip(*map(astuple, falls), strict=True)))
            if falls
            else None,
        )

    def cells(self) -> tuple[Tensor, Tensor]:
        """The row of cells of each mel band of a window, and the column of each of its frames."""
        features = self.predictor.checkpoint.features
        size = (features.n_mels, features.frames)
        pixels = size if features.image == "native" else (features.image_size,) * 2
        rows, columns = (cell_of_frames(n, p, self._stride) for n, p in zip(size, pixels, strict=True))
        return rows, columns

    def _pictures(self, power: Tensor) -> Tensor:
        checkpoint = self.predictor.checkpoint
        db = to_decibels(power, checkpoint.features.reference)
        return picture(db, checkpoint.statistics, checkpoint.features)

    def _activations(self, power: Tensor) -> Tensor:
        """The last feature map of mel bands of power, `[n, 4, n_mels, T]` to `[n, K, h, w]`, on the CPU."""
        network, batch = self.predictor.network, self.predictor.config.window_batch
        frozen = network.frozen_stages
        parts = []
        with torch.inference_mode():
            for first in range(0, len(power), batch):
                pictures = self._pictures(power[first : first + batch]).to(self.predictor.device)
                parts.append(network.features[frozen:](network.freeze(pictures)).float().cpu())
        return torch.cat(parts).clone()  # so that autograd may see it

    def _head(self, means: Tensor) -> Tensor:
        """Logits of means over the last feature map, `[n, K]` to `[n, C]`, on the CPU."""
        network = self.predictor.network
        logits: Tensor = (
            network.head(means.to(self.predictor.device)).float().cpu()
            / self.predictor.checkpoint.temperature
        )
        return logits

    def _map(self, power: Tensor, activations: Tensor, genre: int) -> WindowMap:
        if self.config.maps == "gradcam":
            return WindowMap(*gradcam(activations, lambda means: log_odds(self._head(means))[:, genre]))
        both = self._pictures(torch.stack([torch.zeros_like(power), power]))

        def value(pictures: Tensor) -> Tensor:
            x = pictures.to(self.predictor.device).contiguous(memory_format=torch.channels_last)
            logits = self.predictor.network.plain_forward(x).float().cpu()
            return log_odds(logits / self.predictor.checkpoint.temperature)[:, genre]

        cells, error = integrated_gradients(
            both[1],
            both[0],
            value,
            cell_of(both.shape[-2], self._stride),
            cell_of(both.shape[-1], self._stride),
            steps=self.config.gradient_steps,
            # A CPU is no faster with more, and each takes a gigabyte at 600 x 600.
            batch=1 if self.predictor.device.type == "cpu" else self.predictor.config.window_batch,
        )
        return WindowMap(cells, error)

    def _deletion(self, power: Tensor, cells: Tensor, genre: int, logits: Tensor, *, seed: int) -> Deletion:
        """What the probability loses without the marked places, and without others; see `Deletion`."""
        rows, columns = self.cells()
        columns = columns[: power.shape[-1]]  # the rest is padding
        area = torch.bincount(rows, minlength=cells.shape[1])[:, None] * torch.bincount(
            columns, minlength=cells.shape[2]
        )
        area = area.expand_as(cells).flatten().double()
        sounding = area.nonzero().flatten()
        generator = torch.Generator().manual_seed(self.config.seed * 1000003 + seed)
        # By what a place holds, not by what a cell does: those at the edge are smaller.
        level = torch.zeros(*cells.shape[:2], power.shape[-1], dtype=torch.float64)
        db = to_decibels(power, self.predictor.checkpoint.features.reference).double()
        level = torch.zeros_like(cells).index_add(2, columns, level.index_add(1, rows, db))
        totals = torch.stack([cells, level]).flatten(1)[:, sounding]
        orders = list((totals / area[sounding]).argsort(dim=1, descending=True))
        orders += [torch.randperm(len(sounding), generator=generator) for _ in range(self.config.deletions)]
        kept = []
        for order in orders:
            chosen = sounding[order]
            within = area[chosen].cumsum(dim=0) <= self.config.deleted_share * area.sum()
            within[0] = True  # where one cell is more than the share
            keep = torch.ones(len(area), dtype=torch.bool)
            keep[chosen[within]] = False
            kept.append(keep.reshape(cells.shape)[:, rows][:, :, columns])
        activations = self._activations(torch.stack(kept) * power)
        after = self._head(activations.mean(dim=(2, 3))).detach().double().softmax(dim=1)[:, genre]
        falls = logits.softmax(dim=0)[genre] - after
        return Deletion(float(falls[0]), float(falls[2:].mean()), float(falls[1]))
