"""The steps of a training, as Lightning calls them."""

from collections.abc import Sequence
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

from genre.config import FeatureConfig, TrainConfig
from genre.dataset import Loader, Order, Pictures
from genre.features import resize
from genre.frozen import FrozenFeatures
from genre.model import GenreNet


class Fit(lightning.LightningModule):
    """The steps: cross-entropy of the genres.

    Args:
        network: What is trained.
        config: How.
        features: For the size of the pictures.
        training: Pictures, or outputs of the frozen stages.
        validation: Likewise.
        batch_size: Tracks a step, on each device.
    """

    def __init__(
        self,
        network: GenreNet,
        config: TrainConfig,
        features: FeatureConfig,
        training: Pictures | FrozenFeatures,
        validation: Pictures | FrozenFeatures,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.network, self.config, self.features = network, config, features
        self.training_set, self.validation_set, self.batch_size = training, validation, batch_size
        self.resumed_at = (0, 0)
        trained = network.features[network.frozen_stages :].modules()
        self._norms = [(part, part.momentum or 0.0) for part in trained if isinstance(part, nn.BatchNorm2d)]

    def train_dataloader(self) -> Loader:
        """Batches of this process."""
        self._order = Order(
            len(self.training_set),
            self.batch_size,
            seed=self.config.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        self._order.resume(*self.resumed_at)
        return self._loader(self.training_set, self._order)

    def on_train_epoch_start(self) -> None:
        """Another order; Lightning tells only the samplers that it knows."""
        self._order.set_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Make the running statistics of BatchNorm those of the epoch, for a network from scratch.

        With a constant momentum of 0.1, the initial variance of 1 still has a weight of 4 % after 30 batches.
        Deep in a network that is trained from scratch the activations are far smaller than that, and in
        evaluation nothing of them would be left. So the first batches of an epoch are averaged. Weights that
        come with statistics keep them.
        """
        if self.config.weights == "none":
            for norm, momentum in self._norms:
                norm.momentum = max(momentum, 1 / (batch_idx + 1))

    def val_dataloader(self) -> Loader:
        """All validation tracks, on every process: what they compute is then the same."""
        return self._loader(
            self.validation_set, Order(len(self.validation_set), self.batch_size, is_shuffled=False)
        )

    def _loader(self, dataset: Pictures | FrozenFeatures, order: Order) -> Loader:
        on_gpu = self.device.type == "cuda"
        return Loader(dataset, order, self.config.num_workers, pin_memory=on_gpu)

    def logits(self, batch: Tensor, dataset: Pictures | FrozenFeatures) -> Tensor:
        """Of a batch of a data set, whichever of the two kinds that is."""
        if isinstance(dataset, FrozenFeatures):
            stored = batch.to(memory_format=torch.channels_last).float()
            return self.network.classify(stored)
        return cast("Tensor", self.network(resize(batch, self.features)))

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Loss of one batch."""
        loss = functional.cross_entropy(self.logits(batch[0], self.training_set), batch[1])
        self.log("loss", loss, batch_size=len(batch[1]))
        return loss

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        """Loss and accuracy."""
        logits = self.logits(batch[0], self.validation_set).float()
        hits = (logits.argmax(dim=1) == batch[1]).float().mean()
        self.log("val_loss", functional.cross_entropy(logits, batch[1]), batch_size=len(batch[1]))
        self.log("val_accuracy", hits, batch_size=len(batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on what is not frozen; `genre.train_callbacks.Keeper` sets the learning rate."""
        parameters = [value for value in self.network.parameters() if value.requires_grad]
        return torch.optim.AdamW(parameters, lr=self.config.lr, weight_decay=self.config.weight_decay)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave the optimizer's state behind if that is wanted."""
        if not self.config.load_optimizer_state:
            checkpoint["optimizer_states"] = []
