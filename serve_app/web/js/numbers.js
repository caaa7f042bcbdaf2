// Exact decimals as text. Whoever rounds says which way: what is spent goes up, what is left goes down.

import { h } from "./dom.js";

const DECIMALS = 4;
const DIGITS = 3;

// The decimal [digits as BigInt, exponent of ten] that a text or a number was written as.
export function decimal(text) {
  const found = /^(-?)(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(String(text).trim());
  if (!found) return null;
  const [, sign, whole, part = "", power = "0"] = found;
  return [BigInt(sign + whole + part), Number(power) - part.length];
}

// A decimal for people: `way` is "up", "down", or "exact", which never rounds.
export function rounded(text, way) {
  const read = decimal(text);
  if (read === null) return String(text);
  let [digits, power] = read;
  if (digits === 0n) return "0";
  const negative = digits < 0n;
  if (negative) digits = -digits;
  const small = digits.toString().length + power <= -DIGITS + 1;
  if (way !== "exact") {
    const lowest = small ? digits.toString().length + power - DIGITS : -DECIMALS;
    if (power < lowest) {
      const unit = 10n ** BigInt(lowest - power);
      const away = (way === "up") !== negative && digits % unit !== 0n;
      digits = digits / unit + (away ? 1n : 0n);
      power = lowest;
    }
  }
  if (digits === 0n) return "0";
  while (digits % 10n === 0n) [digits, power] = [digits / 10n, power + 1];
  return (negative ? "−" : "") + (small ? scientific(digits, power) : plain(digits, power));
}

function plain(digits, power) {
  if (power >= 0) return grouped(digits.toString() + "0".repeat(power));
  const text = digits.toString().padStart(1 - power, "0");
  return `${grouped(text.slice(0, power))}.${text.slice(power)}`;
}

const grouped = (whole) => whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");

function scientific(digits, power) {
  const text = digits.toString();
  const mantissa = text.length > 1 ? `${text[0]}.${text.slice(1)}` : text;
  const raised = String(power + text.length - 1).replace(/[-\d]/g, (sign) => RAISED[sign]);
  return `${mantissa === "1" ? "" : `${mantissa}×`}10${raised}`;
}

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

// A member of an answer: the exact text where the answer has one.
export const exactly = (answer, name) => answer?.exact?.[name] ?? answer?.[name] ?? null;

// An amount in a sentence or a cell. The exact decimal is its value, and shows when it is pointed at.
export function amount(text, way, unit) {
  if (text === null || text === undefined) return h("span", { class: "faint" }, "–");
  const shown = rounded(text, way);
  const exact = rounded(text, "exact");
  const about = shown === exact ? null : `exactly ${exact}`;
  const words = unit ? [shown, " ", h("span", { class: "unit" }, unit)] : shown;
  return h("data", { class: "amount", value: String(text), title: about }, words);
}

export const spent = (text, unit) => amount(text, "up", unit);
export const left = (text, unit) => amount(text, "down", unit);
export const exact = (text, unit) => amount(text, "exact", unit);

// A part of a whole in per cent, rounded up: something spent is never nothing.
export function percent(number) {
  if (number === null || number === undefined) return "–";
  return `${rounded(Math.ceil(number * 10 - 1e-9) / 10, "exact")} %`;
}
