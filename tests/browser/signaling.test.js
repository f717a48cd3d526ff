/**
 * The protocols of the client module in one page, without a call: reconnection, resumption and identity.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { openProxy } from "./support/tcp-proxy.js";
import { launch, Person } from "./support/people.js";
import { eventually, freePort, startServer } from "./support/server.js";
import { JWT_SECRET, token } from "./support/token.js";

const PROTOCOLS = ["socketio", "envelope", "topic", "session"];
/** Minimum and maximum delays before the first reconnection attempts, in milliseconds. */
const DELAYS = {
  socketio: [[250, 750], [500, 1500], [1000, 3000]],
  envelope: [[250, 500], [500, 1000], [1000, 2000]],
};
/** Tolerance for a busy machine, in milliseconds. */
const SLACK_MS = 3000;
const CLIENTS = 8;
/** Minimum time between the first and the last of them, in milliseconds. */
const SPREAD_MS = 20;

describe("a single protocol", () => {
  let server, browser, person, page;

  before(async () => {
    browser = await launch();
    person = await Person.open(browser, "A page");
    page = person.page;
    await page.addInitScript(recordConnections);
  });

  after(() => browser?.close());

  afterEach(async () => {
    await page.goto("about:blank");
    await server?.stop();
  });

  async function start(settings = {}) {
    server = await startServer({ port: await freePort(), env: settings });
    // Only for its origin: the demo itself is not loaded.
    await page.goto(`${server.url}/favicon.svg`);
    await page.evaluate(load);
  }

  /** Waits until each joined client has received an event; returns the details in their order. */
  const received = (name) =>
    person.until(`all receive ${name}`, (wanted) => {
      const details = window.joined.map(({ events }) => events.find((event) => event.name === wanted)?.detail);
      return details.every(Boolean) && details;
    }, name);

  test("clients are notified of a graceful shutdown, and reconnect", async () => {
    await start();
    for (const protocol of PROTOCOLS) await page.evaluate((which) => window.join(which, { room: which, userId: "ada" }), protocol);
    await server.stop("SIGTERM");
    const codes = (await received("offline")).map(({ code }) => code);
    assert.deepEqual(codes, PROTOCOLS.map(() => "SHUTTING_DOWN"));
    server = await startServer({ port: server.port });
    const recovered = (await received("online")).map((detail) => detail.recovered);
    assert.deepEqual(recovered, PROTOCOLS.map(() => false));
    for (const protocol of PROTOCOLS) assert.equal((await server.participants(protocol)).length, 1, protocol);
  });

  test("Socket.IO: a client that the server disconnects reconnects", async () => {
    let disconnect;
    await page.routeWebSocket(/socket\.io/, (near) => {
      const far = near.connectToServer();
      near.onMessage((message) => far.send(message));
      far.onMessage((message) => near.send(message));
      // The packet after which the official client does not reconnect.
      disconnect = () => near.send("41");
    });
    await start();
    await page.evaluate(() => window.join("socketio", { room: "r", userId: "ada" }));
    disconnect();
    assert.equal((await received("offline"))[0].reason, "io server disconnect");
    await received("online");
    assert.deepEqual(await server.participants("r"), ["ada"]);
    await page.unrouteAll();
  });

  for (const [protocol, bounds] of Object.entries(DELAYS)) {
    test(`${protocol}: delays grow, and differ between clients`, async (t) => {
      await start();
      await page.evaluate((which) => window.join(which, { room: "r", userId: "ada" }), protocol);
      await server.stop("SIGKILL");
      const { at } = (await received("offline"))[0];
      const attempts = await attempted(bounds.length);
      const delays = attempts.map((time, index) => Math.round(time - (attempts[index - 1] ?? at)));
      t.diagnostic(`delays: ${delays.join(", ")} ms`);
      delays.forEach((delay, index) => {
        const [least, most] = bounds[index];
        assert.ok(delay >= least && delay <= most + SLACK_MS, `${delay} ms before attempt ${index + 1}, not ${least} to ${most}`);
      });

      server = await startServer({ port: server.port });
      await received("online");
      await page.evaluate(([which, count]) => Promise.all(Array.from({ length: count }, (_, index) =>
        window.join(which, { room: "many", userId: `member-${index}` }))), [protocol, CLIENTS]);
      await page.evaluate(() => window.clearEvents());
      await server.stop("SIGKILL");
      const first = await attempted(CLIENTS);
      t.diagnostic(`many clients: ${first.map((time) => Math.round(time - first[0])).join(", ")} ms after the first`);
      assert.ok(first.at(-1) - first[0] > SPREAD_MS, "all reconnected at the same time");
    });
  }

  /** Waits for a number of connection attempts, and returns their times, on the page's clock. */
  const attempted = (count) =>
    person.until(`has made ${count} attempts`, (wanted) => window.attempts.length >= wanted && window.attempts.slice(0, wanted), count);

  test("envelope: peers cannot set the fields of the server", async (t) => {
    await start();
    const proxy = await openProxy(server.port);
    t.after(() => proxy.close());
    await page.goto(`${proxy.url}/favicon.svg`);
    await page.evaluate(load);
    await page.evaluate(() => window.join("envelope", { room: "r", userId: "bob" }));
    const forged = { anonymous: true, expected: true, calling: true, id: "bob", socketId: "forged", joinedAt: "forged", roomId: "forged", name: "Eve" };
    // Not through the proxy: only bob's connection is reset.
    await page.evaluate(([url, metadata]) => new Promise((resolve) => {
      const eve = new WebSocket(`${url.replace("http", "ws")}/ws`);
      const send = (type, payload) => eve.send(JSON.stringify({ type, payload }));
      eve.onopen = () => send("room:join", { roomId: "r", user: { id: "eve" }, metadata });
      eve.onmessage = ({ data }) => {
        const { type, payload } = JSON.parse(data);
        if (type !== "room:state") return;
        for (const resumeToken of ["invalid", payload.resumeToken]) {
          send("sdp:offer", { targetUserId: "bob", sdp: "v=0", resumeToken, user: { userId: "forged" } });
        }
        resolve();
      };
    }), [server.url, forged]);
    const user = (await received("user-joined"))[0];
    assert.deepEqual([user.id, user.userId, user.roomId, user.name], ["eve", "eve", "r", "Eve"]);
    for (const field of ["anonymous", "expected", "calling", "socketId"]) assert.equal(user[field], undefined, field);
    assert.notEqual(user.joinedAt, "forged");
    await person.until("both offers are received", () => window.joined[0].events.filter(({ name }) => name === "offer").length === 2);
    const offer = (await received("offer"))[0];
    assert.deepEqual([offer.from, offer.user], ["eve", undefined]);
    proxy.reset();
    assert.equal((await received("online"))[0].recovered, true, "the client used the server's resume token");
    assert.deepEqual((await server.participants("r")).sort(), ["bob", "eve"]);
  });

  test("a renewed token keeps a session after the first has expired", async () => {
    await start({ JWT_SECRET });
    for (const protocol of ["socketio", "envelope"]) {
      for (const sub of ["expiring", "renewed"]) {
        const options = { room: protocol, userId: sub, token: token(sub, 2) };
        await page.evaluate(([which, given]) => window.join(which, given), [protocol, options]);
      }
    }
    const renewals = ["expiring", "renewed"].map((sub) => token(sub));
    const refused = await page.evaluate(([expiring]) => window.joined[1].signaling.renew(expiring).then(() => "", ({ code }) => code), renewals);
    assert.equal(refused, "FORBIDDEN", "the token of another subject");
    await page.evaluate(([, renewed]) => Promise.all([1, 3].map((index) => window.joined[index].signaling.renew(renewed))), renewals);
    await person.until("the sessions with the first token have ended", () => [0, 2].every((index) => window.joined[index].events.some(({ name }) => name === "ended")));
    const codes = await page.evaluate(() => [0, 2].map((index) => window.joined[index].events.find(({ name }) => name === "ended").detail.code));
    assert.deepEqual(codes, ["UNAUTHORIZED", "UNAUTHORIZED"]);
    assert.deepEqual(await page.evaluate(() => window.joined.map(({ signaling }) => signaling.online)), [false, true, false, true]);
    for (const protocol of ["socketio", "envelope"]) {
      await eventually(`the members of ${protocol}`, () => server.participants(protocol), (ids) => ids.join() === "renewed");
    }
  });
});

