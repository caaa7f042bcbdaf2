// Steps of a plan as the form has them, and the event that they are together.

export const KINDS = {
  gaussian: "Gaussian noise",
  laplace: "Laplace noise",
  exponential: "Exponential mechanism",
  dp_sgd: "DP-SGD training",
  claim: "A stated cost",
};

// For each mechanism its fields: name, label, hint.
export const FORMS = {
  gaussian: [["sigma", "σ", "Standard deviation of the noise"], ["sensitivity", "L2 sensitivity"]],
  laplace: [["scale", "Scale", "ε is sensitivity / scale"], ["sensitivity", "L1 sensitivity"]],
  exponential: [["scale", "Scale", "ε is 2 · sensitivity / scale"], ["sensitivity", "Sensitivity of the scores"]],
  dp_sgd: [["sigma", "Noise multiplier σ"], ["q", "Sampling probability q", "Batch size / rows"], ["steps", "Steps"]],
  claim: [["epsilon", "ε"], ["delta", "δ"]],
};

const FIRST = {
  gaussian: { sigma: "10", sensitivity: "1" },
  laplace: { scale: "10", sensitivity: "1" },
  exponential: { scale: "20", sensitivity: "1" },
  dp_sgd: { sigma: "1.1", q: "0.01", steps: "1000" },
  claim: { epsilon: "0.1", delta: "0" },
};

export const blank = (kind) => ({ kind, count: "1", ...FIRST[kind] });

// The request that prices a plan. Numbers stay the text that was typed: the service reads exact decimals.
export function bodyOf(plan, tenant) {
  const events = plan.steps.map(eventOf);
  const event = events.length === 1 ? events[0] : { kind: "composed", events };
  const given = { name: plan.name, event, tenant_id: tenant, delta: plan.delta.trim(), dataset_id: plan.dataset.trim(), composition_method: "tightest" };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
}

function eventOf(step) {
  const once = single(step);
  const count = whole(step.count);
  return count === 1 ? once : { kind: "self_composed", event: once, count };
}

function single(step) {
  const trimmed = Object.fromEntries(Object.entries(step).map(([name, value]) => [name, value.trim()]));
  const { sigma, scale, sensitivity, epsilon, delta, q, steps } = trimmed;
  switch (step.kind) {
    case "gaussian":
      return { kind: "gaussian", sigma, sensitivity };
    case "laplace":
      return { kind: "laplace", scale, sensitivity };
    case "exponential":
      return { kind: "exponential", scale, sensitivity, form: "gumbel", monotonic: false };
    case "dp_sgd":
      return { kind: "self_composed", event: { kind: "poisson_gaussian", sigma, sensitivity: "1", sampling_probability: q }, count: whole(steps) };
    default:
      return { kind: "claim", epsilon, delta };
  }
}

// What is no whole number goes to the service as it is, which says what is wrong with it.
const whole = (text) => (/^\s*\d+\s*$/.test(text) ? Number(text) : text.trim());
