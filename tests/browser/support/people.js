/**
 * Chromium, and users of the demo page in it, who operate it with mouse and keyboard.
 */
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
/** Chromium without windows, toolbars and tabs, for a fraction of the CPU time. Not all distributions have it. */
const HEADLESS_SHELL = process.env.HEADLESS_SHELL_BIN ?? "/usr/bin/chromium-headless-shell";
const ALWAYS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  "--allow-loopback-in-peer-connection",
  // Pages in the background must continue to decode.
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
];
const DEVICES = {
  fake: ["--use-fake-device-for-media-stream=device-count=2,fps=10,display-media-type=browser", "--use-fake-ui-for-media-stream"],
  refused: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny"],
  none: ["--use-fake-ui-for-media-stream"],
};

/** Factor of all bounds of time, for machines that are slower than two idle cores. */
export const TIME_FACTOR = Number(process.env.PARLOR_TEST_TIME_FACTOR ?? 1);
/** Time limit of each wait, long enough for a busy machine. */
export const PATIENCE_MS = 60_000 * TIME_FACTOR;
const POLL_MS = 100;
const DESCRIBE_MS = 2_000;

/**
 * Adds a time limit to a request to the browser: most of playwright's have none, and a browser may hang.
 * @template T
 * @param {string} what for the error
 * @param {Promise<T>} response
 * @returns {Promise<T>}
 */
