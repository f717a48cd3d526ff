/**
 * The settings of a call: devices, mode, push-to-talk, and the list of keyboard shortcuts.
 *
 * @module settings
 */
import { fillDevices } from "./devices.js";
import { byId } from "./dom.js";
import { forget, remember, remembered } from "./identity.js";

const SHORTCUTS_KEY = "parlor.shortcuts";
const PUSH_TO_TALK_KEY = "parlor.pushToTalk";

/** The fields of the devices, by kind. */
const DEVICE_FIELDS = { video: "settings-camera", audio: "settings-microphone", speaker: "settings-speaker" };

/** Whether the keyboard shortcuts are on. */
export const shortcutsAreOn = () => remembered("local", SHORTCUTS_KEY) !== "off";

/** Whether the microphone is on only while the space bar is held. */
export const pushToTalkIsOn = () => remembered("local", PUSH_TO_TALK_KEY) === "on";

export class Settings {
  #dialog = byId("settings");

  /**
   * @param {{ media: import("./media.js").LocalMedia, call: import("./parlor/auto.js").AutoCall, signal: AbortSignal }} options
   */
  constructor({ media, call, signal }) {
    const on = (id, type, act) => byId(id).addEventListener(type, act, { signal });
    for (const [kind, id] of Object.entries(DEVICE_FIELDS)) on(id, "change", ({ target }) => media.choose(kind, target.value));
    on("menu-settings", "click", () => this.#open(media, call));
    on("settings-close", "click", () => this.close());
    on("settings-mode", "change", ({ target }) => call.ask(target.value).catch(() => {}));
    on("settings-shortcuts", "change", ({ target }) => {
      if (target.checked) forget("local", SHORTCUTS_KEY);
      else remember("local", SHORTCUTS_KEY, "off");
    });
    on("settings-talk", "change", ({ target }) => {
      if (target.checked) remember("local", PUSH_TO_TALK_KEY, "on");
      else forget("local", PUSH_TO_TALK_KEY);
      media.setMicrophone(!target.checked);
    });
    media.addEventListener("change", () => this.#dialog.open && fillDevices(media, DEVICE_FIELDS), { signal });
    call.addEventListener("mode", ({ detail }) => (byId("settings-mode").value = detail), { signal });
  }

  close() {
    this.#dialog.close();
  }

  #open(media, call) {
    if (this.#dialog.open) return;
    byId("settings-shortcuts").checked = shortcutsAreOn();
    byId("settings-talk").checked = pushToTalkIsOn();
    byId("settings-mode").value = call.mode ?? "mesh";
    byId("settings-mode-field").hidden = !call.canUseSfu;
    fillDevices(media, DEVICE_FIELDS);
    this.#dialog.showModal();
  }
}
