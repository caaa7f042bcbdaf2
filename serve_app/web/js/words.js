// The service's words in sentences that need no manual.

const STATUS = {
  consumed: ["spent", ""],
  held: ["held", "warn"],
  committed: ["committed", ""],
  voided: ["given back", "good"],
  expired_spent: ["expired, spent", "warn"],
  adjusted: ["adjusted", "warn"],
  low: ["nearly used up", "bad"],
  soon: ["within a week", "warn"],
  waiting: ["waiting", ""],
  starting: ["starting", ""],
  running: ["running", "good"],
  settling: ["settling", "warn"],
  cancelling: ["cancelling", "warn"],
  finished: ["finished", "good"],
  failed: ["failed", "bad"],
  cancelled: ["cancelled", "warn"],
};

export const status = (name) => STATUS[name] ?? [name, ""];

const WHY = {
  budget_exhausted: "The budget does not hold this charge under any of its filters.",
  operation_limit: "It is more than one operation may cost.",
  key_reused: "Its idempotency key belongs to a different request.",
  unknown_tenant: "The tenant has no budget yet.",
  unknown_dataset: "The data set is not registered.",
  unknown_partition: "The partition is not registered for the data set.",
  other_neighbours: "It counts neighbours in another way than the data set does.",
  unpriced: "A filter of the budget has no price for such an event.",
  unknown_allocation: "There is no such allocation.",
  allocation_ended: "The allocation had ended in another way already.",
  hold_expired: "The hold's time had run out, so it counts as spent.",
  hold_not_due: "The hold's time had not run out.",
  not_divisible: "The charge cannot be divided into that many steps.",
  still_held: "The allocation was still held.",
  budget_lowered: "A budget can be raised, not lowered.",
  filters_changed: "A budget keeps its filters.",
  dataset_changed: "A data set keeps its privacy unit, adjacency and partitions.",
};

export const why = (outcome) => WHY[outcome] ?? `The service said: ${outcome}.`;

const SCOPES = { "tenant window": "the tenant's budget of that window", "tenant lifetime": "the tenant's budget" };

export const scopeName = (scope) => SCOPES[scope] ?? scope;

const EVENTS = {
  claim: "a stated cost",
  zcdp: "zero-concentrated",
  laplace: "Laplace noise",
  discrete_laplace: "discrete Laplace noise",
  gaussian: "Gaussian noise",
  discrete_gaussian: "discrete Gaussian noise",
  exponential: "exponential mechanism",
  randomized_response: "randomised response",
  poisson_gaussian: "sampled Gaussian",
  poisson_laplace: "sampled Laplace",
  fixed_size_gaussian: "Gaussian on samples of fixed size",
  self_composed: "repeated",
  composed: "several together",
  parallel: "on disjoint partitions",
};

export const eventName = (kind) => EVENTS[kind] ?? kind ?? "–";

export const THEOREMS = {
  basic: "Basic composition",
  advanced: "Advanced composition",
  optimal: "Optimal composition",
  zcdp: "Zero-concentrated DP",
  renyi: "Rényi DP",
  pld: "Privacy loss distribution",
  gdp: "Gaussian DP",
};

const CURRENCIES = { epsilon: "ε", rho: "ρ", renyi: "Rényi divergence", mu_squared: "μ²" };

export const currency = (name) => CURRENCIES[name] ?? name;

export const ADJACENCY = {
  add_remove: "add or remove one",
  replace_one: "replace one",
  replace_special: "replace one by nothing",
};

export const several = (number, one) => `${number} ${one}${Number(number) === 1 ? "" : "s"}`;
