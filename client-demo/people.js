/**
 * The list of people, with the state and the history of each connection.
 *
 * @module people
 */
import { byId, drawFace, fromTemplate, icon } from "./dom.js";
import { elsewhereLine } from "./modes.js";
import { Plot } from "./plot.js";

/** User-facing names of `connectionState`. */
const STATES = {
  new: "Connecting…",
  connecting: "Connecting…",
  connected: "Connected",
  disconnected: "Connection lost, trying again…",
  failed: "No way through, trying again…",
  closed: "Left",
};

/**
 * @param {import("./parlor/parlor.js").Member | import("./parlor/sfu.js").SfuMember} member
 * @param {import("./modes.js").Mode} mode the current mode
 */
export function stateOf(member, mode) {
  if (member.elsewhere) return elsewhereLine(mode);
  const state = STATES[member.peer?.state ?? "new"];
  return member.away && member.peer?.state === "connected" ? "Reconnecting…" : state;
}

export class People {
  /** @type {Map<string, { row: HTMLElement, incoming: Plot, roundTrip: Plot }>} */
  #rows = new Map();
  #mode;

  /** @param {import("./modes.js").Mode} mode */
  constructor(mode) {
    this.#mode = mode;
  }

  /** @param {{ id: string, name: string, microphone: boolean, camera: boolean, screen: boolean }} self */
  showSelf({ id, name, microphone, camera, screen }) {
    const { row } = this.#row(id, false);
    row.querySelector(".person-name").textContent = `${name} (you)`;
    row.querySelector(".person-state").textContent = "";
    drawFace(row.querySelector(".face"), id, name);
    drawSends(row, { audio: microphone, video: camera, screen });
    this.#count();
  }

  /** @param {import("./parlor/parlor.js").Member} member */
  show(member) {
    const { row } = this.#row(member.id, true);
    row.querySelector(".person-name").textContent = member.name;
    const state = row.querySelector(".person-state");
    state.dataset.state = member.away || member.elsewhere ? "away" : (member.peer?.state ?? "new");
    state.textContent = stateOf(member, this.#mode);
    drawFace(row.querySelector(".face"), member.id, member.name);
    drawSends(row, member.sends);
    this.#count();
  }

  /**
   * @param {import("./parlor/parlor.js").Member} member
   * @param {import("./parlor/meter.js").PeerStats} stats
   */
  measure(member, stats) {
    const entry = this.#rows.get(member.id);
    if (!entry) return;
    const connected = member.peer?.state === "connected";
    entry.incoming.push(connected ? stats.bitrateIn + stats.bitrateOut : null);
    entry.roundTrip.push(connected && stats.roundTripTime !== null ? stats.roundTripTime * 1000 : null);
    if (connected && !member.away) {
      const size = stats.framesPerSecond ? `${stats.width}×${stats.height}, ${Math.round(stats.framesPerSecond)} fps` : "";
      const parts = [stats.path && `Connected, ${stats.path}`, size].filter(Boolean);
      entry.row.querySelector(".person-state").textContent = parts.join(" · ") || "Connected";
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

  #row(id, plotted) {
    let entry = this.#rows.get(id);
    if (entry) return entry;
    entry = {
      row: fromTemplate("person-template"),
      incoming: new Plot({ label: "Bitrate", kind: "bitrate", format: bitrate, floor: 100_000 }),
      roundTrip: new Plot({ label: "Round trip", kind: "round-trip", format: milliseconds, floor: 20 }),
    };
    entry.row.dataset.userId = id;
    if (plotted) entry.row.querySelector(".plots").append(entry.incoming.element, entry.roundTrip.element);
    this.#rows.set(id, entry);
    byId("people-list").append(entry.row);
    return entry;
  }

  #count() {
    byId("people-count").textContent = String(this.#rows.size);
  }
}

function drawSends(row, sends) {
  const icons = sends
    ? [[sends.screen, "screen", "shares a screen"], [!sends.audio, "mic-off", "muted"], [!sends.video, "camera-off", "no picture"]]
    : [];
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
