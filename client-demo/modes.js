/**
 * The ways in which the media of a call may go, and what to say of each. Unlike the wire, all who want to hear each other must use the
 * same: who is in the room in the other way is seen, and not heard.
 *
 * @module modes
 */

/**
 * @typedef {object} Mode
 * @property {"mesh" | "sfu"} id as it stands in the page's address
 * @property {string} name
 * @property {string} line
 */

/** @type {Mode[]} The first one is the default. */
export const MODES = [
  { id: "mesh", name: "Mesh", line: "From browser to browser. Best for two to four." },
  { id: "sfu", name: "SFU", line: "Each sends one copy, to the server. Best from five on." },
];

/** From so many people on, a mesh is the wrong way: each sends as many copies less one. */
export const SFU_FROM = 5;

const BUNDLE = "./vendor/mediasoup-client.js";

/** @param {string | null | undefined} id @returns {Mode | undefined} */
export function modeOf(id) {
  return MODES.find((mode) => mode.id === id);
}

/** mediasoup-client's Device; fails with the code `NO_BUNDLE` where nobody has built it. */
export async function loadDevice() {
  try {
    return (await import(BUNDLE)).default.Device;
  } catch (error) {
    throw Object.assign(new Error("mediasoup-client is not there", { cause: error }), { code: "NO_BUNDLE" });
  }
}

/**
 * How many people are in a room, or 0 where that cannot be known: the room is to be, or the server tells only operators.
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
 * Why another way would be better for someone in a call, if it would.
 * @param {Mode} mode the one they use
 * @param {{ name: string, elsewhere: boolean }[]} others who else is in the room
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

/** In the middle of a sentence. @param {Mode} mode */
function nameIn(mode) {
  return mode.id === "mesh" ? "mesh" : mode.name;
}

/** What to say of someone who is here in the other way. @param {Mode} mode one's own */
export function elsewhereLine(mode) {
  return `Here by ${nameIn(MODES.find((one) => one !== mode))}, out of your hearing`;
}
