/**
 * The panel beside the call: two tabs, of which at most one is shown.
 *
 * @module panel
 */
import { byId } from "./dom.js";

const TABS = ["people", "chat"];

/** Event: `change`. */
export class Panel extends EventTarget {
  #tab = "people";
  #opener = null;
  #abort = new AbortController();

  constructor() {
    super();
    const options = { signal: this.#abort.signal };
    for (const tab of TABS) byId(`tab-${tab}`).addEventListener("click", () => this.open(tab), options);
    byId("panel-close").addEventListener("click", () => this.close(), options);
    byId("panel").querySelector("[role=tablist]").addEventListener(
      "keydown",
      ({ key }) => {
        if (key !== "ArrowLeft" && key !== "ArrowRight") return;
        const other = TABS.find((tab) => tab !== this.#tab);
        this.open(other);
        byId(`tab-${other}`).focus();
      },
      options,
    );
  }

  /** The shown tab, or an empty string. */
  get shown() {
    return byId("panel").hidden ? "" : this.#tab;
  }

  /** @param {string} tab */
  toggle(tab) {
    if (this.shown === tab) this.close();
    else {
      this.#opener = document.activeElement;
      this.open(tab);
      // Focuses the input, if there is a keyboard; the virtual keyboard of a phone would cover half of the call.
      if (tab === "chat" && matchMedia("(hover: hover)").matches) byId("chat-text").focus();
    }
  }

  /** @param {string} tab */
  open(tab) {
    this.#tab = tab;
    byId("panel").hidden = false;
    for (const one of TABS) {
      byId(one).hidden = one !== tab;
      byId(`tab-${one}`).setAttribute("aria-selected", String(one === tab));
      byId(`tab-${one}`).tabIndex = one === tab ? 0 : -1;
    }
    this.dispatchEvent(new Event("change"));
  }

  close() {
    if (byId("panel").hidden) return;
    const inside = byId("panel").contains(document.activeElement);
    byId("panel").hidden = true;
    // Returns the focus to the element that had it before.
    if (inside) (this.#opener?.isConnected ? this.#opener : byId(`tool-${this.#tab}`)).focus();
    this.dispatchEvent(new Event("change"));
  }

  /** Removes the event listeners. */
  dispose() {
    this.#abort.abort();
    byId("panel").hidden = true;
  }
}
