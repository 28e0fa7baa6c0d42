"""For `startup`: a minimal Lightning script, from its imports to its first optimiser step."""

import os

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmark_cases.first_step import EndAfterFirstStep


class Classifier(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(1, 16, 9), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1600, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    transform = transforms.Compose([transforms.RandomRotation(90), transforms.ToTensor()])
    images = datasets.MNIST(os.environ.get("STNLAB_DATA", "data"), transform=transform)
    trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, callbacks=[EndAfterFirstStep()])
    trainer.fit(Classifier(), DataLoader(images, batch_size=256, shuffle=True))


if __name__ == "__main__":
    main()
