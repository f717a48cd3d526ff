/**
 * Exponential backoff with jitter.
 *
 * @module retry
 */
/**
 * The first and the longest delay between two attempts to reconnect, in milliseconds, and the random part of a delay, so that clients do
 * not all reconnect at the moment at which a server is available again.
 */
export const RETRY: Readonly<{
    firstMs: 500;
    longestMs: 4000;
    chance: 0.5;
}>;
/** Calls a function again after a growing delay. */
export class Retry {
    /** @param {() => void} attempt */
    constructor(attempt: () => void);
    /** Whether an attempt is scheduled. */
    get isWaiting(): boolean;
    /** Schedules the next attempt. @param {number} [atLeast] the minimum delay in milliseconds */
    schedule(atLeast?: number): void;
    /** Cancels the scheduled attempt. */
    cancel(): void;
    /** Cancels the scheduled attempt; the next delay is the first one again. */
    reset(): void;
    #private;
}
