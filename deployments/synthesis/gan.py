"""Fits a conditional GAN privately (a CTGAN after Xu et al. 2019, trained as in Xie et al. 2018); keeps its generator.

The discriminator must stay ahead of the generator in spite of its noise (Bie et al. 2023): by a higher learning rate,
and where `turns` says so by more steps. Unlike in Xu et al. the generator draws column by column, each seeing those
before it, and the column of a condition has its value without being taught to.

Only the discriminator sees records. Each of its steps is one forward and one backward pass over records and made-up
rows together, and each is charged. The generator learns from a plain copy of it, so that nothing of a generator's step
can get into the discriminator's gradients, and from noise and released shares otherwise.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.synthesis.conditions import Shares, drawn_conditions, own_conditions, release_shares, starts_of
from deployments.synthesis.gan_model import GanModel
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
from deployments.synthesis.networks import GanSettings, NetworkPlan
from deployments.synthesis.sampling import seen_by_heads
from deployments.synthesis.table import Table
from deployments.training.private import Options, PrivateOptimisation, entropy_generator

_SLOPE = 0.2
_TEMPERATURE = 0.7
_INERTIA = 0.5
"""Two networks that chase each other circle with more of it (Radford et al. 2016)."""


class Generator(nn.Module):
    """From a condition and noise to rows of one-hot codes."""

    def __init__(self, shares: Shares, hidden: int, latent: int) -> None:
        """Makes one that starts with the released shares, about."""
        super().__init__()
        sizes = tuple(len(share) for share in shares)
        self.sizes, self.seen = sizes, seen_by_heads(sizes)
        self.width, self.latent = sum(sizes), latent
        self.layers = nn.ModuleDict({"1": nn.Linear(latent + self.width, hidden), "2": nn.Linear(hidden, hidden)})
        self.norms = nn.ModuleDict({"1": nn.LayerNorm(hidden), "2": nn.LayerNorm(hidden)})
        heads = [nn.Linear(hidden + start - first, size) for size, (first, start) in zip(sizes, self.seen, strict=True)]
        for head, share in zip(heads, shares, strict=True):
            nn.init.zeros_(head.weight[:, hidden:])
            with torch.no_grad():
                head.bias.copy_(torch.from_numpy(np.log(share)))
        self.heads = nn.ModuleList(heads)

    def forward(self, conditions: Tensor, noise: Tensor) -> Tensor:
        """Rows whose columns are drawn from their logits, with the gradient of a relaxed draw (Jang et al. 2017).

        Args:
            conditions: One-hot, of shape (rows, width).
            noise: Normal numbers, of shape (rows, latent).
        """
        units = torch.cat([noise, conditions], dim=1)
        for layer in ("1", "2"):
            units = torch.relu(self.norms[layer](self.layers[layer](units)))
        rows = units[:, :0]
        for head, size, (first, start) in zip(self.heads, self.sizes, self.seen, strict=True):
            logits = head(torch.cat([units, rows[:, first:start]], dim=1))
            own = conditions[:, start : start + size]
            drawn = functional.gumbel_softmax(logits, _TEMPERATURE, hard=True)
            rows = torch.cat([rows, torch.where(own.sum(dim=1, keepdim=True) > 0, own, drawn)], dim=1)
        return rows


def discriminator(width: int, hidden: int) -> nn.Module:
    """From a row and its condition, one-hot side by side, to a score. No layer mixes rows."""
    return nn.Sequential(
        nn.Linear(2 * width, hidden),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(hidden, 1),
    )


class Adversaries:
    """Both networks in training, and the rows that they see."""

    def __init__(self, table: Table, plan: NetworkPlan, shares: Shares, device: torch.device | str) -> None:
        """Makes both.

        Args:
            table: The private rows.
            plan: Of `networks.gan_plan`.
            shares: As released.
            device: Where they learn.
        """
        settings, steps = plan.settings, plan.recipe.steps
        assert isinstance(settings, GanSettings)
        self._table, self._shares, self._device = table, shares, device
        self._places = torch.from_numpy(table.codes + starts_of(table.schema.sizes)).to(device)
        self.random, self.noise = np.random.default_rng(), entropy_generator(device)
        self.generator = Generator(shares, settings.hidden, settings.latent).to(device)
        judge = discriminator(self.generator.width, settings.hidden).to(device)
        self._copy = copy.deepcopy(judge).requires_grad_(False)
        rate, turns = settings.learning_rate, max(1, steps // settings.turns)
        assert rate is not None
        assert settings.pursuit is not None
        self.judge = Learner(judge, rate, steps, _INERTIA)
        self.maker = Learner(self.generator, settings.pursuit * rate, turns, _INERTIA)

    def made_up(self, rows: int) -> Tensor:
        """Made-up rows, each beside its condition."""
        drawn = torch.from_numpy(drawn_conditions(self._shares, rows, self.random)).to(self._device)
        conditions = one_hot(drawn[:, None], self.generator.width)
        noise = torch.randn((rows, self.generator.latent), generator=self.noise, device=self._device)
        return torch.cat([self.generator(conditions, noise), conditions], dim=1)

    def real(self, drawn: Tensor) -> Tensor:
        """The rows drawn, each beside its condition."""
        own = own_conditions(self._table.codes[drawn.cpu().numpy()], self._table.schema.sizes, self.random)
        conditions = one_hot(torch.from_numpy(own)[:, None].to(self._device), self.generator.width)
        return torch.cat([one_hot(self._places[drawn], self.generator.width), conditions], dim=1)

    def improve_generator(self, rows: int, done: int) -> None:
        """One step of the generator, its `done`th. No record is read."""
        self._copy.load_state_dict(self.judge.module.state_dict())
        self.maker.optimizer.zero_grad()
        loss: Tensor = functional.softplus(-self._copy(self.made_up(rows))).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.maker.optimizer.step()
        self.maker.follow(done)


def fit(
    table: Table,
    plan: NetworkPlan,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> GanModel:
    """Trains for the steps of the plan. Every call is one release of `plan.event`: charge each.

    Args:
        table: The private rows.
        plan: Of `networks.gan_plan`, for the table's schema and number of rows.
        options: How it is done; nothing of what it costs.
        progress: Told of every step of the discriminator.
        checkpoint: Keeps the run; where it has one already, the run goes on from there and releases nothing again.

    Raises:
        InvalidValueError: If the plan is for another table, or the checkpoint for another network.
        PricingDisagreementError: If OpenDP cannot confirm the price of the counts.
        StoppedError: If `progress` asked for it.
    """
    check_table(table, plan, GanSettings.kind)
    settings, recipe, columns = plan.settings, plan.recipe, len(table.schema.columns)
    assert isinstance(settings, GanSettings)
    turns, options = settings.turns, options or Options()
    kept = checkpoint.load() if checkpoint is not None else None
    done = 0 if kept is None else int(kept["done"])
    if kept is None:
        shares = release_shares(table, recipe.records, plan.counts, plan.delta)
    else:
        shares = shares_from_state(kept, columns)
    both = Adversaries(table, plan, shares, options.device)
    if kept is not None:
        both.judge.load("discriminator", kept)
        both.maker.load("generator", kept)
        both.judge.set_rate(done)
        both.maker.set_rate(done // turns)
    optimisation = PrivateOptimisation(
        both.judge.module, both.judge.optimizer, recipe, options, beside=recipe.batch, done=done
    )

    def loss_of(drawn: Tensor, beside: int) -> Tensor:
        with torch.no_grad():
            rows = torch.cat([both.real(drawn), both.made_up(beside)])
        signs = torch.ones(len(rows), device=rows.device)
        signs[: len(drawn)] = -1
        scores: Tensor = optimisation.module(rows)
        return functional.softplus(signs * scores[:, 0])

    stopped = False

    def after_step(done: int) -> bool:
        nonlocal stopped
        both.judge.follow(done)
        if done % turns == 0:
            both.improve_generator(recipe.batch, done // turns)
        if checkpoint is not None and checkpoint.due(done):
            states = {**both.judge.state("discriminator"), **both.maker.state("generator")}
            checkpoint.save(done, {"done": torch.tensor(done), **shares_to_state(shares), **states})
        stopped = progress is not None and progress(done)
        return stopped

    optimisation.run(loss_of, after_step)
    if stopped:
        raise StoppedError(f"stopped after {optimisation.done} of {recipe.steps} steps")
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in both.maker.averaged().state_dict().items()}
    tensors |= {f"shares.{at}": share.astype(np.float32) for at, share in enumerate(shares)}
    return GanModel(plan, tensors).calibrated(np.random.default_rng())
