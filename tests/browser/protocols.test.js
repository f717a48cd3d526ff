/**
 * The same call over every protocol and between protocols: two pages, each with the protocol chosen in the lobby, join one room.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openLine } from "./support/line.js";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

/**
 * The order of joining matters on the session protocol, where signals are queued for the other peer. Then, what
 * happens to whom in the middle of the call.
 */
const PAIRS = [
  ["Topic", "Topic", "Grace reloads"],
  ["Topic", "Socket.IO", "Ada reloads", "Ada's connection is cut"],
  ["Envelope", "Envelope", "Grace reloads", "Ada's connection is cut"],
  ["Socket.IO", "Envelope", "Ada reloads"],
  ["Envelope", "Topic", "Ada reloads"],
  ["Session", "Session", "Grace reloads", "Ada's connection is cut"],
  ["Session", "Socket.IO", "Ada reloads"],
  ["Socket.IO", "Session", "Grace reloads"],
  ["Session", "Envelope", "Grace reloads"],
  ["Topic", "Session", "Ada reloads"],
];

describe("calls between all pairs of protocols", () => {
  let server, line, browser, ada, grace;

  before(async () => {
    server = await startServer();
    line = await openLine(server.port);
    browser = await launch();
    [ada, grace] = await Promise.all(["Ada", "Grace"].map((name) => Person.arrive(browser, name)));
  });

  after(async () => {
    await browser?.close();
    await line?.close();
    await server?.stop();
  });

  const seeEachOther = () => Promise.all([ada.seesOne(), grace.seesOne()]);
  const readsName = (person, other) =>
    person.until(`reads the name of ${other.name}`, (name) =>
      [...document.querySelectorAll(".tile-name")].some(({ textContent }) => textContent === name), other.name);
  const isAlone = (person) =>
    person.until("is alone, or is notified that the call has ended", () =>
      !document.getElementById("farewell").hidden || !document.querySelector(".tile:not(.tile-invite, .tile-self)"));

  const happenings = {
    "Ada reloads": () => reload(ada),
    "Grace reloads": () => reload(grace),
    async "Ada's connection is cut"(protocol) {
      await ada.page.evaluate(() => (window.connectionBefore = [...window.parlor.peers().values()][0]));
      await ada.page.evaluate(() => {
        window.states = [];
        const place = document.getElementById("server-state");
        new MutationObserver(() => window.states.push(place.dataset.state)).observe(place, { attributeFilter: ["data-state"] });
      });
      line.cut();
      await ada.until("noticed, and is back", () => window.states[0] === "offline" && window.states.at(-1) === "online");
      await seeEachOther();
      // Under a new id, the client is a new peer.
      const same = await ada.page.evaluate(() => window.connectionBefore === [...window.parlor.peers().values()][0]);
      assert.equal(same, protocol !== "Topic", "the connection between the two was kept");
    },
  };
  async function reload(person) {
    await person.page.reload();
    await person.inCall();
    await seeEachOther();
  }

  for (const [first, second, ...what] of PAIRS) {
    test(`${first} and ${second}`, async (t) => {
      const room = `${first}-${second}`.toLowerCase();
      const began = Date.now();
      await Promise.all([ada.prepare(line.url, room, first), grace.prepare(server.url, room, second)]);
      await ada.enter();
      await grace.enter();
      await seeEachOther();
      t.diagnostic(`saw each other after ${Date.now() - began} ms`);
      assert.equal((await server.participants(room)).length, 2, "participants by REST");
      await Promise.all([readsName(ada, grace), readsName(grace, ada)]);
      assert.match(await ada.page.locator("#server-state").textContent(), new RegExp(`^Connected over ${first}`));

      await ada.say(`From ${first}`);
      await grace.reads(ada, `From ${first}`);
      await grace.say(`From ${second}`);
      await ada.reads(grace, `From ${second}`);

      for (const happening of what) {
        const happened = Date.now();
        await happenings[happening](first);
        t.diagnostic(`${happening}, and they saw each other again after ${Date.now() - happened} ms`);
      }
      assert.equal((await server.participants(room)).length, 2, "participants by REST");

      await grace.page.getByRole("button", { name: "Leave the call" }).click();
      await isAlone(ada);
      if (first === second && first === "Session") await ada.page.getByText("The other one hung up").waitFor();
      else await ada.page.goto("about:blank");
      await eventually("no peer is left in the room", () => server.participants(room), (ids) => ids.length === 0);
    });
  }

  test("the protocol is in the URL, and in a link only if the call is for two", async () => {
    await ada.page.goto(`${server.url}/?room=salon&wire=envelope`);
    const chosen = () => document.getElementById("wire-chosen").textContent;
    await ada.until("the lobby has read the URL", (read) => document.getElementById("wire-chosen").textContent === read, "Envelope");
    await ada.chooseProtocol("Topic");
    assert.match(ada.page.url(), /wire=topic/);
    await ada.page.goto(server.url);
    await ada.until("the tab remembers", (read) => document.getElementById("wire-chosen").textContent === read, "Topic");
    // With the keyboard alone: past the media mode, then the arrow key selects the next protocol.
    await ada.page.locator("summary", { hasText: "Protocol" }).press("Enter");
    await ada.page.keyboard.press("Tab");
    await ada.page.keyboard.press("Tab");
    await ada.page.keyboard.press("ArrowDown");
    assert.equal(await ada.page.evaluate(chosen), "Session");
    assert.match(ada.page.url(), /wire=session/);
    await ada.page.getByRole("heading", { name: "Call someone" }).waitFor();
    await ada.page.goto(`${server.url}/?room=salon`);
    await ada.until("a link to a room is not a call for two", (read) => document.getElementById("wire-chosen").textContent === read, "Envelope");
    const session = "0b9f4c52-6f0e-4c57-9a7e-5d3f4f0c2f11";
    await ada.page.goto(`${server.url}/?session=${session}`);
    await ada.until("a link to a session is a call for two", (read) => document.getElementById("wire-chosen").textContent === read, "Session");
    assert.equal(await ada.page.locator("#room").inputValue(), session);
  });

  test("a third one is not let into a call for two", async () => {
    const alan = await Person.arrive(browser, "Alan");
    await ada.join(server.url, "tea-for-two", "Session");
    await ada.page.getByRole("heading", { name: "Nobody has come yet" }).waitFor();
    await grace.page.goto(`${server.url}/?${new URL(`http://${await ada.page.locator(".invite-link").textContent()}`).searchParams}`);
    await grace.page.getByRole("heading", { name: "Someone calls you" }).waitFor();
    await grace.enter();
    await seeEachOther();
    await alan.ask(server.url, "tea-for-two", "Session");
    await alan.page.getByText("This room is full").waitFor();
    await Promise.all([seeEachOther(), alan.leave()]);
  });

  test("nothing is left on the server when all have gone, and no page had anything to complain of", async () => {
    await Promise.all([ada.leave(), grace.leave()]);
    await eventually("rooms, participants and connections are 0 on /health", server.health, (health) =>
      health.rooms === 0 && health.participants === 0 && health.connections === 0);
    assert.deepEqual([...ada.complaints, ...grace.complaints], []);
  });
});
