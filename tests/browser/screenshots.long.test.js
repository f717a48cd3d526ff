/**
 * Screenshots for review, in screenshots/: the lobby and a call, large and small, dark and light. Checks that the page does not scroll
 * sideways and that all controls lie within the window.
 */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openProxy } from "./support/tcp-proxy.js";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

const FOLDER = fileURLToPath(new URL("screenshots/", import.meta.url));
/** For pages without screenshots. */
const SMALL_WINDOW = { viewport: { width: 320, height: 240 } };
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
/** The sizes of the images in the documentation, which `npm run screenshots` takes of the lobby and a call. */
const DOCUMENTED_SIZES = {
  phone: SIZES.phone,
  "phone-landscape": { width: 844, height: 390 },
  tablet: { width: 768, height: 1024 },
  laptop: { width: 1280, height: 720 },
  desktop: { width: 1920, height: 1080 },
};
const DOCUMENTED = ["lobby", "call"];
const PICTURES = process.env.PICTURES;
/** Small files in which text is legible. */
const QUALITY = 60;

describe("screenshots", () => {
  let server, proxy, browser, ada, guests;

  before(async () => {
    for (const folder of [FOLDER, PICTURES]) if (folder) await mkdir(folder, { recursive: true });
    server = await startServer({ env: { RESUME_SECONDS: "60" } });
    proxy = await openProxy(server.port);
    browser = await launch();
    ada = await Person.open(browser, "Ada Lovelace", { reducedMotion: "reduce" });
  });

  after(async () => {
    await browser?.close();
    await proxy?.close();
    await server?.stop();
  });

  async function takeScreenshots(name) {
    const isDocumented = PICTURES && DOCUMENTED.includes(name);
    for (const [size, viewport] of Object.entries(isDocumented ? DOCUMENTED_SIZES : SIZES)) {
      await ada.page.setViewportSize(viewport);
      for (const colorScheme of ["dark", "light"]) {
        await ada.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        await ada.until(`the page is ${colorScheme}`, (wanted) => document.documentElement.dataset.theme === wanted, colorScheme);
        await ada.page.screenshot({ path: `${FOLDER}${name}-${size}-${colorScheme}.png` });
        if (!isDocumented) continue;
        ada.devtools ??= await ada.context.newCDPSession(ada.page);
        const { data } = await ada.devtools.send("Page.captureScreenshot", { format: "webp", quality: QUALITY });
        await writeFile(join(PICTURES, `${name}-${size}-${colorScheme}.webp`), data, "base64");
      }
      assert.deepEqual(await ada.page.evaluate(findOverflow), [], `${name}, ${size}: outside of the window`);
    }
  }

  test("the lobby", async () => {
    await ada.page.goto(`${server.url}/?room=walnut-hearth-10423`);
    await ada.until("the preview is shown", () => document.getElementById("preview-video").videoWidth > 0);
    await ada.page.getByLabel("Your name").fill(ada.name);
    await takeScreenshots("lobby");
  });

  test("alone", async () => {
    await ada.page.getByRole("button", { name: "Join", exact: true }).click();
    await ada.inCall();
    await takeScreenshots("alone");
  });

  test("a call", async () => {
    guests = await Promise.all(["Grace Hopper", "Dorothea Wolfeschlegelsteinhausenberger"].map((name) => Person.open(browser, name, SMALL_WINDOW)));
    await Promise.all(guests.map((guest) => guest.join(`${server.url}/?camera=320x180@10`, "walnut-hearth-10423")));
    await ada.sees(guests);
    await guests[0].sendMessage("Good evening. Can you all see the compiler?");
    await guests[1].page.keyboard.press("Escape");
    await guests[1].page.getByRole("button", { name: "Camera" }).click();
    await ada.tile(guests[1]).locator(".tile-face").waitFor({ state: "visible" });
    await ada.page.keyboard.press("Escape");
    // They would cover the call in the documentation.
    if (PICTURES) await ada.until("the toasts have disappeared", () => !document.querySelector(".toast"));
    await takeScreenshots("call");
    await ada.page.keyboard.press("t");
    await ada.until("the plots have values", () =>
      [...document.querySelectorAll(".plot-bitrate .plot-line")].every((line) => (line.getAttribute("d").match(/L/g) ?? []).length > 2));
    await takeScreenshots("call-people");
    await ada.page.keyboard.press("t");
    await ada.page.keyboard.press("c");
    await ada.sendMessage("Brightly. It even compiles.");
    await takeScreenshots("call-chat");
  });

  test("a peer is away", async () => {
    const alan = await Person.open(browser, "Alan Turing", SMALL_WINDOW);
    await guests[1].page.getByRole("button", { name: "Camera" }).click();
    await alan.join(proxy.url, "walnut-hearth-10423");
    guests.push(alan);
    await ada.sees(guests);
    await alan.setOffline(true);
    proxy.reset();
    await ada.page.locator(".tile-away").waitFor();
    await ada.page.keyboard.press("Escape");
    await takeScreenshots("away");
    await ada.page.keyboard.press("p");
    await takeScreenshots("away-people");
    await Promise.all(guests.map((guest) => guest.leave()));
  });

  const SFU_ROOM = "walnut-atrium-20817";

  test("five through the media server", async () => {
    const url = `${server.url}/?media=sfu&camera=320x180@5`;
    const names = ["Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Dorothea Wolfeschlegelsteinhausenberger"];
    guests = await Promise.all(names.map((name) => Person.open(browser, name, SMALL_WINDOW)));
    await ada.page.setViewportSize(SIZES.desktop);
    await ada.prepare(url, SFU_ROOM);
    await takeScreenshots("lobby-sfu");
    await Promise.all([ada.enter(), ...guests.map((guest) => guest.join(url, SFU_ROOM))]);
    await ada.sees(guests);
    await ada.until("every tile shows its video size", () =>
      [...document.querySelectorAll(".tile:not(.tile-self) .tile-size")].every(({ textContent }) => textContent));
    await takeScreenshots("sfu-people");
    await ada.page.keyboard.press("Escape");
    await takeScreenshots("sfu");
    // One sender is enough beside the listeners, since each page draws all tiles.
    await Promise.all(guests.splice(1).map((guest) => guest.hangUp()));
    await ada.until("two are left", () => document.querySelectorAll(".tile").length === 2);
  });

  test("twenty listeners", async () => {
    await ada.page.evaluate(addListeners, 20);
    await ada.until("all of them are shown", () => document.querySelectorAll(".tile").length === 22);
    await takeScreenshots("sfu-listeners");
    await Promise.all(guests.map((guest) => guest.leave()));
  });
});

/** Runs in the page: adds people who send no media. */
function addListeners(count) {
  window.listeners = Array.from({ length: count }, (_, index) => {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    const payload = { roomId: window.parlor.room(), displayName: `Listener ${index + 1}`, metadata: { media: "sfu" } };
    socket.onopen = () => socket.send(JSON.stringify({ type: "room:join", payload, timestamp: Date.now() }));
    return socket;
  });
}

/** Runs in the page: returns the controls outside of the window, and the page itself if it scrolls sideways. */
function findOverflow() {
  const { clientWidth, scrollWidth } = document.documentElement;
  const found = scrollWidth > clientWidth ? [`the page is ${scrollWidth} wide in ${clientWidth}`] : [];
  for (const element of document.querySelectorAll("button, input, select")) {
    const { left, right, width } = element.getBoundingClientRect();
    if (width && (left < -1 || right > clientWidth + 1)) found.push(`${element.id || element.className} from ${left} to ${right}`);
  }
  return found;
}
