/**
 * One call, from the first to the last: three pages of the demo in a real Chromium, over a real server. The tests build on each other.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openLine } from "./support/line.js";
import { launch, Person } from "./support/people.js";
import { eventually, freePort, startServer } from "./support/server.js";

const ROOM = "the-drawing-room";
/** How soon the others must know that a tab was closed: before the server gives up a lost connection (10 s), also on a busy machine. */
const DEPARTURE_MS = 5000;

describe("a call of three", () => {
  let server, line, browser, ada, grace, alan, everyone;
  const others = (person) => everyone.filter((other) => other !== person);
  const allSeeEachOther = (frames) => Promise.all(everyone.map((person) => person.sees(others(person), frames)));

  before(async () => {
    server = await startServer({ port: await freePort() });
    browser = await launch();
    [ada, grace, alan] = everyone = await Promise.all(["Ada", "Grace", "Alan"].map((name) => Person.arrive(browser, name)));
  });

  after(async () => {
    await browser?.close();
    await line?.close();
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
    await grace.say("Nanoseconds, anyone?");
    await Promise.all(others(grace).map((person) => person.reads(grace, "Nanoseconds, anyone?")));
    await ada.say("Yes, please");
    await Promise.all(others(ada).map((person) => person.reads(ada, "Yes, please")));
  });

  test("muting shows, and does not disturb", async () => {
    await ada.page.getByRole("button", { name: "Microphone" }).click();
    await Promise.all(others(ada).map((person) => person.tile(ada).locator(".tile-muted").waitFor({ state: "visible" })));
    await allSeeEachOther(3);
    await ada.page.getByRole("button", { name: "Microphone" }).click();
    await Promise.all(others(ada).map((person) => person.tile(ada).locator(".tile-muted").waitFor({ state: "hidden" })));
  });

  test("a camera goes off and on again", async () => {
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
    const arrives = (person, sharer) =>
      person.until(`gets the screen of ${sharer.name}, and the camera`, (id) => {
        const widths = [...document.querySelectorAll(`.tile[data-user-id="${id}"] video`)].map(({ videoWidth }) => videoWidth);
        return widths.length === 2 && widths.every((width) => width > 0) && widths[0] !== widths[1];
      }, sharer.id);
    for (const round of [1, 2]) {
      await share(ada);
      await Promise.all(others(ada).map((person) => arrives(person, ada)));
      if (round === 2) {
        await share(grace);
        await Promise.all([arrives(ada, grace), arrives(alan, grace), arrives(alan, ada)]);
        await share(grace);
        await shared(alan, grace).waitFor({ state: "detached" });
      }
      await share(ada);
      await Promise.all(everyone.map((person) => shared(person, ada).waitFor({ state: "detached" })));
    }
    await allSeeEachOther(3);
  });

  test("all ends of all connections restart ICE at once, without interruption", async () => {
    // Two offers cross on every connection: what perfect negotiation is for.
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

  test("a reloaded page is back in the call, as the same person", async (t) => {
    const { id } = grace;
    const began = Date.now();
    await grace.page.reload();
    await grace.inCall();
    assert.equal(grace.id, id, "the userId after the reload");
    await allSeeEachOther();
    t.diagnostic(`reloaded, and seen by all again, in ${Date.now() - began} ms`);
    assert.equal((await server.participants(ROOM)).length, 3, "participants by REST");
  });

  test("the call outlives the server, and finds it again", async (t) => {
    // To know the very connections again later.
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
    t.diagnostic(`frames decoded meanwhile, without a server: ${JSON.stringify(frames.map(Object.values))}`);

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
      assert.ok(waited < 1000, `a video stood still for up to ${waited} ms`);
    }
    await restarting;
    await allSeeEachOther();
  });

  test("a fourth joins after that, and sees all three", async () => {
    line = await openLine(server.port);
    const edsger = await Person.arrive(browser, "Edsger");
    await edsger.join(line.url, ROOM);
    everyone.push(edsger);
    await allSeeEachOther(3);
  });

  test("the fourth's line is cut: they are back by themselves, and stay in the others' picture", async (t) => {
    const edsger = everyone.at(-1);
    const stay = () => {
      window.departures = [];
      new MutationObserver((changes) => {
        for (const { removedNodes } of changes) for (const { dataset } of removedNodes) window.departures.push(dataset.userId);
      }).observe(document.getElementById("tiles"), { childList: true });
    };
    await Promise.all(others(edsger).map((person) => person.page.evaluate(stay)));
    const serverIs = (state) =>
      edsger.until(`the server is ${state}`, (wanted) => document.getElementById("server-state").dataset.state === wanted, state);
    const cut = Date.now();
    line.cut();
    await serverIs("offline");
    await serverIs("online");
    t.diagnostic(`back ${Date.now() - cut} ms after the cut`);
    await allSeeEachOther(3);
    for (const person of others(edsger)) {
      assert.deepEqual(await person.page.evaluate(() => window.departures), [], `who left, as ${person.name} saw it`);
    }
    assert.equal((await server.participants(ROOM)).length, 4, "participants by REST");
  });

  test("a closed tab is gone from the others before any timeout", async (t) => {
    const edsger = everyone.pop();
    const departures = await Promise.all(everyone.map((person) => person.watchDeparture(edsger)));
    const closed = Date.now();
    await edsger.page.close();
    const times = (await Promise.all(departures.map((departure) => departure()))).map((at) => at - closed);
    t.diagnostic(`gone after ${times.join(", ")} ms`);
    assert.ok(Math.max(...times) < DEPARTURE_MS, `gone from all tiles after ${times} ms`);
    assert.equal((await server.participants(ROOM)).length, 3, "participants by REST");
    await edsger.leave();
  });

  test("nothing is left on the server when all have gone", async (t) => {
    await Promise.all(everyone.map((person) => person.leave()));
    const closed = Date.now();
    await eventually("rooms, participants and connections are 0 on /health", server.health, (health) =>
      health.rooms === 0 && health.participants === 0 && health.connections === 0);
    t.diagnostic(`all zero ${Date.now() - closed} ms after the last page closed`);
  });

  test("no page had anything to complain of", () => {
    // While the server is gone, the browser itself reports every attempt to reach it.
    const own = everyone.flatMap(({ complaints }) => complaints).filter((one) => !/ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|WebSocket/.test(one));
    assert.deepEqual(own, []);
  });
});
