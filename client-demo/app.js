/**
 * The page: lobby → call → lobby or end screen. Modules:
 *
 * - `parlor/` the client module: protocols, connections, members of a room; without DOM, and meant to be copied
 * - `protocols.js`, `modes.js` the available protocols and media modes
 * - `media.js` the devices of this computer
 * - `lobby.js`, `call.js`, `tiles.js`, `people.js`, `plot.js`, `chat.js`, `panel.js`, `quality.js` the user interface
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
import { PROTOCOLS, protocolOf } from "./protocols.js";

const query = new URLSearchParams(location.search);
readSessionLink();
const media = new LocalMedia();
const stun = query.get("stun");
const token = query.get("token") ?? undefined;

/**
 * The `userId` of the tab. It survives a reload, so that a reloaded page replaces its former membership. A token determines the `userId`
 * itself.
 */
const userId = subjectOf(token) ?? remembered("session", "parlor.userId") ?? remember("session", "parlor.userId", uuid());

/** @type {Call | null} */
let call = null;
let room = query.get("room")?.trim() ?? "";
let protocol = initialProtocol();
let mode = modeOf(query.get("media")) ?? MODES[0];

const lobby = new Lobby({
  media,
  name: remembered("local", "parlor.name") ?? "",
  room: room || inventRoom(),
  invited: !!room,
  protocol,
  mode,
});
lobby.addEventListener("wire", ({ detail }) => chooseProtocol(detail));
lobby.addEventListener("mode", ({ detail }) => chooseMode(detail));
lobby.addEventListener("join", ({ detail }) => join(detail));
media.addEventListener("change", () => call && rememberCall());

/**
 * For tests and the console, read-only: the id of this page, its connections by the others' `userId`, and its signaling. With the media
 * server one connection serves all peers: the values of the map then have the `getStats()` and the `state` of a connection.
 */
window.parlor = Object.freeze({
  /** The id of the protocol, if the server assigns it; until then the tab's. */
  get userId() {
    return call?.userId ?? userId;
  },
  /** @returns {string} the current room, or an empty string */
  room: () => (call ? room : ""),
  /** @returns {Map<string, RTCPeerConnection | import("./parlor/sfu-peer.js").SfuPeer>} a copy */
  peers: () => call?.connections() ?? new Map(),
  /** @returns {import("./parlor/parlor.js").Signaling | undefined} the signaling of the current call, for its events */
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
  // This page was reloaded during a call: rejoin with the same devices.
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
  call.addEventListener("ended", ({ detail }) => showEnd(detail));
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

/** Creates a call. @param {string} name */
async function prepare(name) {
  const isSfu = mode.id === "sfu";
  const Device = isSfu ? await loadDevice() : undefined;
  // The media server is available over this protocol only.
  const used = isSfu ? protocolOf("envelope") : protocol;
  const signaling = new used.Signaling({ userId, name, token, metadata: isSfu ? { media: "sfu" } : undefined });
  const iceServers = stun ? [{ urls: stun.startsWith("stun:") ? stun : `stun:${stun}` }] : undefined;
  return new Call({ signaling, media, self: { id: userId, name }, room, protocol: used, link: roomLink(), iceServers, mode, Device });
}

/** The camera size of the address (`camera=640x360@15`), or the one that fits the mode. */
function sizeCamera() {
  const [, width, height, frameRate = "24"] = /^(\d+)x(\d+)(?:@(\d+))?$/.exec(query.get("camera") ?? "") ?? [];
  if (width) return media.resize({ width: Number(width), height: Number(height), frameRate: Number(frameRate) });
  return media.resize(mode.id === "sfu" ? LAYERED : null);
}

/** Continues in the same room in another mode. @param {import("./modes.js").Mode} chosen */
async function goOnIn(chosen) {
  call.close();
  call = null;
  lobby.mode = chosen;
  await chooseMode(chosen);
  await join({ name: byId("name").value.trim(), room });
}

/** From the address, or from the tab's storage. */
function initialProtocol() {
  const last = protocolOf(remembered("session", "parlor.wire"));
  // A visitor who follows a link to a room should be able to go back.
  const fits = last && !(room && last.forTwo);
  return protocolOf(query.get("wire")) ?? (fits ? last : PROTOCOLS[0]);
}

/** @param {import("./protocols.js").Protocol} chosen */
function chooseProtocol(chosen) {
  protocol = chosen;
  remember("session", "parlor.wire", protocol.id);
  showAddress();
}

/** @param {import("./modes.js").Mode} chosen */
function chooseMode(chosen) {
  mode = chosen;
  showAddress();
  return sizeCamera();
}

/** The page's own address: enough to return to the same room with the same settings. */
function showAddress() {
  if (protocol === PROTOCOLS[0]) query.delete("wire");
  else query.set("wire", protocol.id);
  if (mode === MODES[0]) query.delete("media");
  else query.set("media", mode.id);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

/** Leaves the call at the user's request. */
function leave() {
  end();
  lobby.show();
  byId("join").focus();
}

/** Leaves the call after it was ended by the server or another peer. @param {import("./parlor/parlor.js").SignalingError} error */
function showEnd(error) {
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

// A closed or reloaded tab leaves, so that the others need not wait for a timeout.
addEventListener("pagehide", () => call?.close({ mayComeBack: true }));
// A page that the browser restores from its cache has left the call: it starts again.
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

/** The link that invites others. It contains only the room, the protocol of two-peer calls, and the mode. */
function roomLink() {
  const name = call ? room : byId("room").value.trim() || room;
  const forTwo = protocol.forTwo && mode.id === "mesh" ? `&wire=${protocol.id}` : "";
  const how = mode.id === "mesh" ? "" : `&media=${mode.id}`;
  return `${location.origin}${location.pathname}?room=${encodeURIComponent(name)}${forTwo}${how}`;
}

/** Stores the state for a reload. */
function rememberCall() {
  const state = { room, name: remembered("local", "parlor.name"), microphone: media.microphoneOn, camera: media.cameraOn };
  remember("session", "parlor.call", JSON.stringify(state));
}

start();
