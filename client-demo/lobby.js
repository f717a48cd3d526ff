/**
 * The lobby: name, room and devices before the call.
 *
 * @module lobby
 */
import { fillDevices } from "./devices.js";
import { byId, dress, fromTemplate, say } from "./dom.js";
import { CAN_STILL_JOIN, explainDevices, SILENCED } from "./errors.js";
import { meter } from "./media.js";
import { lookIntoRoom, MODES, modeOf, whoIsHere } from "./modes.js";
import { cleanName } from "./parlor/name.js";
import { PROTOCOLS, protocolOf } from "./protocols.js";

const METER_BARS = 5;
const METER_INTERVAL_MS = 100;
/** Time after the last keystroke before the room is looked up, in milliseconds. */
const TYPING_MS = 400;
/** Time to wait for what the server says about a room, in milliseconds: joining is possible without it. */
const LOOK_MS = 2000;
/** Between two looks at who is in the room, in milliseconds. */
const LOOK_AGAIN_MS = 10_000;

/** The texts of the form, by mode and protocol. */
const WORDS = {
  room: { label: "Room", title: "Start a call", lead: "Everyone with the link to a room can join it. There is nothing to install and no account." },
  roomInvited: { label: "Room", title: "You are invited", lead: "Check your picture and your sound, then join the others in this room." },
  two: { label: "Call", title: "Call someone", lead: "A call for two: send the link to one person. The call waits for them, and nobody else can come in." },
  twoInvited: { label: "Call", title: "Someone calls you", lead: "Check your picture and your sound, then join. This call is for the two of you only." },
};

/** Events: `join`, detail `{ name, room }`; `wire` and `mode`, detail: the {@link import("./protocols.js").Protocol} or
 * {@link import("./modes.js").Mode} that was chosen. */
export class Lobby extends EventTarget {
  #media;
  #meter = null;
  #meterTimer = 0;
  #open = false;
  #invited;
  #protocol;
  #mode;
  #token;
  #typingTimer = 0;
  #lookTimer = 0;
  #looking = new AbortController();
  /** What the server has said last. @type {Promise<{ sfu: boolean } | null>} */
  #about = Promise.resolve(null);

