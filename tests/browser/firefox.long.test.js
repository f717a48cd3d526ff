/**
 * The features of the call in Firefox, with Chromium at the other end: one test for each. The tests depend on each other.
 *
 * `firefox.test.js` has the calls themselves. Only Chromium is tested for the following, which headless Firefox does not support:
 *
 * - picture-in-picture requested by a page: Firefox has no such API, and the demo hides its button
 * - choosing another camera, microphone or loudspeaker: there is one generated camera and one microphone, and no loudspeaker; the camera is
 *   opened again instead
 * - sharing a screen: there is none to capture. A canvas replaces it
 * - a removed camera, a microphone muted by the system, and `devicechange`: there is no device, and Firefox does not deliver an `ended`
 *   or `mute` event that a test dispatches to a track
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { FirefoxPerson, launchFirefox } from "./support/firefox.js";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";
import { JWT_SECRET, token } from "./support/token.js";

const ADDRESS = Object.values(networkInterfaces()).flat().find(({ internal, family }) => !internal && family === "IPv4")?.address;
const AXE = readFileSync(fileURLToPath(new URL("node_modules/axe-core/axe.min.js", import.meta.url)), "utf8");
const SMALL = "camera=160x90@5";

describe("Firefox", { skip: !ADDRESS && "Firefox needs a network interface beside loopback" }, () => {
  let server, firefox, chromium, fay, cleo;

  before(async () => {
    server = await startServer({ env: { SFU_HOST: ADDRESS, SFU_PORT: "0", RESUME_SECONDS: "60" } });
    [firefox, chromium] = await Promise.all([launchFirefox(), launch()]);
    [fay, cleo] = await Promise.all([FirefoxPerson.open(firefox, "Fay"), Person.open(chromium, "Cleo")]);
  });

  after(async () => {
    await Promise.all([firefox?.close(), chromium?.close()]);
    await server?.stop();
  });

  const click = (selector) => fay.page.$eval(selector, (element) => element.click());
  const shows = (text) => fay.until(`shows "${text}"`, (text) => document.body.innerText.includes(text), text);
  const isMuted = (is) => cleo.tile(fay).locator(is ? ".tile-muted.shown" : ".tile-muted:not(.shown)").waitFor({ state: "attached" });
  const seeEachOther = () => Promise.all([fay.sees([cleo]), cleo.sees([fay])]);
  /** Runs a test with another user of Firefox. */
  async function withAnother(name, use) {
    const person = await FirefoxPerson.open(firefox, name);
    try {
      await use(person);
    } finally {
      await person.leave();
    }
  }

  test("the lobby lists members, the call announces them; the self view is small, and the panel is closed", async () => {
    await cleo.join(server.url, "salon");
    await fay.prepare(server.url, "salon");
    await shows("Cleo is here.");
    await fay.enter();
    await cleo.page.locator(".toast", { hasText: "Fay joined" }).waitFor();
    await seeEachOther();
    const layout = await fay.page.evaluate(() => {
      const width = (selector) => document.querySelector(selector).getBoundingClientRect().width;
      return { self: width(".tile-self"), other: width(".tile:not(.tile-self)"), isPanelOpen: !document.getElementById("panel").hidden };
    });
    assert.ok(layout.self >= 96 && layout.self < layout.other / 2 && !layout.isPanelOpen, JSON.stringify(layout));
  });

  test("a camera that is chosen in the settings is opened and sent", async () => {
    await fay.page.keyboard.press("?");
    await fay.until("the settings list the camera in use", () => document.querySelector("#settings-camera option:checked")?.label);
    const sent = () => [...window.parlor.peers().values()][0].getSenders().find(({ track }) => track?.kind === "video")?.track.id;
    const before = await fay.page.evaluate(sent);
    await fay.page.$eval("#settings-camera", (field) => field.dispatchEvent(new Event("change")));
    await fay.until("sends another track", (before) =>
      ![undefined, before].includes([...window.parlor.peers().values()][0].getSenders().find(({ track }) => track?.kind === "video")?.track.id), before);
    await click("#settings-close");
    await cleo.sees([fay], 8);
  });

  test("a screen with audio is sent beside the camera, and received from Chromium", async () => {
    await fay.page.evaluate(fakeScreen);
    await click("#tool-screen");
    await receivesScreen(cleo, fay);
    await click("#tool-screen");
    await cleo.page.locator(".tile-screen").waitFor({ state: "detached" });
    await cleo.page.getByRole("button", { name: "Share screen" }).click();
    await receivesScreen(fay, cleo);
    await cleo.page.getByRole("button", { name: "Share screen" }).click();
    await fay.until("the screen is removed", () => !document.querySelector(".tile-screen"));
    await seeEachOther();
  });

  const receivesScreen = (person, sharer) => person.until(`receives the screen, its audio and the camera of ${sharer.name}`, (id) => {
    const videos = [...document.querySelectorAll(`.tile[data-user-id="${id}"] video`)];
    const screen = document.querySelector(`.tile-screen[data-user-id="${id}"] video`);
    return videos.length === 2 && videos.every(({ videoWidth }) => videoWidth > 0) && screen.srcObject.getAudioTracks().length === 1;
  }, sharer.id);

  test("a raised hand and a reaction, both ways", async () => {
    await fay.page.keyboard.press("h");
    await cleo.tile(fay).locator(".tile-hand.shown").waitFor();
    await cleo.page.keyboard.press("h");
    await fay.until("sees the hand", (id) => !!document.querySelector(`.tile[data-user-id="${id}"] .tile-hand.shown`), cleo.id);
    await click("#tool-more");
    await fay.page.$$eval("#reactions button", (buttons) => buttons.find(({ textContent }) => textContent === "👏").click());
    await cleo.tile(fay).locator(".tile-reaction", { hasText: "👏" }).waitFor();
    for (const person of [fay, cleo]) await person.page.keyboard.press("h");
    await cleo.tile(fay).locator(".tile-hand:not(.shown)").waitFor({ state: "attached" });
  });

  test("push to talk, and disabled shortcuts", async () => {
    await fay.page.keyboard.press("?");
    await click("#settings-talk");
    await click("#settings-shortcuts");
    await click("#settings-close");
    await isMuted(true);
    await fay.page.keyboard.down(" ");
    await isMuted(false);
    await fay.page.keyboard.up(" ");
    await isMuted(true);
    await fay.page.keyboard.press("c");
    assert.equal(await fay.page.$eval("#panel", (panel) => panel.hidden), true, "C has no effect while shortcuts are off");
    await click("#menu-settings");
    await click("#settings-talk");
    await click("#settings-shortcuts");
    await click("#settings-close");
    await isMuted(false);
  });

  test("statistics by keyboard shortcut", async () => {
    await fay.page.keyboard.press("t");
    await fay.until("shows codec and candidates", (id) =>
      /(VP8|VP9|H264|AV1).*udp host .* → /.test(document.querySelector(`.person[data-user-id="${id}"] .person-details`).textContent), cleo.id);
    for (const kind of ["bitrate", "loss", "round-trip"]) {
      await fay.until(`plots the ${kind}`, ([id, kind]) => {
        const line = document.querySelector(`.person[data-user-id="${id}"] .plot-${kind} .plot-line`);
        return (line?.getAttribute("d")?.match(/L/g) ?? []).length > 1;
      }, [cleo.id, kind]);
    }
    await fay.page.keyboard.press("t");
    await fay.page.keyboard.press("Escape");
    assert.equal(await fay.page.$eval("#panel", (panel) => panel.hidden), true);
  });

  test("full screen; the button of picture-in-picture is hidden", async () => {
    await fay.page.keyboard.press("f");
    await fay.until("fills the screen", () => !!document.fullscreenElement);
    await fay.page.keyboard.press("f");
    await fay.until("does not fill the screen", () => !document.fullscreenElement);
    assert.equal(await fay.page.evaluate(() => document.getElementById("menu-pip").hidden === !document.pictureInPictureEnabled), true);
  });

  test("chat survives a reload", async () => {
    await fay.sendMessage("From Firefox");
    await cleo.receivesMessage(fay, "From Firefox");
    await fay.page.reload();
    await fay.inCall();
    await fay.receivesMessage(fay, "From Firefox");
    await seeEachOther();
  });

  test("the call and the chat conform to the rules of axe, light and dark", async () => {
    await checkRules(fay, "the call");
    if (!(await fay.page.$eval("#chat", (chat) => chat.checkVisibility()))) await click("#tool-chat");
    await checkRules(fay, "the chat");
    await click("#panel-close");
  });

  async function checkRules({ page }, what) {
    await page.evaluate(AXE);
    for (const theme of ["light", "dark"]) {
      const found = await page.evaluate(async (theme) => {
        document.documentElement.dataset.theme = theme;
        const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
        return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`));
      }, theme);
      assert.deepEqual(found, [], `${what}, ${theme}`);
    }
  }

  test("leaving turns camera and microphone off, and one click rejoins", async () => {
    await fay.page.evaluate(() => {
      window.sent = [...window.parlor.peers().values()][0].getSenders().map(({ track }) => track).filter(Boolean);
    });
    await click("#tool-leave");
    await shows("You left the call");
    assert.deepEqual([...new Set(await fay.page.evaluate(() => window.sent.map(({ readyState }) => readyState)))], ["ended"]);
    await cleo.page.locator(".toast", { hasText: "Fay left" }).first().waitFor();
    await click("#end-rejoin");
    await fay.inCall();
    await seeEachOther();
  });

  test("five use the media server, and a mesh on request", async () => {
    const others = await Promise.all(["Ada", "Ben", "Dora"].map((name) => Person.open(chromium, name)));
    await fay.page.goto("about:blank");
    await Promise.all([cleo, ...others].map((one) => one.join(`${server.url}/?${SMALL}`, "atrium")));
    await fay.join(`${server.url}/?${SMALL}`, "atrium");
    const all = [fay, cleo, ...others];
    const areIn = (mode) => Promise.all(all.map((one) => one.until(`is in ${mode} mode`, (mode) => window.parlor.mode() === mode, mode)));
    const see = () => Promise.all(all.map((one) => one.sees(all.filter((other) => other !== one))));
    await areIn("sfu");
    await see();
    await fay.page.keyboard.press("?");
    await fay.page.select("#settings-mode", "mesh");
    await click("#settings-close");
    await areIn("mesh");
    await see();
    await Promise.all(others.map((one) => one.hangUp()));
    assert.deepEqual(all.flatMap(({ consoleErrors }) => consoleErrors), []);
  });

  for (const mode of ["mesh", "sfu"]) {
    test(`while the server is unavailable, icons stay and the notice fits the mode: ${mode}`, async () => {
      const own = await startServer({ env: { SFU_HOST: ADDRESS, SFU_PORT: "0" } });
      await withAnother("Fritz", async (fritz) => {
        await fritz.join(`${own.url}/?media=${mode}`, "salon");
        await fritz.until(`is in ${mode} mode`, (mode) => window.parlor.mode() === mode, mode);
        await own.stop("SIGKILL");
        await fritz.until("shows the notice of the mode", (mode) => (mode === "sfu" ? /audio and video go through it/ : /Your call continues; no one can join/)
          .test(document.getElementById("call-notice").textContent), mode);
        await fritz.page.keyboard.press("v");
        const widths = await fritz.page.evaluate(() => [...document.querySelectorAll(".tool > .icon use")].map((use) => use.getBBox().width));
        assert.ok(widths.length > 5 && widths.every((width) => width > 0), widths.join());
      });
    });
  }

  test("SFU=off is shown before joining", async () => {
    const plain = await startServer({ env: { SFU: "off" } });
    await withAnother("Fritz", async (fritz) => {
      await fritz.page.goto(plain.url);
      await fritz.until("shows the message", () => document.getElementById("mode-hint").textContent.includes("This server has no media server"));
      assert.equal(await fritz.page.$eval("#mode-options [value=sfu]", (radio) => radio.matches(":disabled")), true);
    });
    await plain.stop();
  });

  test("a token leaves the address, and is used", async () => {
    const protectedServer = await startServer({ env: { JWT_SECRET } });
    await withAnother("Fritz", async (fritz) => {
      await fritz.join(`${protectedServer.url}/?token=${token("fritz")}`, "salon");
      assert.doesNotMatch(fritz.page.url(), /token/);
      assert.equal(fritz.id, "fritz");
    });
    await protectedServer.stop();
  });

  test("Join is visible, unusual names are shown, and the lobby conforms to the rules of axe", async () => {
    await withAnother("\u202eA\u200bn\u2060n\u202c סבטלנה 👩‍👩‍👧‍👦", async (fritz) => {
      await fritz.prepare(server.url, "salle");
      for (const [width, height] of [[390, 844], [1280, 720]]) {
        await fritz.page.setViewport({ width, height });
        await fritz.until(`Join is visible at ${width}×${height}`, ([width, height]) => {
          const { top, bottom, left, right } = document.getElementById("join").getBoundingClientRect();
          return innerWidth === width && top >= 0 && bottom <= height && left >= 0 && right <= width;
        }, [width, height]);
      }
      await checkRules(fritz, "the lobby");
      await fritz.enter();
      assert.equal(await fritz.page.evaluate(() => document.activeElement.id), "room-name");
      await cleo.toLobby();
      await cleo.join(server.url, "salle");
      assert.equal(await cleo.tile(fritz).locator("bdi.tile-name").textContent(), "Ann סבטלנה 👩‍👩‍👧‍👦");
    });
  });

  test("a camera in use elsewhere, and an origin without TLS, are reported", async () => {
    await withAnother("Fritz", async (fritz) => {
      await fritz.page.evaluateOnNewDocument(() => {
        const original = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
        if (original) navigator.mediaDevices.getUserMedia = (constraints) =>
          constraints.video && !window.isFree ? Promise.reject(new DOMException("Device in use", "NotReadableError")) : original(constraints);
      });
      await fritz.page.goto(server.url);
      await fritz.until("shows the message", () => document.body.innerText.includes("Your camera is in use by another program."));
      await fritz.page.evaluate(() => (window.isFree = true));
      await fritz.page.$eval("#retry-devices", (button) => button.click());
      await fritz.until("the preview is shown", () => document.getElementById("preview-video").videoWidth > 0);
      const open = await startServer({ env: { HOST: ADDRESS } });
      await fritz.page.goto(open.url);
      await fritz.until("shows the message", () => document.body.innerText.includes("Open it with https, or on this computer as localhost."));
      await open.stop();
    });
  });

  test("the first load is small", async () => {
    await withAnother("Fritz", async (fritz) => {
      await fritz.page.goto(`${server.url}/?room=small`, { waitUntil: "load" });
      await fritz.devicesAsked();
      const loaded = await fritz.page.evaluate(() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
        .map(({ name, transferSize }) => ({ name, transferSize })));
      const total = loaded.reduce((sum, { transferSize }) => sum + transferSize, 0);
      assert.ok(loaded.length > 3 && loaded.length <= 12 && total > 10_000 && total <= 100 * 1024, JSON.stringify(loaded));
    });
  });
});

/** Runs in the page: replaces screen capture by a canvas with a tone. */
function fakeScreen() {
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 400, height: 300 });
    const context = canvas.getContext("2d");
    setInterval(() => {
      context.fillStyle = `hsl(${Date.now() % 360} 60% 50%)`;
      context.fillRect(0, 0, 400, 300);
    }, 100);
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const output = audio.createMediaStreamDestination();
    tone.connect(output);
    tone.start();
    return new MediaStream([...canvas.captureStream(10).getTracks(), ...output.stream.getTracks()]);
  };
}