/** Runs before the scripts of the page: records the times of connection attempts. */
function recordConnections() {
  window.attempts = [];
  window.WebSocket = class extends window.WebSocket {
    constructor(...args) {
      super(...args);
      window.attempts.push(performance.now());
    }
  };
}

/** Runs in the page: loads the protocols, and records the events of the clients that join over them. */
async function load() {
  const protocols = {
    socketio: (await import("/parlor/parlor.js")).SocketIoSignaling,
    envelope: (await import("/parlor/signaling-envelope.js")).EnvelopeSignaling,
    topic: (await import("/parlor/signaling-topic.js")).TopicSignaling,
    session: (await import("/parlor/signaling-session.js")).SessionSignaling,
  };
  window.joined = [];
  window.clearEvents = () => {
    window.attempts = [];
    for (const { events } of window.joined) events.length = 0;
  };
  window.join = async (protocol, { room, userId, token }) => {
    const signaling = new protocols[protocol]({ userId, name: userId, token });
    const events = [];
    for (const name of ["offline", "online", "ended", "user-joined", "offer"]) {
      signaling.addEventListener(name, ({ detail }) => events.push({ name, detail: { at: performance.now(), code: detail.code, ...detail } }));
    }
    window.joined.push({ signaling, events });
    await signaling.join(room);
    window.attempts = [];
  };
}
