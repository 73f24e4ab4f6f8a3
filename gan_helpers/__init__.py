"""Data, models, losses and training for generative adversarial networks, many seeds at once."""
