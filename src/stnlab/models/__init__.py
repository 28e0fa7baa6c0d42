"""torch.nn only: backbones, localizers, spatial transformers and the network they make. No Lightning, no data."""
