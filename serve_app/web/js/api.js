// Calls of the service. A refusal becomes an ApiError with the problem document's own words.

import { token } from "./token.js";

export const PREFIX = "/api/v1/privacy";

export class ApiError extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "The service gave no reason.");
    this.status = problem.status ?? 0;
    this.code = problem.code ?? null;
    this.field = problem.field ?? null;
    this.problem = problem;
  }
}

export const onExpired = new EventTarget();

export const ask = async (method, path, options = {}) => (await send(method, path, options)).json();

export const get = (path, query) => ask("GET", path + search(query));

export const file = async (path, query) => (await send("GET", path + search(query), {})).blob();

export function search(query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

// A response of any kind. The token travels in the header alone.
export async function send(method, path, { body, headers, signal, token: given } = {}) {
  const used = given ?? token();
  let response;
  try {
    response = await fetch(PREFIX + path, {
      method,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: { ...(used && { Authorization: `Bearer ${used}` }), ...(body && { "Content-Type": "application/json" }), ...headers },
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ status: 0, detail: "The service does not answer. Check that it runs, and that you are online." });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const error = new ApiError({ ...problem, status: response.status });
  // Another request may have ended the session already; then there is nothing to tell.
  if (response.status === 401 && given === undefined && used === token()) {
    onExpired.dispatchEvent(new CustomEvent("expired", { detail: error.message }));
  }
  throw error;
}
