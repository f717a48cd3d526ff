/**
 * Names that peers give themselves.
 *
 * @module name
 */

/** Maximum length of a shown name, in characters as users perceive them. */
export const NAME_LIMIT = 40;

/** Control characters, direction overrides, and characters without width that can hide or imitate a name; not joiners, which scripts need. */
const REMOVED = /[\p{Cc}\p{Co}\p{Cn}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc]/gu;
/** At most so many marks above one letter, so that a name keeps to its line. */
const STACKED = /(\p{M}{3})\p{M}+/gu;

/**
 * Returns a name that can be shown: on one line, of limited length; empty if nothing in it is visible.
 * @param {unknown} name
 * @returns {string}
 */
export function cleanName(name) {
  if (typeof name !== "string") return "";
  const text = name.slice(0, 1000).replace(REMOVED, "").replace(STACKED, "$1").replace(/\s+/gu, " ").trim();
  if (!/[\p{L}\p{N}\p{P}\p{S}]/u.test(text)) return "";
  return characters(text).slice(0, NAME_LIMIT).join("").trim();
}

/** Returns the characters of a text as users perceive them: a flag or a family of emoji is one. @param {string} text @returns {string[]} */
export function characters(text) {
  if (!Intl.Segmenter) return [...text];
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}
