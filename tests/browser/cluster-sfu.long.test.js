/**
 * A call of three through the media server of one of three nodes, whichever node a page is connected to, and a rolling restart of all
 * nodes under it, in a real Chromium. Needs redis-server and nginx.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startCluster } from "./support/cluster.js";
import { launch, Person, TIME_FACTOR } from "./support/people.js";

const ROOM = "three-nodes-sfu";
/** Within this time after `transport:failed`, frames of all others are decoded again. */
const BACK_MS = 5000 * TIME_FACTOR;

describe("a call over the media server of three nodes", () => {
  let cluster, browser, everyone;
  const others = (person) => everyone.filter((other) => other !== person);
  const allSeeEachOther = () => Promise.all(everyone.map((person) => person.sees(others(person))));

  /** Records when the transports of a page fail. @param {Person} person */
  const recordFailures = (person) => {
    person.failures = [];
    person.page.on("websocket", (socket) =>
      socket.on("framereceived", ({ payload }) => {
        if (String(payload).includes('"transport:failed"')) person.failures.push(Date.now());
      }));
  };

  before(async () => {
    cluster = await startCluster();
    await cluster.agree();
    browser = await launch();
    everyone = await Promise.all(["Ada", "Grace", "Alan"].map((name) => Person.open(browser, name)));
    everyone.forEach(recordFailures);
  });

  after(async () => {
    await browser?.close();
    await cluster?.stop();
  });

  test("each joins through the balancer and decodes both others", async (t) => {
    for (const person of everyone) await person.join(`${cluster.url}/?media=sfu&camera=320x180@5`, ROOM);
    await allSeeEachOther();
    const transports = await cluster.transports();
    t.diagnostic(`connections of the nodes: ${await cluster.connections()}, media transports: ${transports}`);
    assert.deepEqual(transports.toSorted(), [0, 0, 6], "the media is on one node");
  });

  test("after each restart of a node, frames of everyone are back in time", async (t) => {
    let isOver = false;
    const times = [];
    /** When this page has decoded a frame of both others, again and again. */
    const watch = async (person) => {
      const seen = [Date.now()];
      while (!isOver) {
        await person.sees(others(person), 1);
        seen.push(Date.now());
      }
      // The longest time without a frame of someone, of those in which the media node ended.
      for (const failure of person.failures) {
        const index = seen.findIndex((time) => time >= failure);
        const gaps = seen.slice(index, index + 8).map((time, offset) => time - Math.max(seen[index + offset - 1], failure));
        times.push(Math.max(...gaps));
      }
    };
    const watching = Promise.all(everyone.map(watch));
    for (const number of [1, 2, 3]) {
      await cluster.restart(number);
      await delay(2000);
    }
    await allSeeEachOther();
    isOver = true;
    await watching;
    t.diagnostic(`frames are back after ${times} ms; failures received: ${everyone.map((person) => person.failures.length)}`);
    assert(everyone.every((person) => person.failures.length > 0), "the media node of each page was restarted");
    assert(Math.max(...times) < BACK_MS, `${times}`);
  });

  test("and the media is still that of the server", async () => {
    for (const person of everyone) assert.match(await person.page.locator("#server-state").textContent(), /media by SFU/);
    await allSeeEachOther();
    const transports = await cluster.transports();
    assert.deepEqual(transports.toSorted(), [0, 0, 6], "on one node");
  });
});
