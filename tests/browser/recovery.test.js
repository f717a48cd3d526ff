/**
 * The network is lost during a call, and returns. Two calls of two at once, over Socket.IO and over the envelope protocol; in each, one peer
 * stays connected and the other loses the network.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openProxy } from "./support/tcp-proxy.js";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";
import { relayOnly, startTurn } from "./support/turn.js";

const TURN_SECRET = "shared with the turn server";
const PROTOCOLS = ["Socket.IO", "Envelope"];
/** Duration of the network loss. `recovery.long.test.js` has a longer one. */
const DROP_MS = Number(process.env.DROP_SECONDS ?? 5) * 1000;
/**
 * Time without signals at the beginning of the loss. If the server has not noticed the loss, it keeps frames for `RESUME_SECONDS` from the first
 * that it sends, and the resumption takes a moment as well.
 */
const QUIET_MS = 2000;

/** Errors of Chromium's console without a network: a request cannot be sent, a handshake is aborted without a response. */
const EXPECTED_ERRORS = /ERR_INTERNET_DISCONNECTED|WebSocket is closed before the connection is established/;

/**
 * Kinds of network loss. `RESUME_SECONDS` counts from the time at which the server notices it: it must be longer than a loss that the server
 * notices at once; the default is long enough if the server does not notice it.
 */
const DROPS = [
  // Chromium keeps open WebSockets. The official Socket.IO client closes its own, which the server notices.
  { name: "the browser is offline", isOffline: true, settings: { RESUME_SECONDS: "20" }, isNoticed: ["Socket.IO"] },
  { name: "the browser is offline, and nothing is forwarded", isOffline: true, isBlocked: true },
  // Only heartbeats detect it.
  { name: "nothing is forwarded", isBlocked: true, settings: { RESUME_SECONDS: "20", PING_INTERVAL_MS: "1500", PING_TIMEOUT_MS: "1500" }, isNoticed: ["Socket.IO"] },
];

