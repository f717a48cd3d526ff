/**
 * The media modes of a call, and what the server reports about a room before it is joined.
 *
 * @module modes
 */

import { SFU_FROM } from "./parlor/auto.js";

/**
 * @typedef {object} Mode
 * @property {"auto" | "mesh" | "sfu"} id the value of the URL parameter `media`
 * @property {string} name
 * @property {string} description
 */

/** @type {Mode[]} The first one is the default. The first person in a room chooses; everyone who joins later uses the mode of the room. */
export const MODES = [
  { id: "auto", name: "Automatic", description: `From browser to browser for up to ${SFU_FROM - 1} people, through the server for more.` },
  { id: "mesh", name: "Mesh", description: "From browser to browser. Best for two to four." },
  { id: "sfu", name: "SFU", description: "Everyone sends one copy, to the server. Best for five or more." },
];

/** @param {string | null | undefined} id @returns {Mode | undefined} */
export function modeOf(id) {
  return MODES.find((mode) => mode.id === id);
}

/** Returns the Device of mediasoup-client; fails with the code `NO_BUNDLE` if the bundle was not built. */
export async function loadDevice() {
  try {
    return (await import("./vendor/mediasoup-client.js")).default.Device;
  } catch (error) {
    throw Object.assign(new Error("mediasoup-client is not available", { cause: error }), { code: "NO_BUNDLE" });
  }
}

/**
 * Asks the server about a room before it is joined: whether there is a media server, and the names of the members.
 * @param {string} room
 * @param {string | undefined} token
 * @param {AbortSignal} signal
 * @returns {Promise<{ sfu: boolean, names: string[], count: number } | null>} null without a response; no names if the token does not allow the room
 */
export async function fetchRoom(room, token, signal) {
  try {
    const headers = token ? { authorization: `Bearer ${token}` } : undefined;
    const response = await fetch(`/demo/lobby?room=${encodeURIComponent(room)}`, { headers, signal });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/**
 * Returns a sentence with the members of a room; empty if it has none.
 * @param {{ names: string[], count: number }} room
 */
export function describeMembers({ names, count }) {
  if (!count) return "";
  const others = (number) => (number === 1 ? "1 other" : `${number} others`);
  if (!names.length) return count === 1 ? "1 person is here." : `${count} people are here.`;
  if (count === 1) return `${names[0]} is here.`;
  if (count === 2 && names.length === 2) return `${names[0]} and ${names[1]} are here.`;
  return `${names[0]} and ${others(count - 1)} are here.`;
}

/**
 * Returns a notice if members cannot receive each other or another mode fits better, with the mode to request, if any.
 * @param {import("./parlor/auto.js").AutoCall} call
 * @returns {{ text: string, mode?: "mesh" | "sfu" } | null}
 */
export function adviceFor(call) {
  const members = [...call.members.values()];
  const elsewhere = members.filter((one) => one.elsewhere);
  if (elsewhere.length) {
    const is = elsewhere.length > 1 ? "use" : "uses";
    if (call.mode === "mesh") return { text: `${namesOf(elsewhere)} ${is} the media server, which this page cannot: you cannot see or hear each other.` };
    return { text: `${namesOf(elsewhere)} can use a mesh only: you cannot see or hear each other.`, mode: "mesh" };
  }
  if (call.mode === "mesh" && members.length + 1 >= SFU_FROM) {
    const copies = `You are ${members.length + 1}, and each of you sends ${members.length} copies`;
    if (!call.canUseSfu) return { text: `${copies}. With the media server it would be one copy, but this page cannot use it.` };
    const [one] = call.meshOnly;
    if (one) return { text: `${copies}: the call stays a mesh, because ${one.name ?? "another person"} can use nothing else.` };
    return { text: `${copies}. With the media server it is one copy.`, mode: "sfu" };
  }
  return null;
}

/** @param {{ name: string }[]} people */
function namesOf(people) {
  const more = people.length - 1;
  return more ? `${people[0].name} and ${more === 1 ? "one other" : `${more} others`}` : people[0].name;
}

/** Returns the state of a person whose media does not reach this page. @param {"mesh" | "sfu" | null} mode the mode of the call */
export function describeElsewhere(mode) {
  return mode === "sfu" ? "Can use a mesh only: no media between you" : "Uses the media server: no media between you";
}
