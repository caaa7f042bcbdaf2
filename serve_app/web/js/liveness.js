// What makes a view new while it is looked at: the ledger's events, trainings' states, or a pulse that has changed.

import { search } from "./api.js";
import { h } from "./dom.js";
import { follow } from "./live.js";

const PULSE = 3_000;
const GATHER = 400;
const REST = 3;
const SILENT = 5_000;

const announcer = document.getElementById("announcer");

export const announce = (words) => {
  announcer.textContent = words;
};

const STREAMS = {
  ledger: (tenant) => `/log/events${search({ tenant_id: tenant })}`,
  training: (tenant) => `/training/events${search({ tenant_id: tenant })}`,
};

const WORDS = { live: "Live", reconnecting: "Reconnecting…", unavailable: "Not live", idle: "" };

export class Liveness {
  constructor() {
    this.state = h("span", {}, "");
    this.sign = h("span", { class: "live", "data-state": "idle" }, h("span", { class: "dot", "aria-hidden": "true" }), this.state);
    this.open = new Map();
    this.stop();
  }

  // Follows what the view lives on; what another view followed before goes on where it is the same.
  look(view, context, renew) {
    this.renew = renew;
    const tenant = context.tenant ?? undefined;
    const wanted = (view.live ?? []).filter((name) => name in STREAMS).map((name) => [`${name} ${tenant}`, STREAMS[name](tenant)]);
    for (const [key, stream] of this.open) {
      if (!wanted.some(([name]) => name === key)) {
        stream.close();
        this.open.delete(key);
        this.states.delete(key);
      }
    }
    for (const [key, path] of wanted) {
      if (!this.open.has(key)) this.open.set(key, follow(path, () => this.happened(), (state) => this.say(key, state)));
    }
    this.feel(tenant === undefined ? null : view.pulse, tenant);
    this.shown();
  }

  // Asks for a small thing again and again, and makes the view new when it has changed.
  feel(pulse, tenant) {
    if (this.felt?.pulse === pulse && this.felt?.tenant === tenant) return;
    clearTimeout(this.timer);
    this.states.delete("pulse");
    const felt = (this.felt = { pulse, tenant });
    if (!pulse) return;
    const ask = async () => {
      const found = await pulse(tenant).catch(() => null);
      if (felt !== this.felt) return;
      this.say("pulse", found === null ? "reconnecting" : "live");
      if (found !== null && "last" in felt && felt.last !== found) this.happened();
      if (found !== null) felt.last = found;
    };
    const beat = async () => {
      const began = performance.now();
      if (document.visibilityState === "visible") await ask();
      if (felt === this.felt) this.timer = setTimeout(beat, Math.max(PULSE, REST * (performance.now() - began)));
    };
    beat();
  }

  stop() {
    for (const stream of this.open?.values() ?? []) stream.close();
    this.open = new Map();
    this.states = new Map();
    clearTimeout(this.timer);
    this.felt = null;
    clearTimeout(this.gathering);
    this.gathering = null;
    this.news = false;
    this.restUntil = 0;
    this.count = 0;
    this.shown();
  }

  // Several events in a moment make the view new once, and are told once in a while.
  happened() {
    this.count += 1;
    this.refresh();
    this.telling ??= setTimeout(() => {
      this.telling = null;
      announce(this.count === 1 ? "One new event." : `${this.count} new events.`);
      this.count = 0;
    }, SILENT);
  }

  refresh() {
    this.news = true;
    this.gather();
  }

  // One renewal at a time, and after each a rest of some times what it took, as between two pulses: a busy ledger with a
  // long history is not asked more often than it can answer, and what is asked is shown before more is asked.
  gather() {
    if (this.gathering !== null || !this.news) return;
    this.gathering = setTimeout(async () => {
      const mine = this.gathering;
      const began = performance.now();
      this.news = false;
      await this.renew();
      if (mine !== this.gathering) return;
      this.restUntil = performance.now() + REST * (performance.now() - began);
      this.gathering = null;
      this.gather();
    }, Math.max(GATHER, this.restUntil - performance.now()));
  }

  say(key, state) {
    const before = this.states.get(key);
    this.states.set(key, state);
    this.shown();
    // What happened in between is on the page's own account to find out.
    if (state === "live" && before === "reconnecting") this.refresh();
  }

  shown() {
    const states = [...this.states.values()];
    const worst = ["unavailable", "reconnecting", "live"].find((state) => states.includes(state)) ?? "idle";
    this.sign.dataset.state = worst;
    this.sign.hidden = worst === "idle";
    this.state.textContent = WORDS[worst];
  }
}
