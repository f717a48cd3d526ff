/**
 * Detects other tabs of this browser in a room: their microphones would pick up the audio of this tab.
 *
 * @module tabs
 */

const lockOf = (room) => `parlor.room.${room}`;

/**
 * Returns whether another tab of this browser is in the room.
 * @param {string} room
 * @returns {Promise<boolean>}
 */
export async function isInOtherTab(room) {
  // Locks are not available without a secure context, and neither are microphones.
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return held.some(({ name }) => name === lockOf(room));
}

/**
 * Lets other tabs see that this one is in the room. The browser releases the lock with the tab.
 * @param {string} room
 * @returns {() => void} releases the lock
 */
export function claimRoom(room) {
  let release = () => {};
  const released = new Promise((resolve) => (release = resolve));
  navigator.locks?.request(lockOf(room), { mode: "shared" }, () => released).catch(() => {});
  return release;
}
