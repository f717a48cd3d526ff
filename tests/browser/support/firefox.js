/**
 * Firefox, driven over WebDriver BiDi, and people who use the demo page in it. `FIREFOX_BIN` names the executable.
 *
 * Playwright drives only a Firefox build of its own; Puppeteer drives the one that distributions ship.
 */
import { launch } from "puppeteer-core";
import { PATIENCE_MS, Person, bounded, withSmallCamera } from "./people.js";

const EXECUTABLE = process.env.FIREFOX_BIN ?? "/usr/bin/firefox-esr";
const PREFERENCES = {
  // A generated picture and a tone, without a question.
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  // As for Chromium: without animations.
  "ui.prefersReducedMotion": 1,
  // Kilobits per second. On a busy machine it measures too little.
  "media.peerconnection.video.start_bitrate": 1000,
  "media.peerconnection.video.min_bitrate_estimate": 600,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // Nothing is fetched from anywhere.
  "media.gmp-manager.updateEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "extensions.update.enabled": false,
  "services.settings.server": "data:,",
};

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
  static async arrive(browser, name) {
    const person = new FirefoxPerson();
    person.name = name;
    person.context = await bounded("a context", browser.createBrowserContext());
    person.page = await bounded("a page", person.context.newPage());
    person.page.setDefaultTimeout(PATIENCE_MS);
    person.page.on("pageerror", (error) => person.complaints.push(`${name}: ${error.stack ?? error}`));
    person.page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) person.complaints.push(`${name}: ${message.text()}`);
    });
    return person;
  }

  /**
   * @param {string} url with everything but name and room in its query
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

  /** Replaces the text of an input. Puppeteer's locators wait for animation frames, of which a page in the background has none. */
  async #type(selector, text) {
    await this.page.$eval(selector, (input) => input.select());
    await this.page.type(selector, text);
  }

  async say(text) {
    if (!(await this.page.$eval("#chat", (chat) => chat.checkVisibility()))) await this.page.$eval("#tool-chat", (button) => button.click());
    await this.until("the chat is open", () => document.getElementById("chat-text").checkVisibility());
    await this.#type("#chat-text", text);
    await this.page.keyboard.press("Enter");
  }
}
