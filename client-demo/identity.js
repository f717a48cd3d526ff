/**
 * Who this tab is and what it remembers.
 *
 * @module identity
 */

/**
 * Storage may be switched off, and then even naming it throws. Nothing is remembered in that case, and everything else works.
 * @param {"session" | "local"} storage the tab's, which outlives a reload, or the browser's
 * @param {string} key
 * @returns {string | null}
 */
export function remembered(storage, key) {
  try {
    return window[`${storage}Storage`].getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {"session" | "local"} storage
 * @param {string} key
 * @param {string} value
 * @returns {string} the value
 */
export function remember(storage, key, value) {
  try {
    window[`${storage}Storage`].setItem(key, value);
  } catch {
    // See remembered().
  }
  return value;
}

/**
 * @param {"session" | "local"} storage
 * @param {string} key
 */
export function forget(storage, key) {
  try {
    window[`${storage}Storage`].removeItem(key);
  } catch {
    // See remembered().
  }
}

/**
 * Whom a token is for, unchecked: the server checks it.
 * @param {string | undefined} token a JWT
 * @returns {string | undefined}
 */
export function subjectOf(token) {
  try {
    const claims = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(claims, (letter) => letter.charCodeAt(0)))).sub;
  } catch {
    return undefined;
  }
}

const FIRST = ["amber", "brass", "cedar", "coral", "ivory", "linen", "maple", "olive", "pearl", "slate", "umber", "walnut"];
const SECOND = ["alcove", "atrium", "cabinet", "gallery", "hearth", "lantern", "mantel", "parquet", "settee", "veranda"];

/** A room name that can be said over the telephone, and is one of some ten million. */
export function inventRoom() {
  const below = (limit) => crypto.getRandomValues(new Uint32Array(1))[0] % limit;
  return `${FIRST[below(FIRST.length)]}-${SECOND[below(SECOND.length)]}-${10_000 + below(90_000)}`;
}
