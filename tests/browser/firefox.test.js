/**
 * Firefox and Chromium in one call: peer to peer over two protocols, and through the media server.
 */
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { after, afterEach, before, describe, test } from "node:test";
import { FirefoxPerson, launchFirefox } from "./support/firefox.js";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

/** Firefox offers no loopback candidates if there are others, and does not pair those with loopback: it needs media on a real interface. */
const ADDRESS = Object.values(networkInterfaces()).flat().find(({ internal, family }) => !internal && family === "IPv4")?.address;
/** Small enough for a busy machine to encode in two layers. */
const LAYERED = "camera=480x270@10";
/** The layers of that camera, by their name in the tile's menu: width in pixels, number. */
const LAYERS = { Low: [240, 1], Best: [480, 2] };

describe("Firefox and Chromium", { skip: !ADDRESS && "Firefox needs a network interface beside loopback" }, () => {
  let server, firefox, chromium;

  before(async () => {
    server = await startServer({ env: { SFU_HOST: ADDRESS, SFU_PORT: "0", RESUME_SECONDS: "60" } });
    [firefox, chromium] = await Promise.all([launchFirefox(), launch()]);
  });

  after(async () => {
    await Promise.all([firefox?.close(), chromium?.close()]);
    await server?.stop();
  });

  let users = [];
  afterEach(() => Promise.all(users.splice(0).map((person) => person.leave())));

  async function openPages() {
    users = await Promise.all([FirefoxPerson.open(firefox, "Fay"), Person.open(chromium, "Cleo")]);
    return [...users];
  }
  const seeEachOther = (people) => Promise.all(people.map((one) => one.sees(people.filter((other) => other !== one))));

  async function chat(fay, cleo) {
    await fay.sendMessage("From Firefox");
    await cleo.receivesMessage(fay, "From Firefox");
    await cleo.sendMessage("From Chromium");
    await fay.receivesMessage(cleo, "From Chromium");
  }

  async function reload(person) {
    const { id } = person;
    await person.page.reload();
    await person.inCall();
    assert.equal(person.id, id, "the user id after the reload");
  }

  async function hangUp(people, room) {
    assert.deepEqual(people.flatMap(({ consoleErrors }) => consoleErrors), []);
    users = [];
    await Promise.all(people.map((person) => person.hangUp()));
    // If the close frame of a page is lost, it is detected after two missed pings, and may then resume for a while.
    await eventually("no peer is left", () => server.participants(room), (ids) => ids.length === 0, 100_000);
  }

  /** Waits until more audio samples are decoded. */
  const receivesAudio = (person) => person.until("decodes audio", async () => {
    let samples = 0;
    for (const connection of window.parlor.peers().values()) {
      for (const report of (await connection.getStats()).values()) {
        if (report.type === "inbound-rtp" && report.kind === "audio") samples += report.totalSamplesReceived ?? 0;
      }
    }
    const isMore = samples > (window.samplesBefore ?? Infinity);
    window.samplesBefore ??= samples;
    return isMore;
  });

  for (const [protocol, first] of [["socketio", "Firefox"], ["envelope", "Chromium"]]) {
    test(`a mesh call over ${protocol}; ${first} joins first`, async () => {
      const [fay, cleo] = await openPages();
      const order = first === "Firefox" ? [fay, cleo] : [cleo, fay];
      for (const person of order) await person.join(`${server.url}/?protocol=${protocol}`, protocol);
      await seeEachOther(order);
      await Promise.all(order.map(receivesAudio));
      await chat(fay, cleo);
      await reload(fay);
      await seeEachOther(order);
      await reload(cleo);
      await seeEachOther(order);
      await chat(fay, cleo);
      await hangUp(order, protocol);
    });
  }

  test("a call through the media server", async () => {
    const people = await openPages();
    await Promise.all(people.map((person) => person.join(`${server.url}/?media=sfu`, "sfu")));
    await seeEachOther(people);
    await Promise.all(people.map(receivesAudio));
    for (const person of people) {
      await reload(person);
      await seeEachOther(people);
    }
    await hangUp(people, "sfu");
  });

  test("Firefox sends simulcast layers, and Chromium receives the requested one", async () => {
    const [fay, cleo] = await openPages();
    await fay.join(`${server.url}/?media=sfu&${LAYERED}`, "layers");
    await cleo.join(`${server.url}/?media=sfu`, "layers");
    await seeEachOther([fay, cleo]);
    const choice = cleo.tile(fay).getByLabel("Maximum quality for Fay");
    assert.deepEqual(await choice.locator("option").allTextContents(), ["Best", "Low"]);
    for (const label of ["Low", "Best", "Low"]) {
      await choice.selectOption(label);
      const [width, number] = LAYERS[label];
      await cleo.until(`receives layer ${number}`, ([id, width, number]) => {
        const tile = document.querySelector(`.tile[data-user-id="${id}"]`);
        return tile.querySelector("video").videoWidth === width && tile.querySelector(".tile-layer").textContent === `layer ${number}/2`;
      }, [fay.id, width, number]);
      await cleo.sees([fay]);
    }
    await hangUp([fay, cleo], "layers");
  });

  test("the server is empty", async () => {
    await eventually("the server is empty", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
  });
});
