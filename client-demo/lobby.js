/**
 * The lobby: name, room and devices before the call.
 *
 * @module lobby
 */
import { byId, dress, fromTemplate, say } from "./dom.js";
import { CAN_STILL_JOIN, explainDevices } from "./errors.js";
import { meter } from "./media.js";
import { headcount, MODES, modeOf, SFU_FROM } from "./modes.js";
import { PROTOCOLS, protocolOf } from "./protocols.js";

const METER_BARS = 5;
const METER_INTERVAL_MS = 100;
/** Time after the last keystroke before the room is looked up, in milliseconds. */
const TYPING_MS = 400;

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
  #typingTimer = 0;
  #looking = new AbortController();

  /**
   * @param {{ media: import("./media.js").LocalMedia, name: string, room: string, invited: boolean, protocol: import("./protocols.js").Protocol,
   *   mode: import("./modes.js").Mode }} options
   *   `invited`: the room came with the link
   */
  constructor({ media, name, room, invited, protocol, mode }) {
    super();
    this.#media = media;
    this.#invited = invited;
    this.#protocol = protocol;
    this.#mode = mode;
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
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#open && this.#drawDevices());
  }

  /** @param {string} [problem] the reason for returning to the lobby */
  show(problem = "") {
    this.#open = true;
    byId("lobby").hidden = false;
    this.busy(false);
    say(byId("lobby-error"), problem);
    this.#draw();
    this.#drawTitle();
    // A room with a generated name is empty.
    if (this.#invited) this.#lookIntoRoom();
  }

  hide() {
    this.#open = false;
    clearTimeout(this.#typingTimer);
    this.#looking.abort();
    byId("lobby").hidden = true;
    byId("preview-video").srcObject = null;
    this.#stopMeter();
  }

  /** Shows the media mode. @param {import("./modes.js").Mode} mode */
  set mode(mode) {
    this.#mode = mode;
    this.#drawTitle();
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
    const name = byId("name").value.trim();
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

  /** The media server requires a protocol of its own, with rooms for more than two peers. */
  get #isForTwo() {
    return !!this.#protocol.forTwo && this.#mode.id === "mesh";
  }

  #chooseMode(mode) {
    this.#mode = mode;
    this.#drawTitle();
    say(byId("mode-hint"), "");
    this.dispatchEvent(new CustomEvent("mode", { detail: mode }));
  }

  /** Recommends another mode before joining a large room. */
  async #lookIntoRoom() {
    this.#looking.abort();
    this.#looking = new AbortController();
    const { signal } = this.#looking;
    const room = byId("room").value.trim();
    const count = room ? await headcount(room, signal) : 0;
    if (signal.aborted) return;
    const suggests = this.#mode.id === "mesh" && !this.#isForTwo && count + 1 >= SFU_FROM;
    const words = `${count} people are there already. From ${SFU_FROM} on choose SFU: in a mesh you would send ${count} copies. All must use the same.`;
    say(byId("mode-hint"), suggests ? words : "");
  }

  #drawTitle() {
    for (const input of byId("mode-options").querySelectorAll("input")) input.checked = input.value === this.#mode.id;
    byId("mode-line").textContent = this.#mode.line;
    byId("wire").hidden = this.#mode.id === "sfu";
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

    const problem = explainDevices(media.problems);
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
    let any = false;
    for (const [kind, id, none] of [["video", "camera-choice", "No camera"], ["audio", "microphone-choice", "No microphone"]]) {
      const devices = await this.#media.devices(kind);
      const options = devices.map(({ id: value, label, chosen }) => new Option(label, value, chosen, chosen));
      byId(id).replaceChildren(...(options.length ? options : [new Option(none, "")]));
      byId(id).disabled = !options.length;
      any ||= options.length > 0;
    }
    // Without a choice of devices, the space is used otherwise.
    byId("devices").hidden = !any;
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
