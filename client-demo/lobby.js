/**
 * The lobby: name, room and devices before the call.
 *
 * @module lobby
 */
import { fillDevices } from "./devices.js";
import { byId, fromTemplate, setUpButton, showText } from "./dom.js";
import { CAN_STILL_JOIN, explainDevices, SILENCED } from "./errors.js";
import { meter } from "./media.js";
import { describeMembers, fetchRoom, MODES, modeOf } from "./modes.js";
import { cleanName } from "./parlor/name.js";
import { PROTOCOLS, protocolOf } from "./protocols.js";

const METER_BARS = 5;
const METER_INTERVAL_MS = 100;
/** Time after the last keystroke before the room is looked up, in milliseconds. */
const TYPING_MS = 400;
/** Time to wait for the description of a room, in milliseconds: joining is possible without it. */
const ROOM_TIMEOUT_MS = 2000;
/** Interval between requests of the members of the room, in milliseconds. */
const REFRESH_INTERVAL_MS = 10_000;

/** The texts of the form, by mode and protocol. */
const WORDS = {
  room: { label: "Room", title: "Start a call", lead: "Everyone with the link to a room can join it. There is nothing to install and no account." },
  roomInvited: { label: "Room", title: "You are invited", lead: "Check your camera and microphone, then join the others in this room." },
  two: { label: "Call", title: "Call someone", lead: "A call for two: send the link to one person. The call waits for them, and no one else can join." },
  twoInvited: { label: "Call", title: "Someone calls you", lead: "Check your camera and microphone, then join. This call is for the two of you only." },
};

/** Events: `join`, detail `{ name, room }`; `protocol` and `mode`, detail: the {@link import("./protocols.js").Protocol} or
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
  #refreshTimer = 0;
  #fetching = new AbortController();
  /** The last description of the room. @type {Promise<{ sfu: boolean } | null>} */
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
    byId("protocol-options").replaceChildren(...PROTOCOLS.map((one) => protocolOption(one, one === protocol)));
    byId("mode-options").replaceChildren(...MODES.map(modeOption));
    this.#drawTitle();
    byId("preview-meter").replaceChildren(...Array.from({ length: METER_BARS }, () => document.createElement("i")));

    byId("room").addEventListener("input", () => {
      this.#invited = false;
      this.#drawTitle();
      clearTimeout(this.#typingTimer);
      showText(byId("room-members"), "");
      this.#typingTimer = setTimeout(() => this.#fetchRoom(), TYPING_MS);
    });
    byId("mode-options").addEventListener("change", ({ target }) => this.#chooseMode(modeOf(target.value)));
    byId("protocol-options").addEventListener("change", ({ target }) => {
      this.#protocol = protocolOf(target.value);
      this.#drawTitle();
      this.dispatchEvent(new CustomEvent("protocol", { detail: this.#protocol }));
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
    showText(byId("lobby-error"), problem);
    // The button was disabled meanwhile, and has lost the focus.
    if (problem) byId("join").focus();
    this.#draw();
    this.#drawTitle();
    this.#fetchRoom();
    this.#refreshTimer = setInterval(() => document.visibilityState === "visible" && this.#fetchRoom(), REFRESH_INTERVAL_MS);
  }

  hide() {
    this.#open = false;
    clearTimeout(this.#typingTimer);
    clearInterval(this.#refreshTimer);
    this.#fetching.abort();
    byId("lobby").hidden = true;
    byId("preview-video").srcObject = null;
    this.#stopMeter();
  }

  /** Whether the server has a media server. @returns {Promise<boolean>} */
  async hasSfu() {
    const about = await Promise.race([this.#about, new Promise((end) => setTimeout(end, ROOM_TIMEOUT_MS, null))]);
    return about?.sfu ?? true;
  }

  /** @param {boolean} joining */
  busy(joining) {
    byId("join").disabled = joining;
    byId("join").textContent = joining ? "Joining…" : "Join";
    if (joining) showText(byId("lobby-error"), "");
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
      showText(byId("lobby-error"), empty === "name" ? "Enter your name: the others will see it." : this.#isForTwo ? "A call needs a name." : "A room needs a name.");
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
  async #fetchRoom() {
    this.#fetching.abort();
    this.#fetching = new AbortController();
    const { signal } = this.#fetching;
    const request = fetchRoom(byId("room").value.trim(), this.#token, signal);
    this.#about = request;
    const about = await request;
    if (signal.aborted || !about) return;
    const names = about.names.map(cleanName).filter(Boolean);
    showText(byId("room-members"), describeMembers({ names, count: about.count }));
    byId("mode").disabled = !about.sfu;
    showText(byId("mode-hint"), about.sfu ? "" : "This server has no media server: every call is a mesh.");
  }

  #drawTitle() {
    for (const input of byId("mode-options").querySelectorAll("input")) input.checked = input.value === this.#mode.id;
    byId("mode-description").textContent = this.#protocol.hasSfu ? this.#mode.description : `Over ${this.#protocol.name} every call is a mesh.`;
    byId("mode-chosen").textContent = this.#protocol.hasSfu ? this.#mode.name : "Mesh";
    const words = WORDS[(this.#isForTwo ? "two" : "room") + (this.#invited ? "Invited" : "")];
    byId("lobby-title").textContent = words.title;
    byId("lobby-lead").textContent = words.lead;
    byId("room-label").textContent = words.label;
    byId("protocol-chosen").textContent = this.#protocol.name;
  }

  #draw() {
    const media = this.#media;
    const video = byId("preview-video");
    if (video.srcObject?.getVideoTracks()[0] !== (media.camera ?? undefined)) {
      video.srcObject = media.camera && new MediaStream([media.camera]);
    }
    video.hidden = !media.camera;

    const problem = explainDevices(media.problems) || (media.microphoneOn && media.isSilenced ? SILENCED : "");
    showText(byId("preview-note"), media.camera ? "" : media.problems.video ? "Your camera is not available" : "Your camera is off");
    showText(byId("device-error"), problem && `${problem} ${CAN_STILL_JOIN}`);
    byId("retry-devices").hidden = !problem;

    const mic = media.microphoneOn;
    setUpButton(byId("preview-mic"), {
      name: mic ? "mic" : "mic-off", label: "Microphone", title: mic ? "Mute" : "Unmute", key: "m", pressed: mic,
    });
    const camera = media.cameraOn;
    setUpButton(byId("preview-camera"), {
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

function protocolOption({ id, name, description }, chosen) {
  const option = fromTemplate("protocol-template");
  const input = option.querySelector("input");
  input.value = id;
  input.checked = chosen;
  option.querySelector(".protocol-name").textContent = name;
  option.querySelector(".protocol-description").textContent = description;
  return option;
}
