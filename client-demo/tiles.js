/**
 * The video tiles: one per person and one per shared screen, as large as possible, or one large tile and the others in a strip.
 *
 * Tiles are positioned by this module rather than by a CSS grid, which cannot choose the number of columns with the least unused space.
 *
 * @module tiles
 */
import { drawFace, fromTemplate } from "./dom.js";
import { arrange } from "./layout.js";

const REACTION_MS = 4000;

/**
 * The content of a tile.
 * @typedef {object} View
 * @property {string} id the person
 * @property {string} name
 * @property {boolean} self
 * @property {MediaStream | null} stream
 * @property {boolean} video whether there is video to show
 * @property {boolean} screen whether this is the screen that the person shares, beside the camera
 * @property {boolean} muted
 * @property {boolean} [hand] whether the person raises a hand
 * @property {boolean} [away] lost its connection to the server, and may resume
 * @property {string} state shown over the video; empty for a working connection
 */

/** @param {View} view */
const keyOf = ({ id, screen }) => (screen ? `${id}/screen` : id);

/** Event: `blocked`: the browser requires a user gesture before it plays audio. */
export class Tiles extends EventTarget {
  #list;
  /** By {@link keyOf}. @type {Map<string, { element: HTMLElement, view: View }>} */
  #tiles = new Map();
  /** @type {HTMLElement | null} */
  #invite = null;
  #pinned = "";
  /** The loudspeaker's device id. */
  #speaker = "";
  #observer;

  /** @param {HTMLElement} list */
  constructor(list) {
    super();
    this.#list = list;
    this.#observer = new ResizeObserver(() => this.#arrange());
    this.#observer.observe(list);
  }

