/**
 * The layer of a video from the media server, and the choice of another one.
 *
 * @module quality
 */

/** The names of the layers, by their number; the best one first. */
const NAMES = [[], ["Best"], ["Best", "Low"], ["Best", "Middle", "Low"], ["Best", "High", "Middle", "Low"]];

/** Event: `layer`, detail `{ id, layer }`: the maximum layer for a peer, from 0. */
export class Quality extends EventTarget {
  /**
   * @param {HTMLElement} tile
   * @param {{ id: string, name: string }} member
   * @param {import("./parlor/sfu-peer.js").Layers | null} layers of the shown video, if there is one
   */
  show(tile, { id, name }, layers) {
    const place = tile.querySelector(".tile-quality");
    const select = place.querySelector("select");
    place.hidden = !layers;
    if (!layers) return;
    if (select.options.length !== layers.count) {
      const names = NAMES[layers.count];
      select.replaceChildren(...names.map((label, index) => new Option(label, String(layers.count - 1 - index))));
      select.onchange = () => this.dispatchEvent(new CustomEvent("layer", { detail: { id, layer: Number(select.value) } }));
    }
    select.hidden = layers.count < 2;
    select.setAttribute("aria-label", `Maximum quality for ${name}`);
    select.value = String(layers.wanted);
    place.dataset.layer = layers.current === null ? "" : String(layers.current);
    place.querySelector(".tile-layer").textContent = layers.current === null ? "" : `layer ${layers.current + 1}/${layers.count}`;
  }

  /**
   * @param {HTMLElement} tile
   * @param {import("./parlor/meter.js").PeerStats} stats
   */
  measure(tile, { width, height, framesPerSecond, bitrateIn }) {
    const text = width ? `${width}×${height}, ${Math.round(framesPerSecond ?? 0)} fps` : "";
    tile.querySelector(".tile-size").textContent = text;
    tile.querySelector(".tile-bitrate").textContent = `${Math.round(bitrateIn / 1000)} kbit/s`;
  }
}
