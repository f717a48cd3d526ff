/**
 * The features of a call: devices, raised hands, reactions, push-to-talk, statistics, leaving and rejoining. The tests depend on each
 * other.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

describe("features of a call", () => {
  let server, browser, ada, ben;

  before(async () => {
    server = await startServer();
    browser = await launch("fake", { needsWindows: true });
    [ada, ben] = await Promise.all(["Ada", "Ben"].map((name) => Person.open(browser, name)));
    await ada.page.addInitScript(countWakeLocks);
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const isMuted = (person) => person.page.evaluate(() => document.getElementById("tool-mic").getAttribute("aria-pressed") === "false");
  const showsToast = (person, text) => person.page.locator(".toast", { hasText: text }).waitFor();
  /** Opens the settings, calls `act` with the dialog, and closes them. */
  async function inSettings(person, act) {
    await person.page.keyboard.press("?");
    await act(person.page.getByRole("dialog", { name: "Settings" }));
    await person.page.getByRole("button", { name: "Close the settings" }).click();
  }

  test("the lobby lists members, the call announces joins; the self view is small and covers no other tile", async () => {
    await ada.join(server.url, "parlour");
    await ben.prepare(server.url, "parlour");
    await ben.page.getByText("Ada is here.").waitFor();
    await ben.enter();
    await showsToast(ada, "Ben joined");
    await Promise.all([ada.sees([ben]), ben.sees([ada])]);
    const layout = await ada.page.evaluate(() => {
      const width = (selector) => document.querySelector(selector).getBoundingClientRect().width;
      return { self: width(".tile-self"), other: width(".tile:not(.tile-self)"), isPanelOpen: !document.getElementById("panel").hidden };
    });
    assert.ok(layout.self >= 96 && layout.self < layout.other / 2, JSON.stringify(layout));
    assert.equal(layout.isPanelOpen, false);
  });

  test("another camera, microphone and loudspeaker are chosen", async () => {
    const used = () => {
      const [connection] = window.parlor.peers().values();
      const sent = (kind) => connection.getSenders().find(({ track }) => track?.kind === kind)?.track.label;
      return { video: sent("video"), audio: sent("audio"), speaker: document.querySelector(".tile:not(.tile-self) video").sinkId };
    };
    const before = await ada.page.evaluate(used);
    await inSettings(ada, async (dialog) => {
      for (const [label, kind] of [["Camera", "video"], ["Microphone", "audio"], ["Speaker", "speaker"]]) {
        const field = dialog.locator(`#settings-${label.toLowerCase()}`);
        await field.locator("option").nth(1).waitFor({ state: "attached" });
        const options = await field.locator("option").evaluateAll((all) => all.map(({ value, label }) => ({ value, label })));
        const other = options.find(({ value, label }) => label !== before[kind] && value !== "default");
        assert.ok(other, `another ${label} among ${JSON.stringify(options)}`);
        await field.selectOption(other.value);
        await ada.until(`uses another ${label}`, ([before, kind, used]) => new Function(`return (${used})()`)()[kind] !== before, [before[kind], kind, String(used)]);
      }
    });
    // The second fake camera delivers depth images, which are not visible.
    await inSettings(ada, (dialog) => dialog.locator("#settings-camera").selectOption({ label: before.video }));
    await ben.sees([ada]);
  });

  // The mesh comes last: the tests after it need it.
  for (const mode of ["sfu", "mesh"]) {
    test(`the audio of a shared screen is received beside the microphone: ${mode}`, async () => {
      await inSettings(ada, (dialog) => dialog.getByLabel("Media of everyone in this room").selectOption(mode));
      await Promise.all([ada, ben].map((one) => one.until(`is in ${mode} mode`, (mode) => window.parlor.mode() === mode, mode)));
      // Mute the microphone, so that only the screen has audio.
      await ada.page.keyboard.press("m");
      await ben.tile(ada).locator(".tile-muted.shown").waitFor();
      await ada.page.getByRole("button", { name: "Share screen" }).click();
      await ben.until("receives audio of the screen", playsScreenAudio, ada.id);
      await ada.page.keyboard.press("m");
      await ben.tile(ada).locator(".tile-muted:not(.shown)").waitFor({ state: "attached" });
      await ada.page.getByRole("button", { name: "Share screen" }).click();
      await ben.page.locator(".tile-screen").waitFor({ state: "detached" });
      await Promise.all([ada.sees([ben]), ben.sees([ada])]);
    });
  }

  test("a raised hand is shown, also to a peer that joins later over Socket.IO; a reaction is animated", async () => {
    await ada.page.keyboard.press("h");
    await ben.tile(ada).locator(".tile-hand.shown").waitFor();
    await showsToast(ben, "Ada raises a hand");
    const cleo = await Person.open(browser, "Cleo");
    await cleo.join(`${server.url}/?protocol=socketio`, "parlour");
    await cleo.tile(ada).locator(".tile-hand.shown").waitFor();
    await cleo.page.getByRole("button", { name: "More" }).click();
    await cleo.page.getByRole("button", { name: "👏" }).click();
    await ada.tile(cleo).locator(".tile-reaction", { hasText: "👏" }).waitFor();
    await ada.page.keyboard.press("h");
    await ben.tile(ada).locator(".tile-hand:not(.shown)").waitFor({ state: "attached" });
    await cleo.hangUp();
    await showsToast(ada, "Cleo left");
  });

  test("push to talk: the microphone is on while the space bar is held; the other shortcuts can be off", async () => {
    await inSettings(ada, async (dialog) => {
      await dialog.getByLabel("Push to talk").check();
      await dialog.getByLabel("Keyboard shortcuts").uncheck();
    });
    await ben.tile(ada).locator(".tile-muted.shown").waitFor();
    await ada.page.keyboard.down(" ");
    await ben.tile(ada).locator(".tile-muted:not(.shown)").waitFor({ state: "attached" });
    await ada.page.keyboard.up(" ");
    await ben.tile(ada).locator(".tile-muted.shown").waitFor();
    await ada.page.keyboard.press("m");
    assert.ok(await isMuted(ada), "M has no effect while shortcuts are off");
    await ada.page.getByRole("button", { name: "More" }).click();
    await ada.page.getByRole("button", { name: "Settings and shortcuts" }).click();
    await ada.page.getByLabel("Push to talk").uncheck();
    await ada.page.getByLabel("Keyboard shortcuts").check();
    await ada.page.getByRole("button", { name: "Close the settings" }).click();
    await ben.tile(ada).locator(".tile-muted:not(.shown)").waitFor({ state: "attached" });
  });

  test("statistics, full screen and picture-in-picture by keyboard shortcut", async () => {
    await ada.page.keyboard.press("t");
    const row = ada.page.locator(`.person[data-user-id="${ben.id}"]`);
    await row.locator(".person-details", { hasText: /(VP8|VP9|H264|AV1).*udp host .* → / }).waitFor();
    for (const kind of ["bitrate", "loss", "round-trip"]) {
      await ada.until(`plots the ${kind}`, ([id, kind]) => {
        const line = document.querySelector(`.person[data-user-id="${id}"] .plot-${kind} .plot-line`);
        return (line?.getAttribute("d").match(/L/g) ?? []).length > 1;
      }, [ben.id, kind]);
    }
    await ada.page.keyboard.press("t");
    assert.equal(await row.locator(".plots").isVisible(), false);
    await ada.page.keyboard.press("Escape");
    await ada.page.keyboard.press("f");
    await ada.until("fills the screen", () => !!document.fullscreenElement);
    await ada.page.keyboard.press("f");
    await ada.until("does not fill the screen", () => !document.fullscreenElement);
    if (await ada.page.evaluate(() => document.pictureInPictureEnabled)) {
      await ada.page.keyboard.press("i");
      await ada.until("shows the other person in a window", (id) => document.pictureInPictureElement?.closest(".tile").dataset.userId === id, ben.id);
      await ada.page.keyboard.press("i");
      await ada.until("has closed the window", () => !document.pictureInPictureElement);
    }
  });

  test("a camera whose permission is revoked is reported, and the call continues", async () => {
    await ada.page.evaluate(() => {
      const [track] = document.querySelector(".tile-self video").srcObject.getVideoTracks();
      // As the browser does when a device is unplugged.
      track.stop();
      track.dispatchEvent(new Event("ended"));
    });
    await ada.page.getByText("Your camera was removed; another one is in use now.").waitFor();
    await ben.sees([ada]);
  });

  test("a microphone muted by the system is reported until it is unmuted", async () => {
    const setMuted = (muted) => ada.page.evaluate((muted) => {
      const [connection] = window.parlor.peers().values();
      const { track } = connection.getSenders().find((sender) => sender.track?.kind === "audio");
      // A test machine has no such switch.
      Object.defineProperty(track, "muted", { value: muted, configurable: true });
      track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
    }, muted);
    await setMuted(true);
    await ada.page.getByText("muted by the system").waitFor();
    await setMuted(false);
    await ada.page.locator("#device-notice").waitFor({ state: "hidden" });
  });

  test("leaving turns camera and microphone off, and one click rejoins", async () => {
    assert.equal(await ada.page.evaluate(() => window.wakeLocks), 1, "wake locks in the call");
    await ada.page.evaluate(() => {
      const [connection] = window.parlor.peers().values();
      window.sent = connection.getSenders().map(({ track }) => track).filter(Boolean);
    });
    await ada.page.getByRole("button", { name: "Leave the call" }).click();
    await ada.page.getByRole("heading", { name: "You left the call" }).waitFor();
    assert.deepEqual(await ada.page.evaluate(() => window.sent.map(({ readyState }) => readyState)), ["ended", "ended"]);
    assert.equal(await ada.page.evaluate(() => window.wakeLocks), 0, "wake locks after the call");
    await showsToast(ben, "Ada left");
    await ada.page.getByRole("button", { name: "Rejoin" }).click();
    await ada.inCall();
    await Promise.all([ada.sees([ben]), ben.sees([ada])]);
    assert.deepEqual([...ada.consoleErrors, ...ben.consoleErrors], []);
  });
});

/** Runs in the page: whether the screen of this person has audio, in a tile that plays it. */
function playsScreenAudio(id) {
  const video = document.querySelector(`.tile-screen[data-user-id="${id}"] video`);
  const [track] = video?.srcObject?.getAudioTracks() ?? [];
  if (!track || video.muted || video.paused) return false;
  if (window.screenMeter?.track !== track) {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    window.screenMeter = { track, analyser };
  }
  const { analyser } = window.screenMeter;
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return samples.some((sample) => Math.abs(sample) > 0.01);
}

/** Runs before the scripts of the page: counts the wake locks that it holds. */
function countWakeLocks() {
  window.wakeLocks = 0;
  if (!navigator.wakeLock) return;
  const request = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (type) => {
    const lock = await request(type);
    window.wakeLocks += 1;
    lock.addEventListener("release", () => (window.wakeLocks -= 1));
    return lock;
  };
}