// The tests mostly wait: two at a time.
describe("network loss", { concurrency: 2 }, () => {
  let browser;
  /** Resources of tests that have not finished. */
  const open = new Set();

  before(async () => {
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    for (const { proxy, server } of open) await Promise.all([proxy.close(), server.stop()]);
  });

  /** Starts two calls, one over each protocol. The peers that lose the network connect through the proxy. */
  async function call(settings, prepare = () => {}) {
    const server = await startServer({ env: settings });
    const proxy = await openProxy(server.port);
    const setup = { server, proxy, calls: [] };
    open.add(setup);
    setup.calls = await Promise.all(PROTOCOLS.map(async (protocol) => {
      const [stays, drops] = await Promise.all(["Ada", "Grace"].map((name) => Person.open(browser, `${name} (${protocol})`)));
      await prepare(drops);
      await stays.join(server.url, protocol, protocol);
      await drops.join(proxy.url, protocol, protocol);
      await Promise.all([stays.sees([drops]), drops.sees([stays])]);
      await Promise.all([stays, drops].map(({ page }) => page.evaluate(watch)));
      return { protocol, stays, drops };
    }));
    return setup;
  }

  async function hangUp(setup) {
    const { server, proxy, calls } = setup;
    const people = calls.flatMap(({ stays, drops }) => [stays, drops]);
    await Promise.all(people.map((person) => person.leave()));
    await eventually("the server is empty", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
    await proxy.close();
    await server.stop();
    open.delete(setup);
    const unexpected = people.flatMap(({ consoleErrors }) => consoleErrors).filter((one) => !EXPECTED_ERRORS.test(one));
    assert.deepEqual(unexpected, [], "errors of the pages");
  }

  const seeEachOther = ({ stays, drops }) => Promise.all([stays.sees([drops]), drops.sees([stays])]);
  const receivedBy = (person) => person.page.evaluate(() => window.received);
  const receives = (person, name) => person.until(`receives ${name}`, (wanted) => window.received.find((one) => one.name === wanted), name);
  const noticesOffline = (person) =>
    person.until("notices that the server is unavailable", () => document.getElementById("server-state").dataset.state === "offline");
  const keptConnection = (person) =>
    person.page.evaluate(() => [...window.parlor.peers().values()].length === 1 && [...window.parlor.peers().values()][0] === window.connection);

  for (const { name, isOffline, isBlocked, settings, isNoticed = [] } of DROPS) {
    test(`${name}: the call continues for ${DROP_MS / 1000} seconds, and is resumed`, async (t) => {
      const setup = await call(settings);
      const { proxy, calls } = setup;
      const dropped = Date.now();
      if (isBlocked) proxy.block();
      await Promise.all(calls.map(async ({ drops }) => {
        if (isOffline) await drops.setOffline(true);
        await noticesOffline(drops);
      }));
      const mediaContinuesFor = async (milliseconds) => {
        do await Promise.all(calls.map(seeEachOther)); while (Date.now() - dropped < milliseconds);
      };
      await mediaContinuesFor(QUIET_MS);
      // Signals to the peer that is away, and signals that it sends itself, must be delivered after the resumption.
      await Promise.all(calls.flatMap(({ stays, drops }) => [stays, drops].map(({ page }) => page.evaluate(restartIce))));
      await mediaContinuesFor(DROP_MS);

      if (isBlocked) proxy.unblock();
      const back = Date.now();
      await Promise.all(calls.map(async ({ protocol, stays, drops }) => {
        if (isOffline) await drops.setOffline(false);
        const { recovered } = await receives(drops, "online");
        t.diagnostic(`${protocol}: resumed ${Date.now() - back} ms after ${back - dropped} ms without a network, recovered: ${recovered}`);
        assert.equal(recovered, true, protocol);
        await Promise.all([stays, drops].map((person) => person.until("has restarted ICE", hasRestartedIce)));
        await seeEachOther({ stays, drops });
        assert.ok(await keptConnection(stays) && await keptConnection(drops), `${protocol}: the peer connection is the same`);
        const presence = (await receivedBy(stays)).map(({ name }) => name).filter((name) => name.startsWith("user-") || name === "room-users");
        assert.deepEqual(presence, isNoticed.includes(protocol) ? ["user-away", "user-back"] : [], `${protocol}: presence events of the other peer`);
        assert.ok(!(await receivedBy(drops)).some(({ name }) => name === "room-users"), `${protocol}: no peer has rejoined`);
      }));
      await hangUp(setup);
    });
  }

  test("media is lost with the network: the peer connection recovers", async (t) => {
    const turn = await startTurn(TURN_SECRET);
    const turnProxy = await openProxy(turn.port);
    t.after(() => Promise.all([turn.stop(), turnProxy.close()]));
    const settings = { TURN_URLS: `turn:127.0.0.1:${turnProxy.port}?transport=tcp`, TURN_SECRET };
    const setup = await call(settings, (drops) => drops.context.addInitScript(relayOnly));
    const { proxy, calls } = setup;
    const dropped = Date.now();
    for (const one of [proxy, turnProxy]) one.block();
    await Promise.all(calls.map(async ({ stays, drops }) => {
      await drops.setOffline(true);
      const mediaIsGone = () => window.connection.connectionState !== "connected";
      await Promise.all([stays, drops].map((person) => person.until("has lost the media", mediaIsGone)));
    }));
    for (const one of [proxy, turnProxy]) one.unblock();
    const back = Date.now();
    await Promise.all(calls.map(async ({ protocol, stays, drops }) => {
      await drops.setOffline(false);
      const { recovered } = await receives(drops, "online");
      await seeEachOther({ stays, drops });
      t.diagnostic(`${protocol}: video both ways ${Date.now() - back} ms after ${back - dropped} ms without a network, recovered: ${recovered}`);
      assert.ok(await keptConnection(stays) && await keptConnection(drops), `${protocol}: the peer connection is the same`);
      assert.ok(!(await receivedBy(stays)).some(({ name }) => name === "user-left"), `${protocol}: no peer has left`);
    }));
    await hangUp(setup);
  });

  test("a loss longer than RESUME_SECONDS: the room is rejoined, and the call continues", async (t) => {
    const setup = await call({ RESUME_SECONDS: "1" });
    const { server, proxy, calls } = setup;
    const dropped = Date.now();
    await Promise.all(calls.map(({ drops }) => drops.setOffline(true)));
    proxy.reset();
    await Promise.all(calls.map(async ({ stays, drops }) => {
      await Promise.all([noticesOffline(drops), receives(stays, "user-left")]);
      await seeEachOther({ stays, drops });
    }));
    const back = Date.now();
    await Promise.all(calls.map(async ({ protocol, stays, drops }) => {
      await drops.setOffline(false);
      const { recovered } = await receives(drops, "online");
      t.diagnostic(`${protocol}: resumed ${Date.now() - back} ms after ${back - dropped} ms without a network, recovered: ${recovered}`);
      assert.equal(recovered, false, protocol);
      await receives(stays, "user-joined");
      await seeEachOther({ stays, drops });
      assert.ok(await keptConnection(stays) && await keptConnection(drops), `${protocol}: the peer connection is the same`);
      await stays.until("shows no peer as away", () => !document.querySelector(".tile-away"));
      assert.equal((await server.participants(protocol)).length, 2, "participants by REST");
    }));
    await hangUp(setup);
  });
});

/** Runs in the page: records the events of the signaling from now on, and the peer connection. */
function watch() {
  const signaling = window.parlor.signaling();
  window.received = [];
  for (const name of ["room-users", "user-joined", "user-left", "user-away", "user-back", "offline", "online"]) {
    signaling.addEventListener(name, ({ detail }) => window.received.push({ name, recovered: detail.recovered }));
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
