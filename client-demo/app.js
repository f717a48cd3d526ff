/**
 * The page: lobby → call → lobby, or farewell. Everything else is in a module of its own:
 *
 * - `parlor/` the client module: the wires, the connections, everybody in a room; no DOM there, and meant to be copied
 * - `wires.js`, `modes.js` the wires on offer, and the ways in which media goes
 * - `media.js` this computer's devices
 * - `lobby.js`, `call.js`, `tiles.js`, `people.js`, `plot.js`, `chat.js`, `panel.js`, `quality.js` what one sees
 *
 * @module app
 */
import { Call } from "./call.js";
import { announce, byId, copy, icon } from "./dom.js";
import { explain } from "./errors.js";
import { forget, inventRoom, remember, remembered, subjectOf } from "./identity.js";
import { Lobby } from "./lobby.js";
import { LAYERED, LocalMedia } from "./media.js";
import { loadDevice, MODES, modeOf } from "./modes.js";
import { uuid } from "./parlor/uuid.js";
import { WIRES, wireOf } from "./wires.js";

const query = new URLSearchParams(location.search);
readSessionLink();
const media = new LocalMedia();
const stun = query.get("stun");
const token = query.get("token") ?? undefined;

/**
 * Our `userId`. It belongs to the tab and outlives a reload, so that a reloaded page takes its own place back instead of being
 * another person. A token says itself whose it is.
 */
const userId = subjectOf(token) ?? remembered("session", "parlor.userId") ?? remember("session", "parlor.userId", uuid());

/** @type {Call | null} */
let call = null;
let room = query.get("room")?.trim() ?? "";
let wire = initialWire();
let mode = modeOf(query.get("media")) ?? MODES[0];

const lobby = new Lobby({
  media,
  name: remembered("local", "parlor.name") ?? "",
  room: room || inventRoom(),
  invited: !!room,
  wire,
  mode,
});
lobby.addEventListener("wire", ({ detail }) => chooseWire(detail));
lobby.addEventListener("mode", ({ detail }) => chooseMode(detail));
lobby.addEventListener("join", ({ detail }) => join(detail));
media.addEventListener("change", () => call && rememberCall());

/**
 * For tests and the console, and to be read only: who this page is, its connections by the others' `userId`, and its wire. Through the
 * media server there is one connection for all: what is in the map then has the `getStats()` of one, and a `state`.
 */
window.parlor = Object.freeze({
  /** The wire's own, where the server gives them; while there is none, the tab's. */
  get userId() {
    return call?.userId ?? userId;
  },
  /** @returns {string} the room one is in, or an empty string */
  room: () => (call ? room : ""),
  /** @returns {Map<string, RTCPeerConnection | import("./parlor/sfu-peer.js").SfuPeer>} a copy */
  peers: () => call?.connections() ?? new Map(),
  /** @returns {import("./parlor/parlor.js").Signaling | undefined} the way to the server, whose events tell what is going on */
  signaling: () => call?.signaling,
});

/** `?session=<id>` is a link to a one-to-one call over `/signal`. */
function readSessionLink() {
  const session = query.get("session")?.trim();
  if (!session) return;
  query.delete("session");
  query.set("room", session);
  query.set("wire", "session");
}

async function start() {
  const interrupted = JSON.parse(remembered("session", "parlor.call") ?? "null");
  lobby.show();
  await sizeCamera();
  if (interrupted?.room !== room || !room) return media.open();
  // This page was reloaded in the middle of a call: straight back, with what had been switched on.
  lobby.busy(true);
  await media.open({ audio: interrupted.microphone, video: interrupted.camera });
  await join({ name: interrupted.name ?? "Guest", room });
}

/** @param {{ name: string, room: string }} wanted */
async function join({ name, room: wanted }) {
  lobby.busy(true);
  room = wanted;
  remember("local", "parlor.name", name);
  let joining;
  try {
    joining = await prepare(name);
    await joining.signaling.join(room);
  } catch (error) {
    joining?.close();
    forget("session", "parlor.call");
    lobby.show(explain(error));
    return;
  }
  call = joining;
  call.addEventListener("leave", leave);
  call.addEventListener("ended", ({ detail }) => farewell(detail));
  call.addEventListener("mode", ({ detail }) => goOnIn(detail));
  lobby.hide();
  byId("farewell").hidden = true;
  call.show();
  rememberCall();
  query.set("room", room);
  showAddress();
  document.title = `${room} · Parlor`;
  announce(`You are in ${room}`);
}

/** A call to be joined. @param {string} name */
async function prepare(name) {
  const isSfu = mode.id === "sfu";
  const Device = isSfu ? await loadDevice() : undefined;
  // The media server is spoken to over this wire alone.
  const used = isSfu ? wireOf("envelope") : wire;
  const signaling = new used.Signaling({ userId, name, token, metadata: isSfu ? { media: "sfu" } : undefined });
  const iceServers = stun ? [{ urls: stun.startsWith("stun:") ? stun : `stun:${stun}` }] : undefined;
  return new Call({ signaling, media, self: { id: userId, name }, room, wire: used, link: roomLink(), iceServers, mode, Device });
}

