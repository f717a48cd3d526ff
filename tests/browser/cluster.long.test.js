/**
 * A call of three through each load balancer of `scripts/run-cluster`, and a rolling restart of all nodes, in Chromium. Needs redis-server,
 * nginx and HAProxy.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startCluster } from "./support/cluster.js";
import { launch, Person, TIME_FACTOR } from "./support/people.js";

const ROOM = "three-nodes";
/** Maximum time without a decoded frame of a peer. Media does not pass the nodes; the bound is for a busy machine. */
const GAP_MS = 3000 * TIME_FACTOR;

/** Signals of each client in a call without media. */
const SIGNALS = 40;

/** Calls between two official clients in the page, each over some transports. Runs in the page. */
async function callOver([transports, others, room, count]) {
  const clients = [transports, others].map((own) => window.io({ transports: own, forceNew: true, reconnection: false }));
  const received = clients.map(() => []);
  await Promise.all(clients.map((client) => new Promise((done) => client.once("connect", done))));
  const [one, other] = clients;
  const met = new Promise((done) => one.once("user-joined", done));
  one.emit("join-room", { roomId: room, userId: "0" });
  await new Promise((done) => one.once("room-users", done));
  other.emit("join-room", { roomId: room, userId: "1" });
  await met;
  const complete = clients.map((client, index) => new Promise((done) => {
    client.on("ice-candidate", ({ candidate }) => {
      if (received[index].push(Number(candidate)) === count) done();
    });
  }));
  for (let number = 0; number < count; number += 1) {
    clients.forEach((client, index) => client.emit("ice-candidate", { roomId: room, targetId: `${1 - index}`, candidate: `${number}` }));
    if (number % 8 === 0) await new Promise((done) => setTimeout(done, 20));
  }
  await Promise.all(complete);
  const transport = clients.map((client) => client.io.engine.transport.name);
  for (const client of clients) client.disconnect();
  return { received, transport };
}

for (const balancer of ["nginx", "haproxy"]) describe(`a call over three nodes behind ${balancer}`, () => {
  let cluster, browser, everyone;
  const others = (person) => everyone.filter((other) => other !== person);

  before(async () => {
    cluster = await startCluster(balancer);
    await cluster.agree();
    browser = await launch();
    everyone = await Promise.all(["Ada", "Grace", "Alan"].map((name) => Person.open(browser, name)));
  });

  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  test("official clients call each other over polling and over WebSocket", async () => {
    const page = await browser.newPage();
    await page.goto(`${cluster.url}/docs/`);
    await page.addScriptTag({ url: `${cluster.url}/socket.io/socket.io.js` });
    const expected = Array.from({ length: SIGNALS }, (_, number) => number);
    for (const [one, other] of [["polling", "polling"], ["polling", "websocket"], ["websocket", "websocket"]]) {
      const { received, transport } = await page.evaluate(callOver, [[one], [other], `${one}-${other}`, SIGNALS]);
      assert.deepEqual(received, [expected, expected]);
      assert.deepEqual(transport, [one, other]);
    }
    await page.close();
  });

  test("each joins through the balancer, over two protocols, and sees both others", async (t) => {
    const protocols = [undefined, "Socket.IO", undefined];
    for (const [index, person] of everyone.entries()) await person.join(cluster.url, ROOM, protocols[index]);
    await Promise.all(everyone.map((person) => person.sees(others(person))));
    t.diagnostic(`connections of the nodes: ${await cluster.connections()}`);
  });

  test("a rolling restart does not interrupt media", async (t) => {
    let isOver = false;
    const gaps = [];
    const watching = Promise.all(
      everyone.map(async (person) => {
        let longest = 0;
        while (!isOver) {
          const began = Date.now();
          await person.sees(others(person), 1);
          longest = Math.max(longest, Date.now() - began);
        }
        gaps.push(longest);
      }),
    );
    for (const number of [1, 2, 3]) {
      await cluster.restart(number);
      await delay(1000);
    }
    isOver = true;
    await watching;
    t.diagnostic(`longest time without a frame, of each page: ${gaps} ms`);
    assert(Math.max(...gaps) < GAP_MS, `${gaps}`);
  });

  test("messages and video are delivered after the restart", async () => {
    const [ada, grace] = everyone;
    await ada.sendMessage("Still here?");
    await Promise.all(others(ada).map((person) => person.receivesMessage(ada, "Still here?")));
    await grace.sendMessage("Yes");
    await Promise.all(others(grace).map((person) => person.receivesMessage(grace, "Yes")));
    await Promise.all(everyone.map((person) => person.sees(others(person))));
  });
});
