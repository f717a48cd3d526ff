/**
 * A small SVG plot of one figure over the last minute.
 *
 * @module plot
 */
import { fromTemplate } from "./dom.js";

/** Number of values; with one per second, a minute. */
const LENGTH = 60;
const WIDTH = 120;
const HEIGHT = 28;

export class Plot {
  /** The element to insert into the page. */
  element = fromTemplate("plot-template");

  /** @type {(number | null)[]} */
  #values = [];
  #label;
  #format;
  #floor;

  /**
   * @param {{ label: string, kind: string, format: (value: number) => string, floor: number }} options
   * `kind` selects the colour; `floor` is the minimum upper bound of the scale, so that noise near zero stays small
   */
  constructor({ label, kind, format, floor }) {
    this.#label = label;
    this.#format = format;
    this.#floor = floor;
    this.element.classList.add(`plot-${kind}`);
    this.element.querySelector(".plot-label").textContent = label;
    this.push(null);
  }

  /** @param {number | null} value null if there is no measurement, which interrupts the line */
  push(value) {
    this.#values.push(value);
    if (this.#values.length > LENGTH) this.#values.shift();
    const text = value === null ? "–" : this.#format(value);
    this.element.querySelector(".plot-value").textContent = text;
    this.element.querySelector("svg").setAttribute("aria-label", `${this.#label} ${text}`);
    this.#draw();
  }

  #draw() {
    const top = Math.max(this.#floor, ...this.#values.map((value) => value ?? 0)) * 1.15;
    const offset = LENGTH - this.#values.length;
    let line = "";
    let area = "";
    let start = null;
    this.#values.forEach((value, index) => {
      const x = round(((index + offset) / (LENGTH - 1)) * WIDTH);
      if (value !== null) {
        const y = round(HEIGHT - 1 - (value / top) * (HEIGHT - 2));
        line += `${start === null ? "M" : "L"}${x} ${y}`;
        area += start === null ? `M${x} ${HEIGHT}L${x} ${y}` : `L${x} ${y}`;
        start ??= x;
      }
      const last = value === null || index === this.#values.length - 1;
      if (last && start !== null) {
        area += `V${HEIGHT}Z`;
        start = null;
      }
    });
    this.element.querySelector(".plot-line").setAttribute("d", line);
    this.element.querySelector(".plot-area").setAttribute("d", area);
  }
}

const round = (value) => Math.round(value * 10) / 10;
