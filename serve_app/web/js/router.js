// Places within the page: "#/operations?before=12". The token is never among them.

export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: path, query: new URLSearchParams(query) };
}

export function placed(name, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `#/${name}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

export const go = (name, query) => {
  location.hash = placed(name, query);
};
