/**
 * The page: lobby → call → lobby or end screen. Modules:
 *
 * - `parlor/` the client module: protocols, connections, members of a room; without DOM, for use in other pages too
 * - `protocols.js`, `modes.js` the available protocols and media modes
 * - `media.js` the devices of this computer
 * - `lobby.js`, `call.js` the two views; `call.js` imports the parts of a call
 *
 * @module app
 */
import { Call } from "./call.js";
import { announce, byId, copy, icon } from "./dom.js";
import { explain } from "./errors.js";
import { forget, randomRoomName, remember, remembered, subjectOf } from "./identity.js";
import { Lobby } from "./lobby.js";
import { LAYERED, LocalMedia } from "./media.js";
import { loadDevice, MODES, modeOf } from "./modes.js";
import { cleanName } from "./parlor/name.js";
import { uuid } from "./parlor/uuid.js";
import { PROTOCOLS, protocolOf } from "./protocols.js";
import { shortcutsAreOn } from "./settings.js";
import { claimRoom, isInOtherTab } from "./tabs.js";

const query = new URLSearchParams(location.search);
readFormerLink();
readSessionLink();
const media = new LocalMedia();
const stun = query.get("stun");
const token = takeToken();

/**
 * The `userId` of the tab. It survives a reload, so that a reloaded page replaces its former membership. A token determines the `userId`
 * itself.
 */
const userId = subjectOf(token) ?? remembered("session", "parlor.userId") ?? remember("session", "parlor.userId", uuid());

/** @type {Call | null} */
let call = null;
let releaseRoom = () => {};
let room = query.get("room")?.trim() ?? "";
let protocol = initialProtocol();
let mode = modeOf(query.get("media")) ?? MODES[0];

const lobby = new Lobby({
  media,
  name: remembered("local", "parlor.name") ?? "",
  room: room || randomRoomName(),
  invited: !!room,
  protocol,
  mode,
  token,
});
lobby.addEventListener("protocol", ({ detail }) => chooseProtocol(detail));
lobby.addEventListener("mode", ({ detail }) => chooseMode(detail));
lobby.addEventListener("join", async ({ detail }) => {
  lobby.busy(true);
  const isMuted = await muteInSecondTab(detail.room);
  await join(detail);
  if (isMuted) call?.notify("Your microphone is off: this room is open in another tab of this browser.");
});
showAddress();
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
  /** @returns {"mesh" | "sfu" | null} the mode of the room */
  mode: () => call?.mode ?? null,
});

/** Reads the former name of the URL parameter `protocol`, `wire`. */
function readFormerLink() {
  const former = query.get("wire");
  query.delete("wire");
  if (former && !query.has("protocol")) query.set("protocol", former);
}

/** `?session=<id>` is a link to a one-to-one call over `/signal`. */
function readSessionLink() {
  const session = query.get("session")?.trim();
  if (!session) return;
  query.delete("session");
  query.set("room", session);
  query.set("protocol", "session");
}

