/**
 * Keeps the screen of a phone on during a call, where the browser can do that.
 *
 * @module wake-lock
 */

export class WakeLock {
  #lock = null;
  #abort = new AbortController();

  constructor() {
    this.#request();
    // The browser releases it when the page is hidden.
    document.addEventListener("visibilitychange", () => this.#request(), { signal: this.#abort.signal });
  }

  async #request() {
    if (document.visibilityState !== "visible") return;
    // Refused to save power, for example: the call works without it.
    const lock = await navigator.wakeLock?.request("screen").catch(() => null);
    if (this.#abort.signal.aborted) lock?.release();
    else this.#lock = lock ?? null;
  }

  release() {
    this.#abort.abort();
    this.#lock?.release();
  }
}
