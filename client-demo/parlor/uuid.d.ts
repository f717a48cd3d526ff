/**
 * Ids that nobody else has.
 *
 * @module uuid
 */
/** `crypto.randomUUID` is kept from pages that did not come over https; this is not. */
export function uuid(): string;
