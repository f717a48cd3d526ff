/**
 * Helpers of `peer.js`.
 *
 * @module peer-tools
 */
/** @param {number} milliseconds @returns {Promise<undefined>} */
export function pause(milliseconds: number): Promise<undefined>;
/**
 * The fingerprint of the certificate in a description; empty if there is none.
 * @param {RTCSessionDescriptionInit | null} description
 */
export function fingerprint(description: RTCSessionDescriptionInit | null): string;
