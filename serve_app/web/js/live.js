// Server-sent events, read with fetch: EventSource could not send the token.
// https://html.spec.whatwg.org/multipage/server-sent-events.html

import { send } from "./api.js";

const LONGEST_PAUSE = 30_000;
const SILENCE = 45_000;

// A stream that comes back by itself, after the last event it saw, until it is closed.
// `tell` gets each event; `say` gets "live", "reconnecting" or "unavailable".
export function follow(path, tell, say) {
  const closing = new AbortController();
  run(path, tell, say, closing.signal);
  return { close: () => closing.abort() };
}

async function run(path, tell, say, signal) {
  const reader = new EventReader(tell);
  let failures = 0;
  while (!signal.aborted) {
    try {
      await once(path, reader, signal, () => {
        failures = 0;
        say("live");
      });
    } catch (error) {
      if (signal.aborted) return;
      // Refused for good: not this token, not this path.
      if (error.status >= 400 && error.status < 500 && error.status !== 429) return say("unavailable");
    }
    if (signal.aborted) return;
    say("reconnecting");
    const pause = Math.min(LONGEST_PAUSE, reader.retry * 2 ** failures++);
    await sleep(pause * (0.5 + Math.random() / 2), signal);
  }
}

async function once(path, reader, signal, opened) {
  const given = reader.lastId === "" ? {} : { "Last-Event-ID": reader.lastId };
  // Whoever hears nothing for so long, not even a heartbeat, has lost the other side.
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENCE);
  const either = AbortSignal.any([signal, silent.signal]);
  try {
    const response = await send("GET", path, { headers: { Accept: "text/event-stream", ...given }, signal: either });
    opened();
    reader.begin();
    const chunks = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await chunks.read(); !part.done; part = await chunks.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE);
      reader.take(part.value);
    }
  } finally {
    clearTimeout(timer);
  }
}

export class EventReader {
  constructor(tell) {
    this.tell = tell;
    this.lastId = "";
    this.retry = 1_000;
    this.begin();
  }

  begin() {
    [this.rest, this.id, this.name, this.data] = ["", this.lastId, "", []];
  }

  take(text) {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    lines.forEach((line) => this.line(line));
  }

  line(line) {
    if (line === "") return this.dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "event") this.name = value;
    else if (field === "data") this.data.push(value);
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  dispatch() {
    this.lastId = this.id;
    const { name, data } = this;
    [this.name, this.data] = ["", []];
    if (data.length) this.tell({ id: this.lastId, name: name || "message", data: JSON.parse(data.join("\n")) });
  }
}

const sleep = (milliseconds, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
