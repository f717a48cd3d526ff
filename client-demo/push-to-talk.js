/**
 * Push-to-talk: the microphone is on while the space bar is held.
 *
 * @module push-to-talk
 */
import { pushToTalkIsOn } from "./settings.js";

export class PushToTalk {
  #media;
  #isHeld = false;

  /**
   * @param {import("./media.js").LocalMedia} media
   * @param {AbortSignal} signal removes the listeners
   */
  constructor(media, signal) {
    this.#media = media;
    document.addEventListener("keydown", (event) => this.#isTalkKey(event) && this.#press(event, true), { signal });
    document.addEventListener("keyup", (event) => this.#isHeld && event.key === " " && this.#press(event, false), { signal });
    // Without the focus, the page does not see the key being released.
    addEventListener("blur", () => this.#isHeld && this.#talk(false), { signal });
    if (pushToTalkIsOn()) media.setMicrophone(false);
  }

  #isTalkKey({ key, target }) {
    return key === " " && pushToTalkIsOn() && !target.closest("input, select, textarea, dialog");
  }

  #press(event, isDown) {
    // A focused button must not be clicked.
    event.preventDefault();
    if (!event.repeat) this.#talk(isDown);
  }

  #talk(on) {
    this.#isHeld = on;
    this.#media.setMicrophone(on);
  }
}
