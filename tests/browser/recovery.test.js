/**
 * A network that goes away in the middle of a call, and comes back. Two calls of two at once: one of each stays, the other one drops, on
 * the Socket.IO wire and on the envelope wire.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openLine } from "./support/line.js";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";
import { relayOnly, startTurn } from "./support/turn.js";

const TURN_SECRET = "shared with the turn server";
const WIRES = ["Socket.IO", "Envelope"];
/** How long the network is away. `recovery.long.test.js` has it away for longer. */
const DROP_MS = Number(process.env.DROP_SECONDS ?? 5) * 1000;
/**
 * How long nobody says anything at first. Where the server has not noticed, it holds what it sends for `RESUME_SECONDS` from then, and
 * coming back takes a moment as well.
 */
const QUIET_MS = 2000;

/** What Chromium's console says of a network that is away: a request cannot be sent, a handshake is given up without a response. */
const EXPECTED_COMPLAINTS = /ERR_INTERNET_DISCONNECTED|WebSocket is closed before the connection is established/;

/**
 * What can happen to a network. `RESUME_SECONDS` counts from when the server has heard of it, so it must be longer than the drop where the
 * server hears at once; the default is long enough where it hears nothing.
 */
const DROPS = [
  // Chromium lets open WebSockets be. The official client closes its own all the same, and the server hears that.
  { what: "the browser is offline", isOffline: true, settings: { RESUME_SECONDS: "20" }, isNoticed: ["Socket.IO"] },
  { what: "the browser is offline, and nothing passes", isOffline: true, isSilent: true },
  // Nobody says so: it is for heartbeats to find out.
  { what: "nothing passes", isSilent: true, settings: { RESUME_SECONDS: "20", PING_INTERVAL_MS: "1500", PING_TIMEOUT_MS: "1500" }, isNoticed: ["Socket.IO"] },
];

