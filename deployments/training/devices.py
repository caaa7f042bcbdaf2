"""Where a task computes: on a GPU where Ray has given one, else on the CPU."""

import torch

from deployments.training.private import Options


def device_here() -> torch.device:
    """The GPU that this process may use, if there is one. Ray hides all others from it."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def options_here() -> Options:
    """The defaults, on that device."""
    return Options(device=device_here())
