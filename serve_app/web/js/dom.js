// Elements from plain values. Text is always text: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

export const h = (tag, given, ...children) => built(document.createElement(tag), given, children);

export const svg = (tag, given, ...children) => built(document.createElementNS(SVG, tag), given, children);

function built(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in PROPERTIES) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// What an attribute would only give a first value to.
const PROPERTIES = { value: true, checked: true, disabled: true, indeterminate: true };