// They mostly wait: two at a time.
describe("a network that drops", { concurrency: 2 }, () => {
  let browser;
  /** What a failed test leaves behind. */
  const open = new Set();

  before(async () => {
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    for (const { line, server } of open) await Promise.all([line.close(), server.stop()]);
  });

  /** Two calls, one over each wire, in which who drops has the line to the server. */
  async function call(settings, prepare = () => {}) {
    const server = await startServer({ env: settings });
    const line = await openLine(server.port);
    const session = { server, line, calls: [] };
    open.add(session);
    session.calls = await Promise.all(WIRES.map(async (wire) => {
      const [stays, drops] = await Promise.all(["Ada", "Grace"].map((name) => Person.arrive(browser, `${name} (${wire})`)));
      await prepare(drops);
      await stays.join(server.url, wire, wire);
      await drops.join(line.url, wire, wire);
      await Promise.all([stays.sees([drops]), drops.sees([stays])]);
      await Promise.all([stays, drops].map(({ page }) => page.evaluate(watch)));
      return { wire, stays, drops };
    }));
    return session;
  }

  async function hangUp(session) {
    const { server, line, calls } = session;
    const people = calls.flatMap(({ stays, drops }) => [stays, drops]);
    await Promise.all(people.map((person) => person.leave()));
    await eventually("nothing is left on the server", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
    await line.close();
    await server.stop();
    open.delete(session);
    const unexpected = people.flatMap(({ complaints }) => complaints).filter((one) => !EXPECTED_COMPLAINTS.test(one));
    assert.deepEqual(unexpected, [], "complaints of the pages");
  }

  const seeEachOther = ({ stays, drops }) => Promise.all([stays.sees([drops]), drops.sees([stays])]);
  const heard = (person) => person.page.evaluate(() => window.heard);
  const hears = (person, name) => person.until(`hears ${name}`, (wanted) => window.heard.find((one) => one.name === wanted), name);
  const noticesOffline = (person) =>
    person.until("notices that the server is gone", () => document.getElementById("server-state").dataset.state === "offline");
  const keptConnection = (person) =>
    person.page.evaluate(() => [...window.parlor.peers().values()].length === 1 && [...window.parlor.peers().values()][0] === window.connection);

  for (const { what, isOffline, isSilent, settings, isNoticed = [] } of DROPS) {
    test(`${what}: ${DROP_MS / 1000} seconds, and the call goes on`, async (t) => {
      const session = await call(settings);
      const { line, calls } = session;
      const dropped = Date.now();
      if (isSilent) line.fallSilent();
      await Promise.all(calls.map(async ({ drops }) => {
        if (isOffline) await drops.setOffline(true);
        await noticesOffline(drops);
      }));
      const mediaGoesOnFor = async (milliseconds) => {
        do await Promise.all(calls.map(seeEachOther)); while (Date.now() - dropped < milliseconds);
      };
      await mediaGoesOnFor(QUIET_MS);
      // What is sent to someone who is away must be there when they are back; and what they have to say themselves must come, too.
      await Promise.all(calls.flatMap(({ stays, drops }) => [stays, drops].map(({ page }) => page.evaluate(restartIce))));
      await mediaGoesOnFor(DROP_MS);

      if (isSilent) line.speak();
      const back = Date.now();
      await Promise.all(calls.map(async ({ wire, stays, drops }) => {
        if (isOffline) await drops.setOffline(false);
        const { recovered } = await hears(drops, "online");
        t.diagnostic(`${wire}: online again ${Date.now() - back} ms after ${back - dropped} ms without a network, recovered: ${recovered}`);
        assert.equal(recovered, true, wire);
        await Promise.all([stays, drops].map((person) => person.until("has restarted ICE", hasRestartedIce)));
        await seeEachOther({ stays, drops });
        assert.ok(await keptConnection(stays) && await keptConnection(drops), `${wire}: the connection between the two is the same`);
        const told = (await heard(stays)).map(({ name }) => name).filter((name) => name.startsWith("user-") || name === "room-users");
        assert.deepEqual(told, isNoticed.includes(wire) ? ["user-away", "user-back"] : [], `${wire}: what the other one was told of them`);
        assert.ok(!(await heard(drops)).some(({ name }) => name === "room-users"), `${wire}: nobody joined again`);
      }));
      await hangUp(session);
    });
  }

  test("the call is gone with the network: it finds a new way, on the same connection", async (t) => {
    const turn = await startTurn(TURN_SECRET);
    const way = await openLine(turn.port);
    t.after(() => Promise.all([turn.stop(), way.close()]));
    const settings = { TURN_URLS: `turn:127.0.0.1:${way.port}?transport=tcp`, TURN_SECRET };
    const session = await call(settings, (drops) => drops.context.addInitScript(relayOnly));
    const { line, calls } = session;
    const dropped = Date.now();
    for (const one of [line, way]) one.fallSilent();
    await Promise.all(calls.map(async ({ stays, drops }) => {
      await drops.setOffline(true);
      const mediaIsGone = () => window.connection.connectionState !== "connected";
      await Promise.all([stays, drops].map((person) => person.until("hears and sees nothing", mediaIsGone)));
    }));
    for (const one of [line, way]) one.speak();
    const back = Date.now();
    await Promise.all(calls.map(async ({ wire, stays, drops }) => {
      await drops.setOffline(false);
      const { recovered } = await hears(drops, "online");
      await seeEachOther({ stays, drops });
      t.diagnostic(`${wire}: saw each other ${Date.now() - back} ms after ${back - dropped} ms without a network, recovered: ${recovered}`);
      assert.ok(await keptConnection(stays) && await keptConnection(drops), `${wire}: the connection between the two is the same`);
      assert.ok(!(await heard(stays)).some(({ name }) => name === "user-left"), `${wire}: nobody left`);
    }));
    await hangUp(session);
  });

  test("longer than the server waits: the room is joined again, and the call goes on", async (t) => {
    const session = await call({ RESUME_SECONDS: "1" });
    const { server, line, calls } = session;
    const dropped = Date.now();
    await Promise.all(calls.map(({ drops }) => drops.setOffline(true)));
    line.cut();
    await Promise.all(calls.map(async ({ stays, drops }) => {
      await Promise.all([noticesOffline(drops), hears(stays, "user-left")]);
      await seeEachOther({ stays, drops });
    }));
    const back = Date.now();
    await Promise.all(calls.map(async ({ wire, stays, drops }) => {
      await drops.setOffline(false);
      const { recovered } = await hears(drops, "online");
      t.diagnostic(`${wire}: online again ${Date.now() - back} ms after ${back - dropped} ms without a network, recovered: ${recovered}`);
      assert.equal(recovered, false, wire);
      await hears(stays, "user-joined");
      await seeEachOther({ stays, drops });
      assert.ok(await keptConnection(stays) && await keptConnection(drops), `${wire}: the connection between the two is the same`);
      await stays.until("shows nobody as away", () => !document.querySelector(".tile-away"));
      assert.equal((await server.participants(wire)).length, 2, "participants by REST");
    }));
    await hangUp(session);
  });
});

/** Runs in the page: notes what the server tells from now on, and which connection there is. */
function watch() {
  const signaling = window.parlor.signaling();
  window.heard = [];
  for (const name of ["room-users", "user-joined", "user-left", "user-away", "user-back", "offline", "online"]) {
    signaling.addEventListener(name, ({ detail }) => window.heard.push({ name, recovered: detail.recovered }));
  }
  [window.connection] = window.parlor.peers().values();
}

/** Runs in the page. */
function restartIce() {
  window.ufragBefore = /ice-ufrag:(\S+)/.exec(window.connection.localDescription.sdp)[1];
  window.connection.restartIce();
}

/** Runs in the page. */
function hasRestartedIce() {
  const { signalingState, connectionState, localDescription } = window.connection;
  const ufrag = /ice-ufrag:(\S+)/.exec(localDescription.sdp)[1];
  return signalingState === "stable" && connectionState === "connected" && ufrag !== window.ufragBefore;
}
