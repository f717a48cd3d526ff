/**
 * Exponential backoff with jitter.
 *
 * @module retry
 */

/**
 * The first and the longest delay between two attempts to reconnect, in milliseconds, and the random part of a delay, so that clients do
 * not all reconnect at the moment at which a server is available again.
 */
export const RETRY = Object.freeze({ firstMs: 500, longestMs: 4000, chance: 0.5 });

/** Calls a function again after a growing delay. */
export class Retry {
  #attempts = 0;
  /** @type {number | undefined} */
  #timer;
  #attempt;

  /** @param {() => void} attempt */
  constructor(attempt) {
    this.#attempt = attempt;
  }

  /** Whether an attempt is scheduled. */
  get isWaiting() {
    return this.#timer !== undefined;
  }

  /** Schedules the next attempt. @param {number} [atLeast] the minimum delay in milliseconds */
  schedule(atLeast = 0) {
    const full = Math.min(RETRY.longestMs, RETRY.firstMs * 2 ** this.#attempts++);
    const delay = Math.max(full * (1 - RETRY.chance * Math.random()), atLeast * (1 + RETRY.chance * Math.random()));
    this.cancel();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#attempt();
    }, delay);
  }

  /** Cancels the scheduled attempt. */
  cancel() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Cancels the scheduled attempt; the next delay is the first one again. */
  reset() {
    this.cancel();
    this.#attempts = 0;
  }
}
