/**
 * Errors of signaling, and whether a retry can succeed.
 *
 * @module signaling-error
 */

/** Error codes that may be temporary. */
const PASSING = new Set(["TIMEOUT", "OFFLINE", "UNREACHABLE", "RATE_LIMITED", "LIMIT_REACHED", "SHUTTING_DOWN", "INTERNAL"]);

/** Error codes after which reconnecting is wrong or useless, however the connection ended. */
const FINAL = new Set(["REPLACED", "ROOM_CLOSED", "KICKED", "UNAUTHORIZED", "FORBIDDEN"]);

/** A refused request. `code` is a code of the server, or one of this module: `TIMEOUT`, `OFFLINE`, `UNREACHABLE`, `REFUSED`, `HUNG_UP`. */
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
 * Returns the code at the beginning of a text of the server, if there is one.
 * @param {string | undefined} text
 * @returns {string | undefined}
 */
export function codeIn(text) {
  return /^[A-Z]+(?:_[A-Z]+)+|^UNAUTHORIZED|^FORBIDDEN|^REPLACED|^INTERNAL/.exec(text ?? "")?.[0];
}
