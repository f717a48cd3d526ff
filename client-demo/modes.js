/**
 * The media modes of a call. Peers may use different protocols, but must use the same mode to receive each other's media: a peer in the
 * other mode is listed only.
 *
 * @module modes
 */

/**
 * @typedef {object} Mode
 * @property {"mesh" | "sfu"} id as in the page's address
 * @property {string} name
 * @property {string} line
 */

/** @type {Mode[]} The first one is the default. */
export const MODES = [
  { id: "mesh", name: "Mesh", line: "From browser to browser. Best for two to four." },
  { id: "sfu", name: "SFU", line: "Each sends one copy, to the server. Best from five on." },
];

/** Number of people from which a mesh is not recommended: each peer sends a copy to each other peer. */
export const SFU_FROM = 5;

const BUNDLE = "./vendor/mediasoup-client.js";

/** @param {string | null | undefined} id @returns {Mode | undefined} */
export function modeOf(id) {
  return MODES.find((mode) => mode.id === id);
}

/** Returns the Device of mediasoup-client; fails with the code `NO_BUNDLE` if the bundle was not built. */
export async function loadDevice() {
  try {
    return (await import(BUNDLE)).default.Device;
  } catch (error) {
    throw Object.assign(new Error("mediasoup-client is not there", { cause: error }), { code: "NO_BUNDLE" });
  }
}

/**
 * Returns the number of people in a room, or 0 if it is unknown: the room does not exist, or only operators may look it up.
 * @param {string} room
 * @param {AbortSignal} signal
 */
export async function headcount(room, signal) {
  try {
    const response = await fetch(`/api/rooms/${encodeURIComponent(room)}`, { signal });
    return response.ok ? (await response.json()).participantCount : 0;
  } catch {
    return 0;
  }
}

/**
 * Returns the reason why another mode is better for a call, if there is one.
 * @param {Mode} mode the current mode
 * @param {{ name: string, elsewhere: boolean }[]} others the other members
 * @returns {{ text: string, mode: Mode } | null}
 */
export function betterMode(mode, others) {
  const elsewhere = others.filter((one) => one.elsewhere);
  const other = MODES.find((one) => one !== mode);
  if (elsewhere.length > others.length - elsewhere.length) {
    const more = elsewhere.length - 1;
    const who = more ? `${elsewhere[0].name} and ${more === 1 ? "one other are" : `${more} others are`}` : `${elsewhere[0].name} is`;
    return { text: `${who} here by ${nameIn(other)}, you by ${nameIn(mode)}: you cannot see or hear each other.`, mode: other };
  }
  if (mode.id === "mesh" && others.length + 1 >= SFU_FROM) {
    const text = `You are ${others.length + 1}: in a mesh each of you sends ${others.length} copies, with the SFU it is one. All of you have to change.`;
    return { text, mode: other };
  }
  return null;
}

/** Returns the name for use within a sentence. @param {Mode} mode */
function nameIn(mode) {
  return mode.id === "mesh" ? "mesh" : mode.name;
}

/** Returns the notice about a peer in the other mode. @param {Mode} mode the current mode */
export function elsewhereLine(mode) {
  return `Here by ${nameIn(MODES.find((one) => one !== mode))}, out of your hearing`;
}