/** Removes the token from the address, where others could read it, and stores it for a reload. @returns {string | undefined} */
function takeToken() {
  const given = query.get("token");
  query.delete("token");
  if (given) return remember("session", "parlor.token", given);
  // A link without a token must not use the token of an earlier page.
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") forget("session", "parlor.token");
  return remembered("session", "parlor.token") ?? undefined;
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

/** Turns the microphone off if another tab is in the room, since each would hear the other. Returns whether it did. @param {string} wanted */
async function muteInSecondTab(wanted) {
  if (!media.microphoneOn || !(await isInOtherTab(wanted))) return false;
  await media.setMicrophone(false);
  return true;
}

/** @param {{ name: string, room: string }} wanted */
async function join({ name, room: wanted }) {
  lobby.busy(true);
  room = wanted;
  remember("local", "parlor.name", name);
  try {
    call = await enter(name);
  } catch (error) {
    forget("session", "parlor.call");
    lobby.show(explain(error));
    return;
  }
  releaseRoom();
  releaseRoom = claimRoom(room);
  call.addEventListener("leave", leave);
  call.addEventListener("ended", ({ detail }) => showEnd(detail));
  lobby.hide();
  byId("end-screen").hidden = true;
  call.show();
  rememberCall();
  query.set("room", room);
  showAddress();
  document.title = `${room} · Parlor`;
  announce(`You are in ${room}`);
}

/** Joins a call over the chosen protocol, or over Socket.IO if the default protocol is blocked. @param {string} name */
async function enter(name) {
  try {
    return await enterOver(protocol, name);
  } catch (error) {
    if (error.code !== "UNREACHABLE" || protocol !== PROTOCOLS[0]) throw error;
    try {
      return await enterOver(protocolOf("socketio"), name);
    } catch (second) {
      throw second.code ? second : error;
    }
  }
}

/** @param {import("./protocols.js").Protocol} chosen @param {string} name */
async function enterOver(chosen, name) {
  const Signaling = await chosen.load();
  const canUseSfu = !!chosen.hasSfu && (await lobby.hasSfu());
  const signaling = new Signaling({ userId, name, token, metadata: canUseSfu ? { media: "auto" } : undefined });
  const iceServers = stun ? [{ urls: stun.startsWith("stun:") ? stun : `stun:${stun}` }] : undefined;
  const wanted = mode.id === "auto" ? undefined : mode.id;
  const self = { id: userId, name };
  const options = { signaling, media, self, room, protocol: chosen, link: roomLink(), iceServers, wanted };
  const joining = new Call({ ...options, loadDevice: canUseSfu ? loadDevice : undefined });
  try {
    await signaling.join(room);
    return joining;
  } catch (error) {
    joining.close();
    throw error;
  }
}

/** Sets the camera size of the address (`camera=640x360@15`), or the one that fits the mode. */
function sizeCamera() {
  const [, width, height, frameRate = "24"] = /^(\d+)x(\d+)(?:@(\d+))?$/.exec(query.get("camera") ?? "") ?? [];
  if (width) return media.resize({ width: Number(width), height: Number(height), frameRate: Number(frameRate) });
  return media.resize(mode.id === "sfu" ? LAYERED : null);
}

/** Returns the protocol of the address, or of the tab's storage. */
function initialProtocol() {
  const last = protocolOf(remembered("session", "parlor.protocol"));
  // A visitor who follows a link to a room should be able to go back.
  const fits = last && !(room && last.forTwo);
  return protocolOf(query.get("protocol")) ?? (fits ? last : PROTOCOLS[0]);
}

/** @param {import("./protocols.js").Protocol} chosen */
function chooseProtocol(chosen) {
  protocol = chosen;
  remember("session", "parlor.protocol", protocol.id);
  showAddress();
}

/** @param {import("./modes.js").Mode} chosen */
function chooseMode(chosen) {
  mode = chosen;
  showAddress();
  return sizeCamera();
}

/** Shows the settings in the address bar: enough to return to the same room with the same settings. */
function showAddress() {
  if (protocol === PROTOCOLS[0]) query.delete("protocol");
  else query.set("protocol", protocol.id);
  if (mode === MODES[0]) query.delete("media");
  else query.set("media", mode.id);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

/** Leaves the call at the user's request. */
function leave() {
  end({ title: "You left the call", text: "Your camera and your microphone are off.", again: "Rejoin" });
}

/** Leaves the call after it was ended by the server or another peer. @param {import("./parlor/parlor.js").SignalingError} error */
function showEnd(error) {
  const isReplaced = error.code === "REPLACED";
  const title = isReplaced ? "You joined from somewhere else" : "The call has ended";
  end({ title, text: explain(error), again: isReplaced ? "Join here instead" : "Join again" });
}

/** The devices to open if the user joins again. */
let lastDevices = { audio: true, video: true };

function end({ title, text, again }) {
  lastDevices = { audio: media.microphoneOn, video: media.cameraOn };
  call?.close();
  call = null;
  releaseRoom();
  // Turns the indicator light of the camera off.
  media.stop();
  forget("session", "parlor.call");
  document.title = "Parlor";
  byId("end-title").textContent = title;
  byId("end-text").textContent = text;
  byId("end-rejoin").textContent = again;
  byId("end-screen").hidden = false;
  byId("end-title").focus();
}

byId("end-rejoin").addEventListener("click", async () => {
  byId("end-screen").hidden = true;
  lobby.show();
  lobby.busy(true);
  await media.open(lastDevices);
  await join({ name: cleanName(byId("name").value), room });
});
byId("end-lobby").addEventListener("click", async () => {
  byId("end-screen").hidden = true;
  lobby.show();
  byId("join").focus();
  await media.open();
});

// A closed or reloaded tab leaves, so that the others need not wait for a timeout.
addEventListener("pagehide", () => call?.close({ mayRejoin: true }));
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
  // The browser itself closes a dialog or a menu.
  if (document.querySelector("dialog[open], :popover-open") || (key !== "escape" && !shortcutsAreOn())) return;
  const known = call ? call.shortcut(key) : !byId("lobby").hidden && lobby.shortcut(key);
  if (known) event.preventDefault();
});

/** Returns the link that invites others. It has only the room, and the protocol of two-peer calls: the media mode is that of the room. */
function roomLink() {
  const name = call ? room : byId("room").value.trim() || room;
  const forTwo = protocol.forTwo ? `&protocol=${protocol.id}` : "";
  return `${location.origin}${location.pathname}?room=${encodeURIComponent(name)}${forTwo}`;
}

/** Stores the state for a reload. */
function rememberCall() {
  const state = { room, name: remembered("local", "parlor.name"), microphone: media.microphoneOn, camera: media.cameraOn };
  remember("session", "parlor.call", JSON.stringify(state));
}

start();
