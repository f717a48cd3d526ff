/**
 * The description of a peer, from what the server and the peer itself report.
 *
 * @module signaling-user
 */

/**
 * Creates a user from the server's fields of a peer and the known fields of its metadata.
 * @param {{ userId: string, socketId?: string, roomId?: string | null, joinedAt?: string }} peer
 * @param {any} [metadata] set by the peer
 * @returns {import("./signaling.js").User}
 */
export function asUser({ userId, socketId, roomId, joinedAt }, metadata) {
  return {
    id: userId,
    userId,
    ...(roomId && { roomId }),
    ...(socketId && { socketId }),
    ...(joinedAt && { joinedAt }),
    ...(typeof metadata?.name === "string" && { name: metadata.name }),
    ...(["sfu", "auto"].includes(metadata?.media) && { media: metadata.media }),
    ...(["mesh", "sfu"].includes(metadata?.mode) && { mode: metadata.mode, asked: metadata.asked === true }),
  };
}
