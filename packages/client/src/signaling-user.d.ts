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
export function asUser({ userId, socketId, roomId, joinedAt }: {
    userId: string;
    socketId?: string;
    roomId?: string | null;
    joinedAt?: string;
}, metadata?: any): import("./signaling.js").User;
