/**
 * The page as the server delivers it: its size, the security headers, and its state while the server is unavailable.
 */
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";
import { JWT_SECRET, token } from "./support/token.js";

/** Bounds of the first load, until the lobby is usable: transferred bytes of bodies and headers, and the number of requests. */
const MAX_BYTES = 100 * 1024;
const MAX_REQUESTS = 12;

const ADDRESS = Object.values(networkInterfaces()).flat().find(({ internal, family }) => !internal && family === "IPv4")?.address;

describe("the page", () => {
  let server, browser;

  before(async () => {
    server = await startServer();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("the first load is small", { skip: !!process.env.PAGE_SOURCES && "the server serves the sources" }, async (t) => {
    const ada = await Person.open(browser, "Ada");
    const devtools = await ada.context.newCDPSession(ada.page);
    await devtools.send("Network.enable");
    const requests = new Map();
    devtools.on("Network.requestWillBeSent", ({ requestId, request }) => requests.set(requestId, { url: request.url, bytes: null }));
    devtools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => (requests.get(requestId).bytes = encodedDataLength));
    await ada.page.goto(`${server.url}/?room=salon`, { waitUntil: "networkidle" });
    await ada.devicesAsked();
    const loaded = [...requests.values()].filter(({ url }) => url.startsWith("http"));
    const table = loaded.map(({ url, bytes }) => `${bytes} ${new URL(url).pathname}`).join("\n");
    const total = loaded.reduce((sum, { bytes }) => sum + bytes, 0);
    t.diagnostic(`${total} bytes in ${loaded.length} requests\n${table}`);
    assert.ok(loaded.length > 3 && loaded.every(({ bytes }) => bytes > 0), table);
    assert.ok(loaded.length <= MAX_REQUESTS, table);
    assert.ok(total <= MAX_BYTES, table);
    assert.deepEqual(ada.consoleErrors, []);
    await ada.leave();
  });

  test("security headers", async () => {
    const { headers } = await fetch(server.url);
    const policy = headers.get("content-security-policy");
    for (const directive of ["default-src 'self'", "base-uri 'self'", "form-action 'self'", "object-src 'none'", "frame-ancestors 'self'"]) {
      assert.ok(policy.includes(directive), `${directive} in ${policy}`);
    }
    assert.match(headers.get("permissions-policy"), /camera=\(self\), microphone=\(self\).*geolocation=\(\)/);
    assert.equal(headers.get("referrer-policy"), "no-referrer");
    assert.equal(headers.get("cross-origin-opener-policy"), "same-origin");
    for (const path of ["/", "/health", "/api/rooms", "/api/ice-servers", "/demo/lobby?room=salon", "/nothing", "/app.js"]) {
      const response = await fetch(server.url + path);
      assert.equal(response.headers.get("x-content-type-options"), "nosniff", path);
    }
  });

  test("a token leaves the address, is used, and survives a reload", async () => {
    const protectedServer = await startServer({ env: { JWT_SECRET } });
    try {
      const ada = await Person.open(browser, "Ada");
      await ada.join(`${protectedServer.url}/?token=${token("ada")}`, "salon");
      assert.doesNotMatch(ada.page.url(), /token/);
      assert.equal(ada.id, "ada");
      await ada.page.reload();
      await ada.inCall();
      assert.equal(ada.id, "ada");
      // Only clients that may join get the names of the members.
      const fetchRoom = async (headers) => (await fetch(`${protectedServer.url}/demo/lobby?room=salon`, { headers })).json();
      assert.deepEqual(await fetchRoom({}), { sfu: true, count: 0, names: [] });
      assert.deepEqual(await fetchRoom({ authorization: `Bearer ${token("ben")}` }), { sfu: true, count: 1, names: ["ada"] });
      await ada.leave();
    } finally {
      await protectedServer.stop();
    }
  });

  test("a camera in use elsewhere is reported, and can be retried", async () => {
    const ada = await Person.open(browser, "Ada");
    // No other program uses the fake camera.
    await ada.page.addInitScript(() => {
      const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (constraints) =>
        constraints.video && !window.isFree ? Promise.reject(new DOMException("Device in use", "NotReadableError")) : original(constraints);
    });
    await ada.page.goto(server.url);
    await ada.page.getByText("Your camera is in use by another program. Close that, then try again.").waitFor();
    await ada.page.evaluate(() => (window.isFree = true));
    await ada.page.getByRole("button", { name: "Try devices again" }).click();
    await ada.until("the preview is shown", () => document.getElementById("preview-video").videoWidth > 0);
    await ada.leave();
  });

  test("an origin without TLS is reported", { skip: !ADDRESS && "there is no network interface beside loopback" }, async () => {
    const open = await startServer({ env: { HOST: ADDRESS } });
    try {
      const ada = await Person.open(browser, "Ada");
      await ada.page.goto(open.url);
      await ada.page.getByText("Open it with https, or on this computer as localhost.").waitFor();
      await ada.leave();
    } finally {
      await open.stop();
    }
  });

  for (const mode of ["mesh", "sfu"]) {
    test(`while the server is unavailable, icons stay and the notice fits the mode: ${mode}`, async () => {
      const own = await startServer();
      const ada = await Person.open(browser, "Ada");
      await ada.join(`${own.url}/?media=${mode}`, "salon");
      await ada.until(`is in ${mode} mode`, (mode) => window.parlor.mode() === mode, mode);
      await own.stop("SIGKILL");
      const notice = mode === "sfu" ? /audio and video go through it/ : /Your call continues; no one can join/;
      await ada.page.locator("#call-notice", { hasText: notice }).waitFor();
      assert.equal(await ada.page.locator("#server-state").textContent(), "Reconnecting…");
      await ada.page.keyboard.press("v");
      const icons = await ada.page.evaluate(() => [...document.querySelectorAll(".tool > .icon use")].map((use) => {
        const { width } = use.getBBox();
        return { width, href: use.getAttribute("href") };
      }));
      assert.ok(icons.length > 5 && icons.every(({ width, href }) => width > 0 && href.startsWith("#")), JSON.stringify(icons));
      await ada.leave();
    });
  }
});
