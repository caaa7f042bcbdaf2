"""Fits an autoencoder privately (a TVAE after Xu et al. 2019, trained as in Abadi et al. 2016) and keeps its decoder.

Encoder and decoder are one private module, so each row's gradient of both is clipped as one. The loss of a row is the
cross entropy of its columns and the weighted divergence of its latent numbers from the prior; there is no scale to
learn. Unlike in Xu et al. each column's head also sees the columns before it, so that what two columns have in common
need not pass through the latent numbers.
"""

import numpy as np
import torch
from torch import Tensor, nn

from deployments.synthesis.conditions import Shares, release_shares, starts_of
from deployments.synthesis.learner import (
    Checkpoint,
    Learner,
    Progress,
    StoppedError,
    check_table,
    one_hot,
    shares_from_state,
    shares_to_state,
)
from deployments.synthesis.networks import NetworkPlan, TvaeSettings
from deployments.synthesis.sampling import seen_by_heads
from deployments.synthesis.table import Table
from deployments.synthesis.tvae_model import TvaeModel
from deployments.training.private import Options, PrivateOptimisation, entropy_generator

_LEAST_LOG, _MOST_LOG = -6.0, 4.0
"""Within which the logarithm of a latent number's variance is kept."""


class Autoencoder(nn.Module):
    """Encoder and decoder. Only `hidden` and `heads` are the decoder's."""

    def __init__(self, sizes: tuple[int, ...], hidden: int, latent: int) -> None:
        """Makes one whose heads see nothing of earlier columns yet."""
        super().__init__()
        self.sizes, self.seen = sizes, seen_by_heads(sizes)
        self.encoder = nn.Linear(sum(sizes), hidden)
        self.moments = nn.Linear(hidden, 2 * latent)
        self.hidden = nn.Linear(latent, hidden)
        heads = [nn.Linear(hidden + start - first, size) for size, (first, start) in zip(sizes, self.seen, strict=True)]
        for head in heads:
            nn.init.zeros_(head.weight[:, hidden:])
        self.heads = nn.ModuleList(heads)

    def start_from(self, shares: Shares) -> None:
        """Makes each column's shares the released ones, about."""
        with torch.no_grad():
            for at, share in enumerate(shares):
                self.get_parameter(f"heads.{at}.bias").copy_(torch.from_numpy(np.log(share)))

    def forward(self, rows: Tensor, noise: Tensor, weight: float) -> Tensor:
        """The loss of each row.

        Args:
            rows: One-hot codes of all columns side by side.
            noise: Normal numbers, of shape (rows, latent).
            weight: Of the divergence.
        """
        mean, log_variance = self.moments(torch.relu(self.encoder(rows))).chunk(2, dim=1)
        log_variance = log_variance.clamp(_LEAST_LOG, _MOST_LOG)
        hidden = torch.relu(self.hidden(mean + noise * (log_variance / 2).exp()))
        loss: Tensor = weight / 2 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        for head, size, (first, start) in zip(self.heads, self.sizes, self.seen, strict=True):
            logits = head(torch.cat([hidden, rows[:, first:start]], dim=1))
            loss = loss - (rows[:, start : start + size] * logits.log_softmax(dim=1)).sum(dim=1)
        return loss


def fit(
    table: Table,
    plan: NetworkPlan,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> TvaeModel:
    """Trains for the steps of the plan. Every call is one release of `plan.event`: charge each.

    Args:
        table: The private rows.
        plan: Of `networks.tvae_plan`, for the table's schema and number of rows.
        options: How it is done; nothing of what it costs.
        progress: Told of every step.
        checkpoint: Keeps the run; where it has one already, the run goes on from there and releases nothing again.

    Raises:
        InvalidValueError: If the plan is for another table, or the checkpoint for another network.
        PricingDisagreementError: If OpenDP cannot confirm the price of the counts.
        StoppedError: If `progress` asked for it.
    """
    check_table(table, plan, TvaeSettings.kind)
    settings, recipe, sizes = plan.settings, plan.recipe, table.schema.sizes
    assert isinstance(settings, TvaeSettings)
    assert settings.learning_rate is not None
    divergence, latent, options = settings.divergence, settings.latent, options or Options()
    device = options.device
    module = Autoencoder(sizes, settings.hidden, latent)
    kept = checkpoint.load() if checkpoint is not None else None
    done, shares = 0, None
    if kept is not None:
        done, shares = int(kept["done"]), shares_from_state(kept, len(sizes))
    else:
        shares = release_shares(table, recipe.records, plan.counts, plan.delta)
        module.start_from(shares)
    learner = Learner(module.to(device), settings.learning_rate, recipe.steps)
    if kept is not None:
        learner.load("network", kept)
        learner.set_rate(done)
    optimisation = PrivateOptimisation(module, learner.optimizer, recipe, options, done=done)
    places = torch.from_numpy(table.codes + starts_of(sizes)).to(device)
    noise = entropy_generator(device)

    def loss_of(drawn: Tensor, beside: int) -> Tensor:
        rows = one_hot(places[drawn], sum(sizes))
        normal = torch.randn((len(rows), latent), generator=noise, device=device)
        losses: Tensor = optimisation.module(rows, normal, divergence)
        return losses

    stopped = False

    def after_step(done: int) -> bool:
        nonlocal stopped
        learner.follow(done)
        if checkpoint is not None and checkpoint.due(done):
            checkpoint.save(done, {"done": torch.tensor(done), **shares_to_state(shares), **learner.state("network")})
        stopped = progress is not None and progress(done)
        return stopped

    optimisation.run(loss_of, after_step)
    if stopped:
        raise StoppedError(f"stopped after {optimisation.done} of {recipe.steps} steps")
    decoder = {
        name: tensor.detach().cpu().numpy()
        for name, tensor in learner.averaged().state_dict().items()
        if name.startswith(("hidden.", "heads."))
    }
    return TvaeModel(plan, decoder).calibrated(shares, np.random.default_rng())
