/**
 * What can be wrong, and whether there is any use in trying again.
 *
 * @module signaling-error
 */

/** Refusals that may well pass by themselves. */
const PASSING = new Set(["TIMEOUT", "OFFLINE", "UNREACHABLE", "RATE_LIMITED", "LIMIT_REACHED", "SHUTTING_DOWN", "INTERNAL"]);

/** Errors after which coming back would be wrong or useless, however the connection ended. */
const FINAL = new Set(["REPLACED", "ROOM_CLOSED", "UNAUTHORIZED", "FORBIDDEN"]);

/** A request that was refused. `code` is one of the server's, or `TIMEOUT`, `OFFLINE`, `UNREACHABLE`, `REFUSED`, `HUNG_UP` made here. */
export class SignalingError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {number} [retryAfterMs]
   */
  constructor(code, message, retryAfterMs) {
    super(message || code);
    this.name = "SignalingError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** @param {SignalingError} error */
export const mayPass = ({ code }) => PASSING.has(code);

/** @param {SignalingError} error */
export const isFinal = ({ code }) => FINAL.has(code);

/**
 * The code with which a text of the server begins, if it does.
 * @param {string | undefined} text
 * @returns {string | undefined}
 */
export function codeIn(text) {
  return /^[A-Z]+(?:_[A-Z]+)+|^UNAUTHORIZED|^FORBIDDEN|^REPLACED|^INTERNAL/.exec(text ?? "")?.[0];
}