  /** @param {View} view */
  show(view) {
    const key = keyOf(view);
    let tile = this.#tiles.get(key);
    if (!tile) {
      tile = { element: this.#create(view), view };
      this.#tiles.set(key, tile);
    }
    const { element } = tile;
    tile.view = view;
    const video = element.querySelector("video");
    if (video.srcObject !== view.stream) {
      video.srcObject = view.stream;
      this.#play(video);
    }
    element.classList.toggle("tile-dark", !view.video);
    element.classList.toggle("tile-away", !!view.away);
    element.querySelector(".tile-muted").classList.toggle("shown", view.muted);
    element.querySelector(".tile-hand").classList.toggle("shown", !!view.hand);
    element.querySelector(".tile-name").textContent = view.name;
    element.querySelector(".tile-role").textContent = view.screen ? " (screen)" : view.self ? " (you)" : "";
    const state = element.querySelector(".tile-state");
    state.textContent = view.state;
    state.hidden = !view.state;
    const pin = element.querySelector(".tile-pin");
    pin.title = this.#pinned === key ? "Unpin" : "Pin";
    pin.setAttribute("aria-label", `${pin.title} ${view.name}${view.screen ? "’s screen" : ""}`);
    drawFace(element.querySelector(".tile-face"), view.id, view.name);
    this.#arrange();
  }

  /** Removes the tiles of a person. @param {string} id */
  remove(id) {
    this.#remove(id);
    this.removeScreen(id);
  }

  /** @param {string} id */
  removeScreen(id) {
    this.#remove(`${id}/screen`);
  }

  /**
   * @param {string} id
   * @param {boolean} on
   */
  speaking(id, on) {
    this.#tiles.get(id)?.element.classList.toggle("tile-speaking", on);
  }

  /** Shows an emoji for a moment. @param {string} id @param {string} emoji */
  react(id, emoji) {
    const place = this.#tiles.get(id)?.element;
    if (!place) return;
    const element = Object.assign(document.createElement("span"), { className: "tile-reaction", textContent: emoji });
    place.append(element);
    setTimeout(() => element.remove(), REACTION_MS);
  }

  /** Plays all audio on this loudspeaker. @param {string} deviceId empty for the system's */
  useSpeaker(deviceId) {
    if (deviceId === this.#speaker) return;
    this.#speaker = deviceId;
    for (const { element } of this.#tiles.values()) this.#connectSpeaker(element.querySelector("video"));
  }

  /** @param {string} id @returns {HTMLElement | undefined} */
  tile(id) {
    return this.#tiles.get(id)?.element;
  }

  /** The main video: the large one, or that of the first other person. @returns {HTMLVideoElement | undefined} */
  get mainVideo() {
    const shown = [...this.#tiles.values()].filter(({ view }) => view.video);
    const main = this.#tiles.get(this.#focus()) ?? shown.find(({ view }) => !view.self) ?? shown[0];
    return main?.element.querySelector("video");
  }

  /** Shows the empty tile with the invitation. @param {string} link empty to hide it */
  invite(link, words) {
    if (!!link === !!this.#invite) return;
    this.#invite?.remove();
    this.#invite = null;
    if (link) {
      this.#invite = fromTemplate("invite-template");
      if (words) {
        this.#invite.querySelector("h2").textContent = words.title;
        this.#invite.querySelector("p").textContent = words.text;
      }
      this.#invite.querySelector(".invite-link").textContent = link.replace(/^https?:\/\//, "");
      this.#list.append(this.#invite);
    }
    this.#arrange();
  }

  /** Retries playback that the browser has blocked; call it in a click handler. */
  play() {
    for (const { element } of this.#tiles.values()) this.#play(element.querySelector("video"));
  }

  clear() {
    for (const key of [...this.#tiles.keys()]) this.#remove(key);
    this.invite("");
    this.#observer.disconnect();
  }

  #create(view) {
    const element = fromTemplate("tile-template");
    const key = keyOf(view);
    element.dataset.userId = view.id;
    element.classList.toggle("tile-self", view.self);
    element.classList.toggle("tile-screen", view.screen);
    const video = element.querySelector("video");
    // Playing the own microphone or screen would cause an echo.
    video.muted = view.self;
    this.#connectSpeaker(video);
    const pin = () => {
      this.#pinned = this.#pinned === key ? "" : key;
      for (const { view: other } of [...this.#tiles.values()]) this.show(other);
    };
    element.querySelector(".tile-pin").addEventListener("click", pin);
    element.addEventListener("dblclick", pin);
    if (view.self && !view.screen) this.#list.prepend(element);
    else this.#list.insertBefore(element, this.#invite);
    return element;
  }

  /** @param {string} key */
  #remove(key) {
    const tile = this.#tiles.get(key);
    if (!tile) return;
    tile.element.querySelector("video").srcObject = null;
    tile.element.remove();
    this.#tiles.delete(key);
    if (this.#pinned === key) this.#pinned = "";
    this.#arrange();
  }

  #play(video) {
    if (!video.srcObject) return;
    video.play().catch((error) => {
      if (error.name === "NotAllowedError") this.dispatchEvent(new Event("blocked"));
    });
  }

  #connectSpeaker(video) {
    // If the browser cannot choose, or the device was removed, the system's loudspeaker stays in use.
    if (!video.muted && video.sinkId !== this.#speaker) video.setSinkId?.(this.#speaker).catch(() => {});
  }

  /** Returns the key of the large tile: the pinned one, or a shared screen. */
  #focus() {
    if (this.#tiles.has(this.#pinned)) return this.#pinned;
    const screens = [...this.#tiles].filter(([, { view }]) => view.screen);
    return (screens.find(([, { view }]) => !view.self) ?? screens[0])?.[0] ?? "";
  }

  #arrange() {
    const elements = [...this.#list.children];
    const focus = elements.length > 1 ? this.#tiles.get(this.#focus())?.element : undefined;
    for (const [key, { element }] of this.#tiles) {
      element.classList.toggle("tile-focus", element === focus);
      element.querySelector(".tile-pin").setAttribute("aria-pressed", String(key === this.#pinned));
    }
    this.#list.classList.toggle("has-focus", !!focus);
    // The self view is small as soon as there is another tile.
    const self = elements.find((element) => element.matches(".tile-self:not(.tile-screen)"));
    const isSmall = !focus && !this.#invite && elements.length > 1;
    self?.classList.toggle("tile-small", isSmall);
    arrange(this.#list, elements, { focus, corner: isSmall ? self : undefined });
  }
}
