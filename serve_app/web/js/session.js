// Who is looking, as the service tells it.

import { ApiError, ask } from "./api.js";
import { drop, keep, token } from "./token.js";

const ANY = "*";

export const session = { me: null };

export function forget() {
  drop();
  session.me = null;
}

// Keeps a token once the service has accepted it; what it refuses is not kept.
export async function enter(text) {
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) {
    throw new ApiError({ status: 401, detail: "This is not a token: that has three parts with full stops between them." });
  }
  const me = await identified(text);
  keep(text);
  session.me = me;
}

export async function resume() {
  const kept = token();
  if (kept !== null) session.me = await identified(kept);
}

const identified = (text) => ask("GET", "/access/me", { token: text });

export const forAll = (me) => me.tenant_id === ANY;

// What the service lets the token do, by the names of its own table.
export const may = (me, ...actions) => actions.every((action) => me.may.includes(action));

// The tenant that a view is about: the token's own, or the one that an auditor of all has chosen.
export const tenantOf = (me, query) => (forAll(me) ? query.get("tenant") : me.tenant_id);
