/**
 * Returns the code at the beginning of a text of the server, if there is one.
 * @param {string | undefined} text
 * @returns {string | undefined}
 */
export function codeIn(text: string | undefined): string | undefined;
/** A refused request. `code` is a code of the server, or one of this module: `TIMEOUT`, `OFFLINE`, `UNREACHABLE`, `REFUSED`, `HUNG_UP`. */
export class SignalingError extends Error {
    /**
     * @param {string} code
     * @param {string} [message]
     * @param {number} [retryAfterMs]
     */
    constructor(code: string, message?: string, retryAfterMs?: number);
    code: string;
    retryAfterMs: number | undefined;
}
export function mayPass({ code }: SignalingError): boolean;
export function isFinal({ code }: SignalingError): boolean;
