"""The LightningModule, its callbacks and the way a run is trained."""
