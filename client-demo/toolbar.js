/**
 * The buttons of a call, and its menu.
 *
 * @module toolbar
 */
import { REACTIONS } from "./audience.js";
import { byId, setUpButton } from "./dom.js";
import { explainDevices } from "./errors.js";

/** The button of each keyboard shortcut. */
export const BUTTONS = {
  m: "tool-mic", v: "tool-camera", s: "tool-screen", h: "tool-hand", c: "tool-chat", p: "tool-people", l: "copy-link-call",
  i: "menu-pip", f: "menu-fullscreen", t: "menu-stats", "?": "menu-settings",
};

/** Events: `hand`, `leave`; `reaction`, detail: the emoji; `notice`, detail: a text for the user. */
export class Toolbar extends EventTarget {
  #media;
  #panel;
  #audience;
  #tiles;
  #unread = 0;

  /**
   * @param {{ media: import("./media.js").LocalMedia, panel: import("./panel.js").Panel, audience: import("./audience.js").Audience,
   *   tiles: import("./tiles.js").Tiles, signal: AbortSignal }} options
   */
  constructor({ media, panel, audience, tiles, signal }) {
    super();
    this.#media = media;
    this.#panel = panel;
    this.#audience = audience;
    this.#tiles = tiles;
    const on = (id, act) => byId(id).addEventListener("click", act, { signal });
    on("tool-mic", () => this.#switchDevice("audio", media.setMicrophone(!media.microphoneOn)));
    on("tool-camera", () => this.#switchDevice("video", media.setCamera(!media.cameraOn)));
    on("tool-screen", () => this.#switchScreen());
    on("tool-hand", () => {
      audience.raise(!audience.isRaised);
      this.#emit("hand");
    });
    on("tool-people", () => panel.toggle("people"));
    on("tool-chat", () => panel.toggle("chat"));
    on("tool-leave", () => this.#emit("leave"));
    on("menu-pip", () => this.#switchPictureInPicture());
    on("menu-fullscreen", () => this.#switchFullscreen());
    on("menu-stats", () => this.#switchStatistics());
    panel.addEventListener("change", () => this.draw(), { signal });
    document.addEventListener("fullscreenchange", () => this.draw(), { signal });
    // Each choice closes the menu.
    byId("more-menu").addEventListener("click", ({ target }) => target.closest("button") && byId("more-menu").hidePopover(), { signal });
    byId("reactions").replaceChildren(...REACTIONS.map((emoji) => this.#reaction(emoji)));
    byId("menu-pip").hidden = !document.pictureInPictureEnabled;
    byId("menu-fullscreen").hidden = !document.fullscreenEnabled;
  }

  /** Counts a received message. @returns {boolean} whether it is not visible to the user */
  countMessage() {
    if (this.#panel.shown === "chat") return false;
    this.#unread += 1;
    this.draw();
    return true;
  }

  draw() {
    const { microphoneOn, cameraOn, screen, canShareScreen } = this.#media;
    const look = (id, options) => setUpButton(byId(`tool-${id}`), options);
    look("mic", {
      name: microphoneOn ? "mic" : "mic-off", word: "Mic", label: "Mic (microphone)", title: microphoneOn ? "Mute" : "Unmute", key: "m", pressed: microphoneOn,
    });
    look("camera", {
      name: cameraOn ? "camera" : "camera-off", word: "Camera", label: "Camera", title: cameraOn ? "Camera off" : "Camera on", key: "v", pressed: cameraOn,
    });
    look("screen", {
      name: "screen", word: "Share", label: "Share screen", title: screen ? "Stop sharing your screen" : "Share your screen", key: "s", pressed: !!screen,
    });
    byId("tool-screen").hidden = !canShareScreen;
    const { isRaised } = this.#audience;
    look("hand", { name: "hand", word: "Hand", label: "Raise hand", title: isRaised ? "Lower your hand" : "Raise your hand", key: "h", pressed: isRaised });
    const { shown } = this.#panel;
    if (shown === "chat") this.#unread = 0;
    look("people", { name: "people", word: "People", label: "People", title: "People", key: "p" });
    look("chat", { name: "chat", word: "Chat", label: this.#unread ? `Chat, ${this.#unread} unread` : "Chat", title: "Chat", key: "c" });
    byId("tool-people").setAttribute("aria-expanded", String(shown === "people"));
    byId("tool-chat").setAttribute("aria-expanded", String(shown === "chat"));
    byId("tool-chat").dataset.unread = this.#unread ? String(Math.min(this.#unread, 99)) : "";
    look("more", { name: "more", word: "More", label: "More", title: "Reactions, settings and more" });
    look("leave", { name: "leave", word: "Leave", label: "Leave the call", title: "Leave the call" });
    byId("menu-fullscreen").setAttribute("aria-pressed", String(!!document.fullscreenElement));
  }

  dispose() {
    byId("more-menu").hidePopover();
    byId("panel").classList.remove("with-statistics");
    if (document.pictureInPictureElement) document.exitPictureInPicture();
    if (document.fullscreenElement) document.exitFullscreen();
  }

  #reaction(emoji) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "reaction", textContent: emoji });
    button.addEventListener("click", () => {
      this.#audience.react(emoji);
      this.#emit("reaction", emoji);
    });
    return button;
  }

  async #switchDevice(kind, done) {
    await done;
    const problem = this.#media.problems[kind];
    if (problem) this.#emit("notice", explainDevices({ audio: null, video: null, [kind]: problem }));
  }

  async #switchScreen() {
    if (this.#media.screen) return this.#media.stopScreen();
    try {
      await this.#media.startScreen();
    } catch (error) {
      this.#emit("notice", `Your screen could not be shared (${error.message}).`);
    }
  }

  async #switchPictureInPicture() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.#tiles.mainVideo?.requestPictureInPicture();
    } catch (error) {
      this.#emit("notice", `Picture-in-picture is not available (${error.message}).`);
    }
  }

  async #switchFullscreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await document.documentElement.requestFullscreen();
    } catch (error) {
      this.#emit("notice", `The page cannot fill the screen (${error.message}).`);
    }
  }

  #switchStatistics() {
    const on = byId("panel").classList.toggle("with-statistics");
    byId("menu-stats").setAttribute("aria-pressed", String(on));
    if (on) this.#panel.open("people");
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
