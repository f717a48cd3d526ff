/**
 * Short messages at the edge of the call: they disappear after some seconds, and are announced to screen readers.
 *
 * @module toasts
 */
import { announce, byId } from "./dom.js";

const SHOWN_MS = 5000;
/** Maximum number of toasts; older ones are removed. */
const MAX_TOASTS = 3;

/** @param {string} text */
export function toast(text) {
  announce(text);
  const place = byId("toasts");
  const item = document.createElement("p");
  item.className = "toast";
  item.dir = "auto";
  item.textContent = text;
  place.append(item);
  while (place.children.length > MAX_TOASTS) place.firstElementChild.remove();
  setTimeout(() => item.remove(), SHOWN_MS);
}

export function clearToasts() {
  byId("toasts").replaceChildren();
}
