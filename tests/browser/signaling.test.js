/**
 * The protocols of the client module in one page, without a call: reconnection, resumption and identity.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { openLine } from "./support/line.js";
import { launch, Person } from "./support/people.js";
import { eventually, freePort, startServer } from "./support/server.js";
import { JWT_SECRET, token } from "./support/token.js";

const PROTOCOLS = ["socketio", "envelope", "topic", "session"];
/** The pauses before the first attempts to come back: at least, and at most, in milliseconds. */
const PAUSES = {
  socketio: [[250, 750], [500, 1500], [1000, 3000]],
  envelope: [[250, 500], [500, 1000], [1000, 2000]],
};
/** How late a busy machine may be, in milliseconds. */
const SLACK_MS = 3000;
const CLIENTS = 8;
/** How far apart they must be at least, in milliseconds. */
const SPREAD_MS = 20;

describe("a single protocol", () => {
  let server, browser, person, page;

  before(async () => {
    browser = await launch();
    person = await Person.arrive(browser, "A page");
    page = person.page;
    await page.addInitScript(noteConnections);
  });

  after(() => browser?.close());

  afterEach(async () => {
    await page.goto("about:blank");
    await server?.stop();
  });

  async function start(settings = {}) {
    server = await startServer({ port: await freePort(), env: settings });
    // For its origin alone: the page itself asks for no camera and makes no call here.
    await page.goto(`${server.url}/favicon.svg`);
    await page.evaluate(load);
  }

  /** Waits until each joined client has received an event; returns the details in their order. */
  const received = (name) =>
    person.until(`all receive ${name}`, (wanted) => {
      const details = window.joined.map(({ events }) => events.find((event) => event.name === wanted)?.detail);
      return details.every(Boolean) && details;
    }, name);

  test("a server that goes says so, and is come back to", async () => {
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

  test("Socket.IO: a server that disconnects one is come back to", async () => {
    let disconnect;
    await page.routeWebSocket(/socket\.io/, (near) => {
      const far = near.connectToServer();
      near.onMessage((message) => far.send(message));
      far.onMessage((message) => near.send(message));
      // The packet after which the official client stays away.
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

  for (const [protocol, bounds] of Object.entries(PAUSES)) {
    test(`${protocol}: delays grow, and differ between clients`, async (t) => {
      await start();
      await page.evaluate((which) => window.join(which, { room: "r", userId: "ada" }), protocol);
      await server.stop("SIGKILL");
      const { at } = (await received("offline"))[0];
      const attempts = await attempted(bounds.length);
      const pauses = attempts.map((time, index) => Math.round(time - (attempts[index - 1] ?? at)));
      t.diagnostic(`pauses: ${pauses.join(", ")} ms`);
      pauses.forEach((pause, index) => {
        const [least, most] = bounds[index];
        assert.ok(pause >= least && pause <= most + SLACK_MS, `${pause} ms before attempt ${index + 1}, not ${least} to ${most}`);
      });

      server = await startServer({ port: server.port });
      await received("online");
      await page.evaluate(([which, count]) => Promise.all(Array.from({ length: count }, (_, index) =>
        window.join(which, { room: "many", userId: `member-${index}` }))), [protocol, CLIENTS]);
      await page.evaluate(() => window.forget());
      await server.stop("SIGKILL");
      const first = await attempted(CLIENTS);
      t.diagnostic(`many clients: ${first.map((time) => Math.round(time - first[0])).join(", ")} ms after the first`);
      assert.ok(first.at(-1) - first[0] > SPREAD_MS, "all came in the same instant");
    });
  }

  /** When connections were begun, on the page's clock, once there are so many. */
  const attempted = (count) =>
    person.until(`has tried ${count} times`, (wanted) => window.attempts.length >= wanted && window.attempts.slice(0, wanted), count);

  test("envelope: peers cannot write the fields that are the server's", async (t) => {
    await start();
    const line = await openLine(server.port);
    t.after(() => line.close());
    await page.goto(`${line.url}/favicon.svg`);
    await page.evaluate(load);
    await page.evaluate(() => window.join("envelope", { room: "r", userId: "bob" }));
    const forged = { anonymous: true, expected: true, calling: true, id: "bob", socketId: "forged", joinedAt: "forged", roomId: "forged", name: "Eve" };
    // Not over the line: only bob's connection is to break.
    await page.evaluate(([url, metadata]) => new Promise((resolve) => {
      const eve = new WebSocket(`${url.replace("http", "ws")}/ws`);
      const say = (type, payload) => eve.send(JSON.stringify({ type, payload }));
      eve.onopen = () => say("room:join", { roomId: "r", user: { id: "eve" }, metadata });
      eve.onmessage = ({ data }) => {
        const { type, payload } = JSON.parse(data);
        if (type !== "room:state") return;
        for (const resumeToken of ["nonsense", payload.resumeToken]) {
          say("sdp:offer", { targetUserId: "bob", sdp: "v=0", resumeToken, user: { userId: "forged" } });
        }
        resolve();
      };
    }), [server.url, forged]);
    const user = (await received("user-joined"))[0];
    assert.deepEqual([user.id, user.userId, user.roomId, user.name], ["eve", "eve", "r", "Eve"]);
    for (const field of ["anonymous", "expected", "calling", "socketId"]) assert.equal(user[field], undefined, field);
    assert.notEqual(user.joinedAt, "forged");
    await person.until("both offers have come", () => window.joined[0].events.filter(({ name }) => name === "offer").length === 2);
    const offer = (await received("offer"))[0];
    assert.deepEqual([offer.from, offer.user], ["eve", undefined]);
    line.cut();
    assert.equal((await received("online"))[0].recovered, true, "the client used the server's resume token");
    assert.deepEqual((await server.participants("r")).sort(), ["bob", "eve"]);
  });

  test("a newer token keeps one in the room when the first is over", async () => {
    await start({ JWT_SECRET });
    for (const protocol of ["socketio", "envelope"]) {
      for (const sub of ["hasty", "patient"]) {
        const options = { room: protocol, userId: sub, token: token(sub, 2) };
        await page.evaluate(([which, given]) => window.join(which, given), [protocol, options]);
      }
    }
    const renewals = ["hasty", "patient"].map((sub) => token(sub));
    const refused = await page.evaluate(([hasty]) => window.joined[1].signaling.renew(hasty).then(() => "", ({ code }) => code), renewals);
    assert.equal(refused, "FORBIDDEN", "the token of another subject");
    await page.evaluate(([, patient]) => Promise.all([1, 3].map((index) => window.joined[index].signaling.renew(patient))), renewals);
    await person.until("those who kept the first are out", () => [0, 2].every((index) => window.joined[index].events.some(({ name }) => name === "ended")));
    const codes = await page.evaluate(() => [0, 2].map((index) => window.joined[index].events.find(({ name }) => name === "ended").detail.code));
    assert.deepEqual(codes, ["UNAUTHORIZED", "UNAUTHORIZED"]);
    assert.deepEqual(await page.evaluate(() => window.joined.map(({ signaling }) => signaling.online)), [false, true, false, true]);
    for (const protocol of ["socketio", "envelope"]) {
      await eventually(`who is in ${protocol}`, () => server.participants(protocol), (ids) => ids.join() === "patient");
    }
  });
});

/** Runs before the page's own scripts: when connections are begun. */
function noteConnections() {
  window.attempts = [];
  window.WebSocket = class extends window.WebSocket {
    constructor(...given) {
      super(...given);
      window.attempts.push(performance.now());
    }
  };
}

/** Runs in the page: the protocols, and the events of the clients that joined over them. */
async function load() {
  const protocols = {
    socketio: (await import("/parlor/parlor.js")).SocketIoSignaling,
    envelope: (await import("/parlor/signaling-envelope.js")).EnvelopeSignaling,
    topic: (await import("/parlor/signaling-topic.js")).TopicSignaling,
    session: (await import("/parlor/signaling-session.js")).SessionSignaling,
  };
  window.joined = [];
  window.forget = () => {
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
