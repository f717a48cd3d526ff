/**
 * The list of people, with the state of each connection and, on request, its statistics over the last minute.
 *
 * @module people
 */
import { byId, drawFace, fromTemplate, icon } from "./dom.js";
import { describeElsewhere } from "./modes.js";
import { Plot } from "./plot.js";

/** User-facing names of `connectionState`. */
const STATES = {
  new: "Connecting…",
  connecting: "Connecting…",
  connected: "Connected",
  disconnected: "Connection lost, trying again…",
  failed: "Connection failed, trying again…",
  closed: "Left",
};

/** The plots of a person. `floor` is the minimum upper bound of the scale. */
const PLOTS = {
  bitrate: { label: "Bitrate", format: bitrate, floor: 100_000 },
  loss: { label: "Loss", format: (value) => `${value.toFixed(1)} %`, floor: 2 },
  "round-trip": { label: "Round trip", format: milliseconds, floor: 20 },
};

/**
 * @param {import("./parlor/auto.js").AutoMember} member
 * @param {"mesh" | "sfu" | null} mode of the call
 */
export function describeState(member, mode) {
  if (member.elsewhere) return describeElsewhere(mode);
  const state = STATES[member.peer?.state ?? "new"];
  return member.away && member.peer?.state === "connected" ? "Reconnecting…" : state;
}

export class People {
  /** @type {Map<string, { row: HTMLElement, plots: Record<string, Plot> }>} */
  #rows = new Map();

  /** @param {{ id: string, name: string, microphone: boolean, camera: boolean, screen: boolean, hand: boolean }} self */
  showSelf({ id, name, microphone, camera, screen, hand }) {
    const { row } = this.#row(id, false);
    this.#draw(row, { id, name, role: " (you)", state: "" });
    drawSentMedia(row, { audio: microphone, video: camera, screen }, hand);
    this.#count();
  }

  /**
   * @param {import("./parlor/auto.js").AutoMember} member
   * @param {{ mode: "mesh" | "sfu" | null, hand: boolean }} options
   */
  show(member, { mode, hand }) {
    const { row } = this.#row(member.id, true);
    row.querySelector(".person-state").dataset.state = member.away || member.elsewhere ? "away" : (member.peer?.state ?? "new");
    this.#draw(row, { id: member.id, name: member.name, role: "", state: describeState(member, mode) });
    drawSentMedia(row, member.sends, hand);
    this.#count();
  }

  /**
   * @param {import("./parlor/auto.js").AutoMember} member
   * @param {import("./parlor/meter.js").PeerStats} stats
   */
  measure(member, stats) {
    const entry = this.#rows.get(member.id);
    if (!entry) return;
    const isConnected = member.peer?.state === "connected";
    const { plots, row } = entry;
    const value = (number, factor = 1) => (isConnected && number !== null ? number * factor : null);
    plots.bitrate.push(value(stats.bitrateIn + stats.bitrateOut));
    plots.loss.push(value(stats.loss, 100));
    plots["round-trip"].push(value(stats.roundTripTime, 1000));
    row.querySelector(".person-details").textContent = [stats.codecs, stats.pair].filter(Boolean).join(" · ");
    if (isConnected && !member.away) {
      const size = stats.framesPerSecond ? `${stats.width}×${stats.height}, ${Math.round(stats.framesPerSecond)} fps` : "";
      const parts = [stats.path && `Connected, ${stats.path}`, size].filter(Boolean);
      row.querySelector(".person-state").textContent = parts.join(" · ") || "Connected";
    }
  }

  /** @param {string} id */
  remove(id) {
    this.#rows.get(id)?.row.remove();
    this.#rows.delete(id);
    this.#count();
  }

  clear() {
    for (const id of [...this.#rows.keys()]) this.remove(id);
  }

  #row(id, isPlotted) {
    let entry = this.#rows.get(id);
    if (entry) return entry;
    const plots = Object.fromEntries(Object.entries(PLOTS).map(([kind, options]) => [kind, new Plot({ kind, ...options })]));
    entry = { row: fromTemplate("person-template"), plots };
    entry.row.dataset.userId = id;
    if (isPlotted) entry.row.querySelector(".plots").append(...Object.values(plots).map(({ element }) => element));
    this.#rows.set(id, entry);
    byId("people-list").append(entry.row);
    return entry;
  }

  #draw(row, { id, name, role, state }) {
    row.querySelector("bdi").textContent = name;
    row.querySelector(".person-role").textContent = role;
    row.querySelector(".person-state").textContent = state;
    drawFace(row.querySelector(".face"), id, name);
  }

  #count() {
    byId("people-count").textContent = String(this.#rows.size);
  }
}

function drawSentMedia(row, sends, hand) {
  const icons = [
    [hand, "hand", "raises a hand"],
    [sends?.screen, "screen", "shares a screen"],
    [sends && !sends.audio, "mic-off", "muted"],
    [sends && !sends.video, "camera-off", "camera off"],
  ];
  row.querySelector(".person-sends").replaceChildren(
    ...icons.filter(([shown]) => shown).map(([, name, label]) => {
      const svg = icon(name);
      svg.removeAttribute("aria-hidden");
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", label);
      return svg;
    }),
  );
}

function bitrate(bitsPerSecond) {
  return bitsPerSecond >= 1e6 ? `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}

function milliseconds(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}
