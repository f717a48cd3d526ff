/**
 * An EventTarget with typed events.
 *
 * @module emitter
 */

/**
 * @template Detail
 * @typedef {((event: CustomEvent<Detail>) => void) | { handleEvent(event: CustomEvent<Detail>): void } | null} Listener
 */

/**
 * Every event is a `CustomEvent`; `Details` maps the event's name to the type of its `detail`.
 * @template {object} Details
 */
export class Emitter extends EventTarget {
  // These methods are overridden for their types only.

  /**
   * @template {keyof Details & string} Name
   * @param {Name} name
   * @param {Listener<Details[Name]>} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @override
   */
  addEventListener(name, listener, options) {
    super.addEventListener(name, /** @type {EventListener | null} */ (listener), options);
  }

  /**
   * @template {keyof Details & string} Name
   * @param {Name} name
   * @param {Listener<Details[Name]>} listener
   * @param {boolean | EventListenerOptions} [options]
   * @override
   */
  removeEventListener(name, listener, options) {
    super.removeEventListener(name, /** @type {EventListener | null} */ (listener), options);
  }

  /**
   * @template {keyof Details & string} Name
   * @param {Name} name
   * @param {Details[Name]} detail
   * @protected
   */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
