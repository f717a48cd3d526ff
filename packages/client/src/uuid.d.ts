/**
 * Unique ids.
 *
 * @module uuid
 */
/** Works on pages without HTTPS, where `crypto.randomUUID` is not available. */
export function uuid(): string;
