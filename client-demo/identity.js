/**
 * The identity of this tab, and its stored settings.
 *
 * @module identity
 */

/**
 * Returns a stored value. Storage may be disabled, and any access then throws; the page works without it.
 * @param {"session" | "local"} storage of the tab, which survives a reload, or of the browser
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
 * Returns the subject of a token, unverified: the server verifies it.
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

/** Returns a random room name that is easy to pronounce, one of about ten million. */
export function randomRoomName() {
  const below = (limit) => crypto.getRandomValues(new Uint32Array(1))[0] % limit;
  return `${FIRST[below(FIRST.length)]}-${SECOND[below(SECOND.length)]}-${10_000 + below(90_000)}`;
}
