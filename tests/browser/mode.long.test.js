/**
 * The automatic media mode: a mesh of four changes to the media server with the fifth member, and back to a mesh on request. Chat in both
 * modes, between protocols, and after a reload.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, Person, TIME_FACTOR } from "./support/people.js";
import { startServer } from "./support/server.js";

/** Every frame of the pages is drawn and encoded without a graphics card. */
const SMALL = "camera=160x90@5";
const CHANGE_MS = 2000 * TIME_FACTOR;
const GAP_MS = 3000 * TIME_FACTOR;

describe("the media mode", () => {
  let server, browser, people;

  before(async () => {
    server = await startServer({ env: { RESUME_SECONDS: "60" } });
    browser = await launch();
    people = await Promise.all(["Ada", "Grace", "Alan", "Dorothea", "Edsger", "Barbara"].map((name) => Person.open(browser, name)));
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  const others = (person, all) => all.filter((other) => other !== person);
  const allSeeEachOther = (all, frames) => Promise.all(all.map((one) => one.sees(others(one, all), frames)));
  const isIn = (person, mode) => person.until(`is in ${mode} mode`, (mode) => window.parlor.mode() === mode, mode);
  const startWatching = (all) => Promise.all(all.map(({ page }) => page.evaluate(watch)));

  /** Waits for a change of the mode. Checks its duration from the first page to the last, and the longest gap in received audio on any page. */
  async function hasChanged(watching, all, mode, t) {
    await Promise.all(all.map((one) => isIn(one, mode)));
    await allSeeEachOther(all);
    // The former connections are closed a while after the change.
    await Promise.all(watching.map((one) => one.until("has received audio after the former connections", (ms) =>
      performance.now() - window.watched.changes.at(-1).since > ms, 8000)));
    const seen = await Promise.all(watching.map(({ page }) => page.evaluate(() => ({ ...window.watched, now: Date.now() }))));
    const times = seen.map(({ changes }) => changes.findLast((change) => change.mode === mode).at);
    const took = Math.max(...times) - Math.min(...times);
    const gaps = seen.flatMap(({ gaps }) => Object.values(gaps));
    t.diagnostic(`changed within ${took} ms; longest gap of audio ${Math.round(Math.max(...gaps))} ms`);
    assert.ok(took < CHANGE_MS, `all changed within ${took} ms`);
    assert.ok(gaps.length >= watching.length * (watching.length - 1) && Math.max(...gaps) < GAP_MS, `gaps of ${gaps.map(Math.round)} ms`);
  }

  test("four use a mesh; the fifth changes the call to the media server, without a gap", async (t) => {
    const four = people.slice(0, 4);
    for (const one of four) await one.join(`${server.url}/?${SMALL}`, "atrium");
    await allSeeEachOther(four);
    await Promise.all(four.map((one) => isIn(one, "mesh")));
    await startWatching(four);
    await people[4].join(`${server.url}/?${SMALL}`, "atrium");
    await hasChanged(four, people.slice(0, 5), "sfu", t);
  });

  test("a peer that joins later uses the mode of the room, whatever its address requests", async () => {
    await people[5].join(`${server.url}/?media=mesh&${SMALL}`, "atrium");
    await isIn(people[5], "sfu");
    await allSeeEachOther(people);
  });

  test("a message reaches all, and survives a reload", async () => {
    const [ada, grace] = people;
    await ada.sendMessage("Through the server?");
    await Promise.all(others(ada, people).map((one) => one.receivesMessage(ada, "Through the server?")));
    await grace.page.reload();
    await grace.inCall();
    await isIn(grace, "sfu");
    await grace.receivesMessage(ada, "Through the server?");
    await grace.sendMessage("Still here");
    await ada.receivesMessage(grace, "Still here");
    await allSeeEachOther(people);
  });

  test("any member may request a mesh, and the room keeps it", async (t) => {
    // Two cores cannot encode for the thirty connections of a mesh of six.
    const five = people.slice(0, 5);
    await people[5].hangUp();
    await allSeeEachOther(five);
    await startWatching(five);
    await people[3].page.keyboard.press("?");
    await people[3].page.getByLabel("Media of everyone in this room").selectOption("mesh");
    await people[3].page.keyboard.press("Escape");
    await people[3].page.getByRole("dialog").waitFor({ state: "hidden" });
    await hasChanged(five, five, "mesh", t);
    await people[1].page.reload();
    await people[1].inCall();
    await allSeeEachOther(five);
    await Promise.all(five.map((one) => isIn(one, "mesh")));
  });

  test("a room with a Socket.IO client stays a mesh, and shows the reason; chat works both ways", async () => {
    const four = people.slice(0, 4);
    await people[4].toLobby();
    const socketio = people[4];
    await socketio.join(`${server.url}/?protocol=socketio&${SMALL}`, "kitchen");
    for (const one of four) {
      await one.toLobby();
      await one.page.getByLabel("Room", { exact: true }).fill("kitchen");
      await one.enter();
    }
    const five = [socketio, ...four];
    await allSeeEachOther(five);
    await Promise.all(five.map((one) => isIn(one, "mesh")));
    await four[0].page.getByText("the call stays a mesh, because Edsger can use nothing else").waitFor();
    await four[0].sendMessage("Which way?");
    await Promise.all(others(four[0], five).map((one) => one.receivesMessage(four[0], "Which way?")));
    await socketio.sendMessage("Every way");
    await Promise.all(four.map((one) => one.receivesMessage(socketio, "Every way")));
    await Promise.all(five.slice(2).map((one) => one.hangUp()));
  });

  // The smallest protocol, and one that does not carry messages, so that data channels are used.
  for (const [first, second] of [["topic", "envelope"], ["session", "socketio"]]) {
    test(`${first} and ${second} chat with each other`, async () => {
      const [ann, ben] = await Promise.all(["Ann", "Ben"].map((name) => Person.open(browser, name)));
      const label = first === "session" ? "Session" : undefined;
      await ann.join(`${server.url}/?${SMALL}&protocol=${first}`, `chat-${first}`, label);
      await ben.join(`${server.url}/?${SMALL}&protocol=${second}`, `chat-${first}`);
      await Promise.all([ann.seesAnyPeer(), ben.seesAnyPeer()]);
      await ann.sendMessage("To you");
      await ben.receivesMessage(ann, "To you");
      await ben.sendMessage("To you as well");
      await ann.receivesMessage(ben, "To you as well");
      await Promise.all([ann.leave(), ben.leave()]);
    });
  }

  test("SFU=off is shown before joining", async () => {
    const plain = await startServer({ env: { SFU: "off" } });
    try {
      const ann = await Person.open(browser, "Ann");
      await ann.page.goto(`${plain.url}/?media=sfu`);
      await ann.openOptions();
      await ann.page.getByText("This server has no media server").waitFor();
      assert.ok(await ann.page.getByRole("radio", { name: "SFU" }).isDisabled());
      await ann.join(`${plain.url}/?media=sfu`, "attic");
      await isIn(ann, "mesh");
      assert.deepEqual(ann.consoleErrors, []);
      await ann.leave();
    } finally {
      await plain.stop();
    }
  });

  test("no page reported an error", () => {
    assert.deepEqual(people.flatMap(({ consoleErrors }) => consoleErrors), []);
  });
});

/** Runs in the page: records changes of the mode, and the longest time without an audio packet of each person. */
function watch() {
  clearInterval(window.watching);
  const watched = (window.watched = { changes: [], gaps: {} });
  // Without people who join later: they send nothing at first.
  const known = new Set(window.parlor.peers().keys());
  const last = {};
  const counts = new WeakMap();
  window.watching = setInterval(async () => {
    const mode = window.parlor.mode();
    if (watched.changes.at(-1)?.mode !== mode) watched.changes.push({ mode, at: Date.now(), since: performance.now() });
    for (const [id, connection] of window.parlor.peers()) {
      let packets = 0;
      for (const report of (await connection.getStats()).values()) {
        if (report.type === "inbound-rtp" && report.kind === "audio") packets += report.packetsReceived;
      }
      const now = performance.now();
      const isReceiving = packets > (counts.get(connection) ?? 0);
      counts.set(connection, packets);
      if (!known.has(id)) continue;
      last[id] ??= now;
      watched.gaps[id] = Math.max(watched.gaps[id] ?? 0, now - last[id]);
      if (isReceiving) last[id] = now;
    }
  }, 250);
}