  /**
   * @param {{ media: import("./media.js").LocalMedia, name: string, room: string, invited: boolean, protocol: import("./protocols.js").Protocol,
   *   mode: import("./modes.js").Mode, token?: string }} options
   *   `invited`: the room came with the link
   */
  constructor({ media, name, room, invited, protocol, mode, token }) {
    super();
    this.#media = media;
    this.#invited = invited;
    this.#protocol = protocol;
    this.#mode = mode;
    this.#token = token;
    byId("name").value = name;
    byId("room").value = room;
    byId("wire-options").replaceChildren(...PROTOCOLS.map((one) => protocolOption(one, one === protocol)));
    byId("mode-options").replaceChildren(...MODES.map(modeOption));
    this.#drawTitle();
    byId("preview-meter").replaceChildren(...Array.from({ length: METER_BARS }, () => document.createElement("i")));

    byId("room").addEventListener("input", () => {
      this.#invited = false;
      this.#drawTitle();
      clearTimeout(this.#typingTimer);
      say(byId("who-is-here"), "");
      this.#typingTimer = setTimeout(() => this.#lookIntoRoom(), TYPING_MS);
    });
    byId("mode-options").addEventListener("change", ({ target }) => this.#chooseMode(modeOf(target.value)));
    byId("wire-options").addEventListener("change", ({ target }) => {
      this.#protocol = protocolOf(target.value);
      this.#drawTitle();
      this.dispatchEvent(new CustomEvent("wire", { detail: this.#protocol }));
    });
    byId("join-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("preview-mic").addEventListener("click", () => media.setMicrophone(!media.microphoneOn));
    byId("preview-camera").addEventListener("click", () => media.setCamera(!media.cameraOn));
    byId("retry-devices").addEventListener("click", () => media.open());
    byId("camera-choice").addEventListener("change", ({ target }) => media.choose("video", target.value));
    byId("microphone-choice").addEventListener("change", ({ target }) => media.choose("audio", target.value));
    media.addEventListener("change", () => this.#open && this.#draw());
  }

  /** @param {string} [problem] the reason for returning to the lobby */
  show(problem = "") {
    this.#open = true;
    byId("lobby").hidden = false;
    this.busy(false);
    say(byId("lobby-error"), problem);
    // The button was disabled meanwhile, and has lost the focus.
    if (problem) byId("join").focus();
    this.#draw();
    this.#drawTitle();
    this.#lookIntoRoom();
    this.#lookTimer = setInterval(() => document.visibilityState === "visible" && this.#lookIntoRoom(), LOOK_AGAIN_MS);
  }

  hide() {
    this.#open = false;
    clearTimeout(this.#typingTimer);
    clearInterval(this.#lookTimer);
    this.#looking.abort();
    byId("lobby").hidden = true;
    byId("preview-video").srcObject = null;
    this.#stopMeter();
  }

  /** Whether the server has a media server. @returns {Promise<boolean>} */
  async hasSfu() {
    const about = await Promise.race([this.#about, new Promise((end) => setTimeout(end, LOOK_MS, null))]);
    return about?.sfu ?? true;
  }

  /** @param {boolean} joining */
  busy(joining) {
    byId("join").disabled = joining;
    byId("join").textContent = joining ? "Joining…" : "Join";
    if (joining) say(byId("lobby-error"), "");
  }

  /** M and V, as in the call. @param {string} key @returns {boolean} whether the key is a shortcut */
  shortcut(key) {
    const button = { m: "preview-mic", v: "preview-camera" }[key];
    if (button) byId(button).click();
    return !!button;
  }

  #submit() {
    const name = cleanName(byId("name").value);
    const room = byId("room").value.trim();
    const empty = !name ? "name" : !room ? "room" : null;
    byId("name").setAttribute("aria-invalid", String(!name));
    byId("room").setAttribute("aria-invalid", String(!room));
    if (empty) {
      say(byId("lobby-error"), empty === "name" ? "Say who you are: the others will see this name." : this.#isForTwo ? "A call needs a name." : "A room needs a name.");
      byId(empty).focus();
      return;
    }
    this.dispatchEvent(new CustomEvent("join", { detail: { name, room } }));
  }

  get #isForTwo() {
    return !!this.#protocol.forTwo;
  }

  #chooseMode(mode) {
    this.#mode = mode;
    this.#drawTitle();
    this.dispatchEvent(new CustomEvent("mode", { detail: mode }));
  }

  /** Shows who is in the room, and whether there is a media server. */
  async #lookIntoRoom() {
    this.#looking.abort();
    this.#looking = new AbortController();
    const { signal } = this.#looking;
    const asking = lookIntoRoom(byId("room").value.trim(), this.#token, signal);
    this.#about = asking;
    const about = await asking;
    if (signal.aborted || !about) return;
    const names = about.names.map(cleanName).filter(Boolean);
    say(byId("who-is-here"), whoIsHere({ names, count: about.count }));
    byId("mode").disabled = !about.sfu;
    say(byId("mode-hint"), about.sfu ? "" : "This server has no media server: every call is a mesh.");
  }

  #drawTitle() {
    for (const input of byId("mode-options").querySelectorAll("input")) input.checked = input.value === this.#mode.id;
    byId("mode-line").textContent = this.#protocol.hasSfu ? this.#mode.line : `Over ${this.#protocol.name} every call is a mesh.`;
    byId("mode-chosen").textContent = this.#protocol.hasSfu ? this.#mode.name : "Mesh";
    const words = WORDS[(this.#isForTwo ? "two" : "room") + (this.#invited ? "Invited" : "")];
    byId("lobby-title").textContent = words.title;
    byId("lobby-lead").textContent = words.lead;
    byId("room-label").textContent = words.label;
    byId("wire-chosen").textContent = this.#protocol.name;
  }

  #draw() {
    const media = this.#media;
    const video = byId("preview-video");
    if (video.srcObject?.getVideoTracks()[0] !== (media.camera ?? undefined)) {
      video.srcObject = media.camera && new MediaStream([media.camera]);
    }
    video.hidden = !media.camera;

    const problem = explainDevices(media.problems) || (media.microphoneOn && media.isSilenced ? SILENCED : "");
    say(byId("preview-note"), media.camera ? "" : media.problems.video ? "No picture of you" : "Your camera is off");
    say(byId("device-error"), problem && `${problem} ${CAN_STILL_JOIN}`);
    byId("retry-devices").hidden = !problem;

    const mic = media.microphoneOn;
    dress(byId("preview-mic"), {
      name: mic ? "mic" : "mic-off", label: "Microphone", title: mic ? "Mute" : "Unmute", key: "m", pressed: mic,
    });
    const camera = media.cameraOn;
    dress(byId("preview-camera"), {
      name: camera ? "camera" : "camera-off", label: "Camera", title: camera ? "Camera off" : "Camera on", key: "v", pressed: camera,
    });
    this.#drawDevices();
    this.#startMeter();
  }

  async #drawDevices() {
    // Without a choice of devices, the space is used otherwise.
    byId("devices").hidden = !(await fillDevices(this.#media, { video: "camera-choice", audio: "microphone-choice" }));
  }

  #startMeter() {
    this.#stopMeter();
    const bars = [...byId("preview-meter").children];
    byId("preview-meter").hidden = !this.#media.microphoneOn;
    if (!this.#media.microphoneOn) return;
    this.#meter = meter(this.#media.microphone);
    this.#meterTimer = setInterval(() => {
      const lit = Math.ceil(this.#meter.level() * bars.length);
      bars.forEach((bar, index) => bar.classList.toggle("lit", index < lit));
    }, METER_INTERVAL_MS);
  }

  #stopMeter() {
    clearInterval(this.#meterTimer);
    this.#meter?.stop();
    this.#meter = null;
  }
}

function modeOption({ id, name }) {
  const option = fromTemplate("mode-template");
  option.querySelector("input").value = id;
  option.querySelector("span").textContent = name;
  return option;
}

function protocolOption({ id, name, line }, chosen) {
  const option = fromTemplate("wire-template");
  const input = option.querySelector("input");
  input.value = id;
  input.checked = chosen;
  option.querySelector(".wire-name").textContent = name;
  option.querySelector(".wire-line").textContent = line;
  return option;
}
