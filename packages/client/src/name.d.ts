/**
 * Returns a name that can be shown: on one line, of limited length; empty if nothing in it is visible.
 * @param {unknown} name
 * @returns {string}
 */
export function cleanName(name: unknown): string;
/** Returns the characters of a text as users perceive them: a flag or a family of emoji is one. @param {string} text @returns {string[]} */
export function characters(text: string): string[];
/**
 * Names that peers give themselves.
 *
 * @module name
 */
/** Maximum length of a shown name, in characters as users perceive them. */
export const NAME_LIMIT: 40;
