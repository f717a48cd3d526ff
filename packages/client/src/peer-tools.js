/**
 * Helpers of `peer.js`.
 *
 * @module peer-tools
 */

/** @param {number} milliseconds @returns {Promise<undefined>} */
export function pause(milliseconds) {
  return new Promise((end) => setTimeout(end, milliseconds, undefined));
}

/**
 * The fingerprint of the certificate in a description; empty if there is none.
 * @param {RTCSessionDescriptionInit | null} description
 */
export function fingerprint(description) {
  return /^a=fingerprint:(.+?)\s*$/m.exec(description?.sdp ?? "")?.[1].toLowerCase() ?? "";
}
