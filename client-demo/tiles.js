/**
 * The video tiles: one per person, as large as possible, or one large tile and the others in a strip.
 *
 * Tiles are positioned by this module rather than by a CSS grid, which cannot choose the number of columns that wastes the least space.
 *
 * @module tiles
 */
import { drawFace, fromTemplate } from "./dom.js";

const GAP = 10;
/** Aspect ratios of a tile, width by height. Narrow ones are for phones in portrait mode; cameras elsewhere are wide. */
const NARROWEST_UPRIGHT = 0.8;
const NARROWEST = 1.2;
const WIDEST = 16 / 9;

/**
 * The content of a tile.
 * @typedef {object} View
 * @property {string} id
 * @property {string} name
 * @property {boolean} self
 * @property {MediaStream | null} stream
 * @property {boolean} video whether there is video to show
 * @property {boolean} screen whether the video is a screen
 * @property {boolean} muted
 * @property {boolean} [away] lost its connection to the server, and may resume
 * @property {string} state shown over the video; empty for a working connection
 */

/** Event: `blocked`: the browser requires a user gesture before it plays audio. */
export class Tiles extends EventTarget {
  #list;
  /** @type {Map<string, { element: HTMLElement, view: View }>} */
  #tiles = new Map();
  /** @type {HTMLElement | null} */
  #invite = null;
  #pinned = "";
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
    let tile = this.#tiles.get(view.id);
    if (!tile) {
      tile = { element: this.#create(view), view };
      this.#tiles.set(view.id, tile);
    }
    const { element } = tile;
    tile.view = view;
    const video = element.querySelector("video");
    if (video.srcObject !== view.stream) {
      video.srcObject = view.stream;
      this.#play(video);
    }
    element.classList.toggle("tile-self", view.self);
    element.classList.toggle("tile-screen", view.screen);
    element.classList.toggle("tile-dark", !view.video);
    element.classList.toggle("tile-away", !!view.away);
    element.querySelector(".tile-muted").classList.toggle("shown", view.muted);
    element.querySelector(".tile-name").textContent = view.self ? `${view.name} (you)` : view.name;
    const state = element.querySelector(".tile-state");
    state.textContent = view.state;
    state.hidden = !view.state;
    const pin = element.querySelector(".tile-pin");
    pin.title = this.#pinned === view.id ? "Unpin" : "Pin";
    pin.setAttribute("aria-label", `${pin.title} ${view.name}`);
    drawFace(element.querySelector(".tile-face"), view.id, view.name);
    this.#arrange();
  }

  /** @param {string} id */
  remove(id) {
    const tile = this.#tiles.get(id);
    if (!tile) return;
    tile.element.querySelector("video").srcObject = null;
    tile.element.remove();
    this.#tiles.delete(id);
    if (this.#pinned === id) this.#pinned = "";
    this.#arrange();
  }

  /**
   * @param {string} id
   * @param {boolean} on
   */
  speaking(id, on) {
    this.#tiles.get(id)?.element.classList.toggle("tile-speaking", on);
  }

  /** @param {string} id @returns {HTMLElement | undefined} */
  tile(id) {
    return this.#tiles.get(id)?.element;
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
    for (const id of [...this.#tiles.keys()]) this.remove(id);
    this.invite("");
    this.#observer.disconnect();
  }

  #create(view) {
    const element = fromTemplate("tile-template");
    element.dataset.userId = view.id;
    const video = element.querySelector("video");
    // Playing the own microphone would cause an echo.
    video.muted = view.self;
    const pin = () => {
      this.#pinned = this.#pinned === view.id ? "" : view.id;
      for (const { view: other } of [...this.#tiles.values()]) this.show(other);
    };
    element.querySelector(".tile-pin").addEventListener("click", pin);
    element.addEventListener("dblclick", pin);
    if (view.self) this.#list.prepend(element);
    else this.#list.insertBefore(element, this.#invite);
    return element;
  }

  #play(video) {
    if (!video.srcObject) return;
    video.play().catch((error) => {
      if (error.name === "NotAllowedError") this.dispatchEvent(new Event("blocked"));
    });
  }

  /** Returns the large tile: the pinned one, or a shared screen. */
  #focus() {
    if (this.#tiles.has(this.#pinned)) return this.#pinned;
    const sharing = [...this.#tiles.values()].filter(({ view }) => view.screen);
    return (sharing.find(({ view }) => !view.self) ?? sharing[0])?.view.id ?? "";
  }

  #arrange() {
    const width = this.#list.clientWidth;
    const height = this.#list.clientHeight;
    const elements = [...this.#list.children];
    if (!width || !height || !elements.length) return;
    const focus = elements.length > 1 ? this.#tiles.get(this.#focus())?.element : null;
    for (const { element, view } of this.#tiles.values()) {
      element.classList.toggle("tile-focus", element === focus);
      element.querySelector(".tile-pin").setAttribute("aria-pressed", String(view.id === this.#pinned));
    }
    this.#list.classList.toggle("has-focus", !!focus);
    const wide = width > height;
    const narrowest = wide ? NARROWEST : NARROWEST_UPRIGHT;
    if (!focus) return place(elements, grid(elements.length, width, height, narrowest));

    const others = elements.filter((element) => element !== focus);
    // The strip is beside the large tile, or below it on a phone in portrait mode.
    const strip = wide ? Math.min(220, width * 0.24) : Math.min(130, height * 0.24);
    const large = wide ? [0, 0, width - strip - GAP, height] : [0, 0, width, height - strip - GAP];
    const small = grid(others.length, wide ? strip : width, wide ? height : strip, narrowest, wide ? 1 : others.length);
    const offset = wide ? [width - strip, 0] : [0, height - strip];
    place([focus], [large]);
    place(others, small.map(([x, y, w, h]) => [x + offset[0], y + offset[1], w, h]));
  }
}

/**
 * Returns the arrangement of equal tiles that covers most of the space.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} narrowest the minimum aspect ratio of a tile
 * @param {number} [columns] a fixed number of columns
 * @returns {[x: number, y: number, width: number, height: number][]}
 */
export function grid(count, width, height, narrowest, columns) {
  let best = { area: -1, columns: 1, w: 0, h: 0 };
  for (let tried = columns ?? 1; tried <= (columns ?? count); tried++) {
    const rows = Math.ceil(count / tried);
    let w = (width - GAP * (tried - 1)) / tried;
    let h = (height - GAP * (rows - 1)) / rows;
    if (w / h > WIDEST) w = h * WIDEST;
    if (w / h < narrowest) h = w / narrowest;
    if (w * h > best.area) best = { area: w * h, columns: tried, w, h };
  }
  const { w, h } = best;
  const rows = Math.ceil(count / best.columns);
  const top = (height - rows * h - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / best.columns);
    // The last row may be incomplete; it is centred like the others.
    const inRow = row === rows - 1 ? count - row * best.columns : best.columns;
    const left = (width - inRow * w - (inRow - 1) * GAP) / 2;
    return [left + (index % best.columns) * (w + GAP), top + row * (h + GAP), w, h];
  });
}

function place(elements, boxes) {
  elements.forEach(({ style }, index) => {
    const [x, y, w, h] = boxes[index].map(Math.floor);
    style.setProperty("--x", `${x}px`);
    style.setProperty("--y", `${y}px`);
    style.setProperty("--w", `${w}px`);
    style.setProperty("--h", `${h}px`);
  });
}
