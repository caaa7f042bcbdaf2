// Trainings: what they cost so far, how far they are, and what they made.

import { ask, file, get, search } from "../api.js";
import { h } from "../dom.js";
import { exact, rounded, spent } from "../numbers.js";
import { action, download, facts, sheet, tag, view } from "../parts.js";
import { placed } from "../router.js";
import { may } from "../session.js";
import { empty } from "../states.js";
import { at, duration } from "../time.js";
import { ofOneTenant } from "./choose.js";

const RUNNING = ["waiting", "starting", "running"];
const RELEASED = ["committed", "expired_spent"];

export const training = ofOneTenant({
  name: "training",
  title: "Training",
  live: ["training"],
  load: ({ tenant }) => get("/training/jobs", { tenant_id: tenant }),
  render: (data, context) =>
    view(
      "Training",
      "Models and synthetic rows, each paid for by a hold on the budget. Progress arrives by itself.",
      data.jobs.length === 0
        ? sheet(null, empty("No trainings yet", "Order one with the client or with “privacy-engine train”. It appears here with its progress."))
        : data.jobs.map((job) => card(job, context)),
    ),
});

function card(job, { me, tenant, links }) {
  const share = job.steps ? Math.min(1, job.steps_done / job.steps) : 0;
  return h(
    "section",
    { class: "sheet", "aria-labelledby": `job-${job.id}` },
    h("div", { class: "row spread" }, h("div", { class: "row" }, h("h2", { id: `job-${job.id}` }, `${job.kind} on ${job.dataset_id}`), tag(job.status)), h("span", { class: "faint small" }, "ordered ", at(job.created_at))),
    h(
      "div",
      { class: "stack" },
      h("progress", { max: 1, value: share, "aria-label": `Steps done of ${job.kind} on ${job.dataset_id}` }),
      h(
        "p",
        { class: "small" },
        `${rounded(job.steps_done, "exact")} of ${rounded(job.steps, "exact")} steps`,
        RUNNING.includes(job.status) && job.seconds_left !== null && ` · about ${duration(job.seconds_left)} left`,
      ),
    ),
    facts([
      ["ε so far, at most", job.epsilon_so_far === null ? h("span", { class: "faint" }, "none yet") : spent(job.epsilon_so_far)],
      ["ε at most", exact(job.target_epsilon)],
      ["δ at most", exact(job.target_delta)],
      ["Start", job.attempt === 0 ? "not started" : job.attempt === 1 ? "first" : `number ${job.attempt}`],
      ["Hold", job.settlement ? tag(job.settlement) : "open"],
    ]),
    job.message && h("p", { class: "note" }, job.message),
    h(
      "div",
      { class: "row" },
      h("a", { href: placed("proofs", { ...links, allocation: job.id }) }, "Proof of the charge"),
      action("Privacy report", () => saved(`/generators/${job.id}/privacy-report`, { tenant_id: tenant, format: "html" }, `privacy-report-${job.id}.html`)),
      may(me, "read_results") && job.status === "finished" && RELEASED.includes(job.settlement) && job.files.map((name) => action(name, () => saved(`/training/jobs/${job.id}/files/${encodeURIComponent(name)}`, { tenant_id: tenant }, name))),
      RUNNING.includes(job.status) && may(me, "cancel_training") && action("Cancel", () => cancelled(job, tenant)),
    ),
  );
}

const saved = async (path, query, name) => download(await file(path, query), name);

async function cancelled(job, tenant) {
  if (!confirm(`Stop ${job.kind} on ${job.dataset_id}? What its steps have cost stays charged.`)) return;
  await ask("DELETE", `/training/jobs/${job.id}${search({ tenant_id: tenant })}`);
}
