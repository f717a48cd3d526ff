/**
 * DOM helpers for all parts of the page.
 *
 * @module dom
 */

import { characters } from "./parlor/name.js";

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/**
 * Returns a copy of the only element in a template.
 * @param {string} id
 */
export const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);

const SVG = "http://www.w3.org/2000/svg";

/** Returns an icon. @param {string} name a symbol of the sprite in index.html */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/**
 * Sets up a button with an icon and an optional text.
 * @param {HTMLElement} button
 * @param {{ name: string, label: string, title: string, key?: string, pressed?: boolean, word?: string }} look
 * `label` is for screen readers, `title` for the tooltip, `key` the keyboard shortcut
 */
export function setUpButton(button, { name, label, title, key, pressed, word }) {
  const children = [icon(name)];
  if (word) {
    const text = document.createElement("span");
    text.className = "tool-word";
    text.textContent = word;
    children.push(text);
  }
  button.replaceChildren(...children);
  button.title = key ? `${title} (${key.toUpperCase()})` : title;
  button.setAttribute("aria-label", label);
  if (key) button.setAttribute("aria-keyshortcuts", key);
  if (pressed !== undefined) button.setAttribute("aria-pressed", String(pressed));
}

/**
 * Returns a name with its own text direction, so that it does not reorder the words around it.
 * @param {string} name
 */
export function bdi(name) {
  const element = document.createElement("bdi");
  element.textContent = name;
  return element;
}

/** Announces a text to screen readers. @param {string} text */
export function announce(text) {
  byId("announcer").textContent = text;
}

/**
 * Shows a text in an element, or hides the element.
 * @param {HTMLElement} place
 * @param {string} text
 */
export function showText(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

/**
 * Shows an avatar with initials and a colour that depends on the id, for a person without video.
 * @param {HTMLElement} element
 * @param {string} id
 * @param {string} name
 */
export function drawFace(element, id, name) {
  const words = name.split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  element.textContent = letters.map((word) => characters(word)[0].toUpperCase()).join("");
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  element.style.setProperty("--hue", String(hash % 360));
}

/**
 * Copies a text to the clipboard, also on pages without HTTPS.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