/** As the address has it (`camera=640x360@15`), or as it fits how media goes. */
function sizeCamera() {
  const [, width, height, frameRate = "24"] = /^(\d+)x(\d+)(?:@(\d+))?$/.exec(query.get("camera") ?? "") ?? [];
  if (width) return media.resize({ width: Number(width), height: Number(height), frameRate: Number(frameRate) });
  return media.resize(mode.id === "sfu" ? LAYERED : null);
}

/** The same room in the other way. @param {import("./modes.js").Mode} chosen */
async function goOnIn(chosen) {
  call.close();
  call = null;
  lobby.mode = chosen;
  await chooseMode(chosen);
  await join({ name: byId("name").value.trim(), room });
}

/** The address says it; without a word there, the tab remembers. */
function initialWire() {
  const last = wireOf(remembered("session", "parlor.wire"));
  // Someone who follows a link to a room does not mean to close it behind them.
  const fits = last && !(room && last.forTwo);
  return wireOf(query.get("wire")) ?? (fits ? last : WIRES[0]);
}

/** @param {import("./wires.js").Wire} chosen */
function chooseWire(chosen) {
  wire = chosen;
  remember("session", "parlor.wire", wire.id);
  showAddress();
}

/** @param {import("./modes.js").Mode} chosen */
function chooseMode(chosen) {
  mode = chosen;
  showAddress();
  return sizeCamera();
}

/** The page's own address: enough to come back to the same place in the same way. */
function showAddress() {
  if (wire === WIRES[0]) query.delete("wire");
  else query.set("wire", wire.id);
  if (mode === MODES[0]) query.delete("media");
  else query.set("media", mode.id);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

/** Out of the call by one's own wish. */
function leave() {
  end();
  lobby.show();
  byId("join").focus();
}

/** Out of the call by someone else's. @param {import("./parlor/parlor.js").SignalingError} error */
function farewell(error) {
  end();
  media.stop();
  byId("farewell-title").textContent = error.code === "REPLACED" ? "You are somewhere else now" : "The call has ended";
  byId("farewell-text").textContent = explain(error);
  byId("farewell-again").textContent = error.code === "REPLACED" ? "Take it back" : "Join again";
  byId("farewell").hidden = false;
  byId("farewell-title").focus();
}

function end() {
  call?.close();
  call = null;
  media.stopScreen();
  forget("session", "parlor.call");
  document.title = "Parlor";
}

byId("farewell-again").addEventListener("click", async () => {
  byId("farewell").hidden = true;
  lobby.show();
  lobby.busy(true);
  await media.open();
  await join({ name: byId("name").value.trim(), room });
});
byId("farewell-lobby").addEventListener("click", () => {
  byId("farewell").hidden = true;
  lobby.show();
  media.open();
});

// A closed or reloaded tab says goodbye, so that the others need not wait for a timeout to notice.
addEventListener("pagehide", () => call?.close({ mayComeBack: true }));
// A page that the browser had kept and shows again finds itself hung up: it starts anew.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy-link]");
  if (!button) return;
  const done = await copy(roomLink());
  const [was, label] = [button.querySelector(".icon"), button.querySelector("span")];
  if (button.dataset.busy) return;
  button.dataset.busy = "true";
  const [oldIcon, oldText] = [was, label.textContent];
  was.replaceWith(icon(done ? "check" : "alert"));
  label.textContent = done ? "Copied" : "Not copied";
  announce(done ? "The link is on the clipboard" : "The link could not be copied");
  setTimeout(() => {
    button.querySelector(".icon").replaceWith(oldIcon);
    label.textContent = oldText;
    delete button.dataset.busy;
  }, 1800);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea") && event.key !== "Escape";
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  const known = call ? call.shortcut(key) : !byId("lobby").hidden && lobby.shortcut(key);
  if (known) event.preventDefault();
});

/** What others open to come here. Nothing of ours is in it but the room, that it is for two, and by which way media goes. */
function roomLink() {
  const name = call ? room : byId("room").value.trim() || room;
  const forTwo = wire.forTwo && mode.id === "mesh" ? `&wire=${wire.id}` : "";
  const how = mode.id === "mesh" ? "" : `&media=${mode.id}`;
  return `${location.origin}${location.pathname}?room=${encodeURIComponent(name)}${forTwo}${how}`;
}

/** For the page that comes after a reload. */
function rememberCall() {
  const state = { room, name: remembered("local", "parlor.name"), microphone: media.microphoneOn, camera: media.cameraOn };
  remember("session", "parlor.call", JSON.stringify(state));
}

start();
