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
export class Emitter<Details extends object> extends EventTarget {
    constructor();
    /**
     * @template {keyof Details & string} Name
     * @param {Name} name
     * @param {Listener<Details[Name]>} listener
     * @param {boolean | AddEventListenerOptions} [options]
     * @override
     */
    override addEventListener<Name extends keyof Details & string>(name: Name, listener: Listener<Details[Name]>, options?: boolean | AddEventListenerOptions): void;
    /**
     * @template {keyof Details & string} Name
     * @param {Name} name
     * @param {Listener<Details[Name]>} listener
     * @param {boolean | EventListenerOptions} [options]
     * @override
     */
    override removeEventListener<Name extends keyof Details & string>(name: Name, listener: Listener<Details[Name]>, options?: boolean | EventListenerOptions): void;
    /**
     * @template {keyof Details & string} Name
     * @param {Name} name
     * @param {Details[Name]} detail
     * @protected
     */
    protected tell<Name extends keyof Details & string>(name: Name, detail: Details[Name]): void;
}
export type Listener<Detail> = ((event: CustomEvent<Detail>) => void) | {
    handleEvent(event: CustomEvent<Detail>): void;
} | null;
