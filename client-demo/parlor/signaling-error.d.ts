/**
 * The code with which a text of the server begins, if it does.
 * @param {string | undefined} text
 * @returns {string | undefined}
 */
export function codeIn(text: string | undefined): string | undefined;
/** A request that was refused. `code` is one of the server's, or `TIMEOUT`, `OFFLINE`, `UNREACHABLE`, `REFUSED`, `HUNG_UP` made here. */
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
