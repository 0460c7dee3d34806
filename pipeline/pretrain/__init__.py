"""The GPU stage: masked language model pretraining on the shards, with PyTorch alone."""
