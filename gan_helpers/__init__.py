"""Data, models, losses and training for generative adversarial networks, many seeds at once."""

from gan_helpers.claims import ClaimError, claim
from gan_helpers.device import default_device
from gan_helpers.ensemble import Ensemble
from gan_helpers.history import History, NonFiniteLossError
from gan_helpers.options import Checkpointing, Turns, Watch
from gan_helpers.randomness import Stream, base_seed
from gan_helpers.training import adam, train

__all__ = [
    "Checkpointing",
    "ClaimError",
    "Ensemble",
    "History",
    "NonFiniteLossError",
    "Stream",
    "Turns",
    "Watch",
    "adam",
    "base_seed",
    "claim",
    "default_device",
    "train",
]
