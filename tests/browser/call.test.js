/**
 * One call of three pages of the demo in Chromium, from the first join to the last leave. The tests depend on each other.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openProxy } from "./support/tcp-proxy.js";
import { launch, Person } from "./support/people.js";
import { eventually, freePort, startServer } from "./support/server.js";

const ROOM = "the-drawing-room";
/** Maximum time until the others notice a closed tab: less than the server keeps a lost connection (10 s), also on a busy machine. */
const REMOVAL_MS = 5000;

describe("a call of three", () => {
  let server, proxy, browser, ada, grace, alan, everyone;
  const others = (person) => everyone.filter((other) => other !== person);
  const allSeeEachOther = (frames) => Promise.all(everyone.map((person) => person.sees(others(person), frames)));

  before(async () => {
    server = await startServer({ port: await freePort() });
    browser = await launch("fake", { needsWindows: true });
    [ada, grace, alan] = everyone = await Promise.all(["Ada", "Grace", "Alan"].map((name) => Person.open(browser, name)));
  });

  after(async () => {
    await browser?.close();
    await proxy?.close();
    await server?.stop();
  });

  test("each joins through the lobby and sees both others", async (t) => {
    const began = Date.now();
    await Promise.all(everyone.map((person) => person.join(server.url, ROOM)));
    t.diagnostic(`all three were in the room after ${Date.now() - began} ms`);
    const frames = await allSeeEachOther();
    t.diagnostic(`and saw each other after ${Date.now() - began} ms; more frames decoded: ${JSON.stringify(frames.map(Object.values))}`);
    assert.deepEqual((await server.participants(ROOM)).sort(), everyone.map(({ id }) => id).sort(), "the room by REST");
  });

  test("a message reaches both others", async () => {
    await grace.sendMessage("Nanoseconds, anyone?");
    await Promise.all(others(grace).map((person) => person.receivesMessage(grace, "Nanoseconds, anyone?")));
    await ada.sendMessage("Yes, please");
    await Promise.all(others(ada).map((person) => person.receivesMessage(ada, "Yes, please")));
  });

  test("a muted microphone is shown, and video continues", async () => {
    await ada.page.getByRole("button", { name: "Microphone" }).click();
    await Promise.all(others(ada).map((person) => person.tile(ada).locator(".tile-muted").waitFor({ state: "visible" })));
    await allSeeEachOther(3);
    await ada.page.getByRole("button", { name: "Microphone" }).click();
    await Promise.all(others(ada).map((person) => person.tile(ada).locator(".tile-muted").waitFor({ state: "hidden" })));
  });

  test("a camera is turned off and on again", async () => {
    await alan.page.keyboard.press("Escape");
    await alan.page.keyboard.press("v");
    await Promise.all(others(alan).map((person) => person.tile(alan).locator(".tile-face").waitFor({ state: "visible" })));
    await grace.sees([ada, alan], 0);
    await alan.page.keyboard.press("v");
    await Promise.all(others(alan).map((person) => person.tile(alan).locator(".tile-face").waitFor({ state: "hidden" })));
    await allSeeEachOther(3);
  });

  test("a screen is shared beside the camera, twice, and by two at once", async () => {
    const share = (person) => person.page.getByRole("button", { name: "Share screen" }).click();
    const shared = (person, sharer) => person.page.locator(`.tile-screen[data-user-id="${sharer.id}"]`);
    const receivesScreen = (person, sharer) =>
      person.until(`receives the screen and the camera of ${sharer.name}`, (id) => {
        const widths = [...document.querySelectorAll(`.tile[data-user-id="${id}"] video`)].map(({ videoWidth }) => videoWidth);
        return widths.length === 2 && widths.every((width) => width > 0) && widths[0] !== widths[1];
      }, sharer.id);
    for (const round of [1, 2]) {
      await share(ada);
      await Promise.all(others(ada).map((person) => receivesScreen(person, ada)));
      if (round === 2) {
        await share(grace);
        await Promise.all([receivesScreen(ada, grace), receivesScreen(alan, grace), receivesScreen(alan, ada)]);
        await share(grace);
        await shared(alan, grace).waitFor({ state: "detached" });
      }
      await share(ada);
      await Promise.all(everyone.map((person) => shared(person, ada).waitFor({ state: "detached" })));
    }
    await allSeeEachOther(3);
  });

  test("all ends of all connections restart ICE at once, without interruption", async () => {
    // Two offers cross on every connection, which perfect negotiation resolves.
    const restart = () => {
      const ufrag = (connection) => /ice-ufrag:(\S+)/.exec(connection.localDescription.sdp)[1];
      const peers = [...window.parlor.peers().values()];
      window.restarted = peers.map((connection) => ({ connection, before: ufrag(connection) }));
      for (const connection of peers) connection.restartIce();
    };
    const settled = () =>
      window.restarted.every(({ connection, before }) =>
        connection.signalingState === "stable" &&
        connection.connectionState === "connected" &&
        /ice-ufrag:(\S+)/.exec(connection.localDescription.sdp)[1] !== before);
    await Promise.all(everyone.map((person) => person.page.evaluate(restart)));
    await Promise.all(everyone.map((person) => person.until("has restarted ICE to both others", settled)));
    await allSeeEachOther(3);
  });

  test("a reloaded page rejoins the call with its user id", async (t) => {
    const { id } = grace;
    const began = Date.now();
    await grace.page.reload();
    await grace.inCall();
    assert.equal(grace.id, id, "the userId after the reload");
    await allSeeEachOther();
    t.diagnostic(`reloaded, and decoded by all again, in ${Date.now() - began} ms`);
    assert.equal((await server.participants(ROOM)).length, 3, "participants by REST");
  });

  test("the call survives a killed server, and rejoins after its restart", async (t) => {
    // To compare the connections after the restart.
    const remember = () => {
      window.connectionsBefore = [...window.parlor.peers().values()];
    };
    await Promise.all(everyone.map((person) => person.page.evaluate(remember)));

    await server.stop("SIGKILL");
    const killed = Date.now();
    const serverIs = (state) =>
      Promise.all(everyone.map((person) => person.until(`notices that the server is ${state}`, (wanted) =>
        document.getElementById("server-state").dataset.state === wanted, state)));
    await serverIs("offline");
    t.diagnostic(`all had noticed ${Date.now() - killed} ms after the kill`);
    const frames = await allSeeEachOther();
    t.diagnostic(`frames decoded without a server: ${JSON.stringify(frames.map(Object.values))}`);

    server = await startServer({ port: server.port });
    const started = Date.now();
    await eventually("all three are in the room again, by REST", () => server.participants(ROOM), (ids) =>
      everyone.every(({ id }) => ids.includes(id)));
    await serverIs("online");
    t.diagnostic(`all three were in the room again ${Date.now() - started} ms after the restart`);
    await allSeeEachOther();
    for (const person of everyone) {
      const same = await person.page.evaluate(() => {
        const now = [...window.parlor.peers().values()];
        return now.length === window.connectionsBefore.length && now.every((one) => window.connectionsBefore.includes(one));
      });
      assert.ok(same, `${person.name} kept the connections to both others`);
    }
  });

  test("a restart by SIGTERM does not end the call", async () => {
    const port = server.port;
    const restart = async () => {
      await server.stop("SIGTERM");
      await delay(5000);
      server = await startServer({ port });
      await eventually("all three are in the room again, by REST", () => server.participants(ROOM), (ids) =>
        everyone.every(({ id }) => ids.includes(id)));
    };
    const restarting = restart();
    let isOver = false;
    restarting.finally(() => (isOver = true)).catch(() => {});
    while (!isOver) {
      const began = Date.now();
      await allSeeEachOther();
      const waited = Date.now() - began;
      assert.ok(waited < 1000, `a video froze for up to ${waited} ms`);
    }
    await restarting;
    await allSeeEachOther();
  });

  test("a fourth joins, and sees all three", async () => {
    proxy = await openProxy(server.port);
    const edsger = await Person.open(browser, "Edsger");
    await edsger.join(proxy.url, ROOM);
    everyone.push(edsger);
    await allSeeEachOther(3);
  });

  test("the fourth's connection is reset: it is resumed, and their tile stays", async (t) => {
    const edsger = everyone.at(-1);
    const watchTiles = () => {
      window.removals = [];
      new MutationObserver((changes) => {
        for (const { removedNodes } of changes) for (const { dataset } of removedNodes) window.removals.push(dataset.userId);
      }).observe(document.getElementById("tiles"), { childList: true });
    };
    await Promise.all(others(edsger).map((person) => person.page.evaluate(watchTiles)));
    const serverIs = (state) =>
      edsger.until(`the server is ${state}`, (wanted) => document.getElementById("server-state").dataset.state === wanted, state);
    const cut = Date.now();
    proxy.reset();
    await serverIs("offline");
    await serverIs("online");
    t.diagnostic(`online ${Date.now() - cut} ms after the reset`);
    await allSeeEachOther(3);
    for (const person of others(edsger)) {
      assert.deepEqual(await person.page.evaluate(() => window.removals), [], `tiles removed from the page of ${person.name}`);
    }
    assert.equal((await server.participants(ROOM)).length, 4, "participants by REST");
  });

  test("a closed tab is removed from the others before any timeout", async (t) => {
    const edsger = everyone.pop();
    const removals = await Promise.all(everyone.map((person) => person.watchRemoval(edsger)));
    const closed = Date.now();
    await edsger.page.close();
    const times = (await Promise.all(removals.map((removal) => removal()))).map((at) => at - closed);
    t.diagnostic(`removed after ${times.join(", ")} ms`);
    assert.ok(Math.max(...times) < REMOVAL_MS, `removed from all pages after ${times} ms`);
    assert.equal((await server.participants(ROOM)).length, 3, "participants by REST");
    await edsger.leave();
  });

  test("the server is empty after all have left", async (t) => {
    await Promise.all(everyone.map((person) => person.leave()));
    const closed = Date.now();
    await eventually("rooms, participants and connections are 0 on /health", server.health, (health) =>
      health.rooms === 0 && health.participants === 0 && health.connections === 0);
    t.diagnostic(`all zero ${Date.now() - closed} ms after the last page closed`);
  });

  test("no page reported an error", () => {
    // While the server is unavailable, the browser itself reports every connection attempt.
    const own = everyone.flatMap(({ consoleErrors }) => consoleErrors).filter((one) => !/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|WebSocket/.test(one));
    assert.deepEqual(own, []);
  });
});
