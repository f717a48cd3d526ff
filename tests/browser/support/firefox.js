/**
 * Firefox, driven over WebDriver BiDi, and users of the demo page in it. `FIREFOX_BIN` names the executable.
 *
 * Playwright drives only a Firefox build of its own; Puppeteer drives the one that distributions ship.
 */
import { launch } from "puppeteer-core";
import { PATIENCE_MS, Person, bounded, withSmallCamera } from "./people.js";

const EXECUTABLE = process.env.FIREFOX_BIN ?? "/usr/bin/firefox-esr";
const PREFERENCES = {
  // A generated picture and tone, without a permission prompt.
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  // Without animations, as in Chromium.
  "ui.prefersReducedMotion": 1,
  // In kbit/s: on a busy machine the estimate is too low.
  "media.peerconnection.video.start_bitrate": 1000,
  "media.peerconnection.video.min_bitrate_estimate": 600,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // No requests to other servers.
  "media.gmp-manager.updateEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "extensions.update.enabled": false,
  "services.settings.server": "data:,",
};

/** Starts Firefox, which ends with the test process at the latest. */
export async function launchFirefox() {
  const browser = await launch({
    browser: "firefox",
    executablePath: EXECUTABLE,
    headless: true,
    timeout: PATIENCE_MS,
    protocolTimeout: PATIENCE_MS,
    extraPrefsFirefox: PREFERENCES,
    defaultViewport: { width: 640, height: 480 },
  });
  const process_ = browser.process();
  const kill = () => process_.kill("SIGKILL");
  process.once("exit", kill);
  process_.once("exit", () => process.off("exit", kill));
  const close = browser.close.bind(browser);
  browser.close = () => bounded("closing", close()).catch((error) => console.error(error.message));
  return browser;
}

export class FirefoxPerson extends Person {
  /**
   * @param {import("puppeteer-core").Browser} browser
   * @param {string} name
   */
  static async open(browser, name) {
    const person = new FirefoxPerson();
    person.name = name;
    person.context = await bounded("a context", browser.createBrowserContext());
    person.page = await bounded("a page", person.context.newPage());
    person.page.setDefaultTimeout(PATIENCE_MS);
    person.page.on("pageerror", (error) => person.consoleErrors.push(`${name}: ${error.stack ?? error}`));
    person.page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) person.consoleErrors.push(`${name}: ${message.text()}`);
    });
    return person;
  }

  /**
   * @param {string} url with all parameters but name and room
   * @param {string} room
   */
  async prepare(url, room) {
    await this.page.goto(withSmallCamera(url));
    await this.devicesAsked();
    await this.#type("#name", this.name);
    await this.#type("#room", room);
  }

  async enter() {
    await this.page.$eval("#join", (button) => button.click());
    await this.inCall();
  }

  /** Replaces the text of an input. Puppeteer's locators wait for animation frames, which a page in the background does not have. */
  async #type(selector, text) {
    await this.page.$eval(selector, (input) => input.select());
    await this.page.type(selector, text);
  }

  async sendMessage(text) {
    if (!(await this.page.$eval("#chat", (chat) => chat.checkVisibility()))) await this.page.$eval("#tool-chat", (button) => button.click());
    await this.until("the chat is open", () => document.getElementById("chat-text").checkVisibility());
    await this.#type("#chat-text", text);
    await this.page.keyboard.press("Enter");
  }
}