export async function bounded(what, response, timeout = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no response from the browser within ${timeout} ms`)), timeout);
  });
  try {
    return await Promise.race([response, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Starts Chromium: its headless shell if that is installed, unless the test needs windows.
 * @param {keyof typeof DEVICES} devices
 * @param {object} [options]
 * @param {Record<string, string>} [options.env] environment variables, in addition to those of this process
 * @param {boolean} [options.needsWindows] pages of the shell have no full screen, picture-in-picture and wake locks
 */
export async function launch(devices = "fake", { env = {}, needsWindows = false } = {}) {
  const args = [...ALWAYS, ...DEVICES[devices]];
  const executablePath = existsSync(HEADLESS_SHELL) && !needsWindows ? HEADLESS_SHELL : CHROMIUM;
  const browser = await chromium.launch({ executablePath, args, env: { ...process.env, ...env }, timeout: PATIENCE_MS });
  const close = browser.close.bind(browser);
  // Closing is not what is tested: who does not in time is killed with the test's process.
  browser.close = () => bounded("closing", close()).catch((error) => console.error(error.message));
  return browser;
}

/** A user with a page of the demo. */
export class Person {
  /** Errors and warnings of the page. @type {string[]} */
  consoleErrors = [];

  /**
   * Opens an empty page for a user.
   * @param {import("playwright-core").Browser} browser
   * @param {string} name
   * @param {import("playwright-core").BrowserContextOptions} [options]
   */
  static async open(browser, name, options = {}) {
    const person = new Person();
    person.name = name;
    // Small and without animations: every frame of every page is drawn without a graphics card.
    const cheap = { viewport: { width: 640, height: 480 }, reducedMotion: "reduce" };
    person.context = await bounded("a context", browser.newContext({ ...cheap, ...options }));
    person.page = await bounded("a page", person.context.newPage());
    person.page.setDefaultTimeout(PATIENCE_MS);
    person.page.on("pageerror", (error) => person.consoleErrors.push(`${name}: ${error.stack ?? error}`));
    person.page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) person.consoleErrors.push(`${name}: ${message.text()}`);
    });
    return person;
  }

  /**
   * Types a name and a room into the lobby.
   * @param {string} url
   * @param {string} room
   * @param {string} [protocol] the protocol to choose; by default the one that the lobby shows
   */
  async prepare(url, room, protocol) {
    await this.page.goto(withSmallCamera(url));
    await this.devicesAsked();
    if (protocol) await this.chooseProtocol(protocol);
    await this.page.getByLabel("Your name").fill(this.name);
    await this.page.getByLabel(protocol === "Session" ? "Call" : "Room", { exact: true }).fill(room);
  }

  /** Waits until the lobby shows the camera preview, or the reason why there is none. */
  devicesAsked() {
    return this.until("the lobby has asked for the devices", () => {
      const shown = (id) => !document.getElementById(id).hidden;
      return shown("preview-video") || shown("device-error");
    });
  }

  /** Fills in the lobby and clicks Join, without waiting for the result. The parameters are those of {@link Person#prepare}. */
  async requestJoin(url, room, protocol) {
    await this.prepare(url, room, protocol);
    await this.page.getByRole("button", { name: "Join", exact: true }).click();
  }

  /** Joins from the lobby, which is filled in. */
  async enter() {
    await this.page.getByRole("button", { name: "Join", exact: true }).click();
    await this.inCall();
  }

  async chooseProtocol(protocol) {
    await this.openOptions();
    await this.page.getByRole("group", { name: "Protocol" }).getByRole("radio", { name: protocol }).check();
  }

  /** @param {"Automatic" | "Mesh" | "SFU"} mode of the media */
  async chooseMode(mode) {
    await this.openOptions();
    await this.page.getByRole("radio", { name: mode, exact: true }).check();
  }

  /** Expands the media modes and the protocols in the lobby. */
  async openOptions() {
    const options = this.page.locator("#protocol");
    if ((await options.getAttribute("open")) === null) await options.locator("summary").click();
  }

  /** Leaves the call and returns to the lobby. */
  async toLobby() {
    await this.page.getByRole("button", { name: "Leave the call" }).click();
    await this.page.getByRole("button", { name: "Back to the lobby" }).click();
    await this.devicesAsked();
  }

  async join(url, room, protocol) {
    await this.prepare(url, room, protocol);
    await this.enter();
  }

  async inCall() {
    await this.until("is in the call", () => window.parlor?.room() !== "");
    this.id = await this.page.evaluate(() => window.parlor.userId);
  }

  /**
   * Waits until a predicate returns a truthy value, and returns it.
   * @param {string} what for the error
   * @param {(argument: any) => unknown} predicate runs in the page
   * @param {any} [argument]
   */
  async until(what, predicate, argument, timeout = PATIENCE_MS) {
    // Not waitForFunction, which takes the promise of an asynchronous predicate for true.
    const end = Date.now() + timeout;
    let lastError = null;
    while (Date.now() < end) {
      try {
        const result = await bounded("the page", this.page.evaluate(predicate, argument), end - Date.now());
        if (result) return result;
        lastError = null;
      } catch (error) {
        // During a reload the page does not respond.
        lastError = error;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const seen = await bounded("the page", this.page.evaluate(describe), DESCRIBE_MS).catch(String);
    const lines = [`${this.name}: ${what}: not within ${timeout} ms`, lastError && String(lastError), `seen: ${seen}`];
    throw new Error([...lines, ...this.consoleErrors.slice(-8)].filter(Boolean).join("\n    "));
  }

  /**
   * Waits until video of exactly these people is decoded: `frames` more frames of each.
   * @param {Person[]} others
   */
  sees(others, frames = 4) {
    const names = others.map(({ name }) => name).join(" and ");
    return this.until(`decodes video of ${names}`, decodesMore, { ids: others.map(({ id }) => id), frames, key: Math.random() });
  }

  /** Waits until `frames` more frames of a single other person are decoded. */
  seesAnyPeer(frames = 4) {
    return this.until("decodes video of any person", decodesMore, { ids: null, frames, key: Math.random() });
  }

  tile(other) {
    return this.page.locator(`.tile[data-user-id="${other.id}"]:not(.tile-screen)`);
  }

  async sendMessage(text) {
    if (!(await this.page.locator("#chat").isVisible())) await this.page.locator("#tool-chat").click();
    await this.page.getByLabel("Message everyone").fill(text);
    await this.page.keyboard.press("Enter");
  }

  receivesMessage(author, text) {
    return this.until(`shows "${text}" from ${author.name}`, (wanted) =>
      [...document.querySelectorAll("#chat-log .message-text")].some((one) => one.textContent === wanted), text);
  }

  /**
   * Starts to watch for the removal of a person's tile. Returns a function that waits for it and returns its time, by `Date.now()`.
   * @param {Person} other
   */
  async watchRemoval(other) {
    await this.page.evaluate((id) => {
      const tile = () => document.querySelector(`.tile[data-user-id="${id}"]`);
      window.removal = new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          if (tile()) return;
          observer.disconnect();
          resolve(Date.now());
        });
        observer.observe(document.getElementById("tiles"), { childList: true });
      });
    }, other.id);
    return () => bounded(`${this.name}: the tile of ${other.name} is removed`, this.page.evaluate(() => window.removal));
  }

  /**
   * Disconnects or reconnects the network of the page through the browser: connections are refused, and the page gets the event.
   * WebRTC, and open WebSockets in some versions, are not affected.
   * @param {boolean} offline
   */
  async setOffline(offline) {
    this.devtools ??= await this.context.newCDPSession(this.page);
    await this.devtools.send("Network.enable");
    await this.devtools.send("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
  }

  /** Leaves the call, then closes the page. On a busy machine a page that is only closed may not send its leave. */
  async hangUp() {
    await bounded(`${this.name}: hanging up`, this.page.evaluate(() => document.getElementById("tool-leave").click()));
    await this.until("has left the call", () => window.parlor.room() === "");
    await this.leave();
  }

  leave() {
    return bounded(`${this.name}: leaving`, this.context.close());
  }
}

/** Adds a camera size that is cheap to encode to an address of the demo, unless it has one. */
export function withSmallCamera(url) {
  const address = new URL(url);
  if (!address.searchParams.has("camera")) address.searchParams.set("camera", "160x90@10");
  return address.href;
}

/** Runs in the page: whether `frames` more frames of each person were decoded since the first call. Without ids: of a single person. */
async function decodesMore({ ids: known, frames, key }) {
  const peers = window.parlor.peers();
  const ids = known ?? [...peers.keys()];
  if (!ids.length) return null;
  const now = {};
  for (const [id, connection] of peers) {
    now[id] = 0;
    for (const report of (await connection.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") now[id] += report.framesDecoded ?? 0;
    }
  }
  const seen = (window.seenFrames ??= {});
  const first = (seen[key] ??= {});
  for (const id of ids) first[id] ??= now[id];
  if (peers.size !== (known?.length ?? 1) || !ids.every((id) => peers.has(id))) return null;
  // A new connection counts from zero.
  const more = Object.fromEntries(ids.map((id) => [id, now[id] - (now[id] < first[id] ? 0 : first[id])]));
  return ids.every((id) => more[id] >= frames) ? more : null;
}

/** Runs in the page: describes its state, for the error of a failed test. */
async function describe() {
  const lines = [`room "${window.parlor?.room()}", server ${document.getElementById("server-state")?.dataset.state}`];
  for (const place of ["lobby-error", "device-error", "call-notice"]) {
    const text = document.getElementById(place)?.textContent;
    if (text) lines.push(`${place}: ${text}`);
  }
  for (const [id, connection] of window.parlor?.peers() ?? []) {
    let frames = 0;
    for (const report of (await connection.getStats()).values()) frames += report.framesDecoded ?? 0;
    lines.push(`${id.slice(0, 8)} ${connection.connectionState ?? connection.state}/${connection.signalingState ?? "sfu"} ${frames} frames`);
  }
  return lines.join("; ");
}
