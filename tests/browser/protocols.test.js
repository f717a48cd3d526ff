/**
 * The same call over every protocol and between protocols: two pages, each with the protocol chosen in the lobby, join one room.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openProxy } from "./support/tcp-proxy.js";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

/**
 * The protocols of two peers in the order of joining, which matters for the session protocol, where signals are queued for the other peer; then the
 * disruptions during the call.
 */
const PAIRS = [
  ["Topic", "Topic", "Grace reloads"],
  ["Topic", "Socket.IO", "Ada reloads", "Ada's connection is reset"],
  ["Envelope", "Envelope", "Grace reloads", "Ada's connection is reset"],
  ["Socket.IO", "Envelope", "Ada reloads"],
  ["Envelope", "Topic", "Ada reloads"],
  ["Session", "Session", "Grace reloads", "Ada's connection is reset"],
  ["Session", "Socket.IO", "Ada reloads"],
  ["Socket.IO", "Session", "Grace reloads"],
  ["Session", "Envelope", "Grace reloads"],
  ["Topic", "Session", "Ada reloads"],
];

describe("calls between all pairs of protocols", () => {
  let server, proxy, browser, ada, grace;

  before(async () => {
    server = await startServer();
    proxy = await openProxy(server.port);
    browser = await launch();
    [ada, grace] = await Promise.all(["Ada", "Grace"].map((name) => Person.open(browser, name)));
  });

  after(async () => {
    await browser?.close();
    await proxy?.close();
    await server?.stop();
  });

  const seeEachOther = () => Promise.all([ada.seesAnyPeer(), grace.seesAnyPeer()]);
  const showsName = (person, other) =>
    person.until(`shows the name of ${other.name}`, (name) =>
      [...document.querySelectorAll(".tile-name")].some(({ textContent }) => textContent === name), other.name);
  const isAlone = (person) =>
    person.until("is alone, or is notified that the call has ended", () =>
      !document.getElementById("end-screen").hidden || !document.querySelector(".tile:not(.tile-invite, .tile-self)"));

  const disruptions = {
    "Ada reloads": () => reload(ada),
    "Grace reloads": () => reload(grace),
    async "Ada's connection is reset"(protocol) {
      await ada.page.evaluate(() => (window.connectionBefore = [...window.parlor.peers().values()][0]));
      await ada.page.evaluate(() => {
        window.states = [];
        const place = document.getElementById("server-state");
        new MutationObserver(() => window.states.push(place.dataset.state)).observe(place, { attributeFilter: ["data-state"] });
      });
      proxy.reset();
      await ada.until("has noticed, and is online again", () => window.states[0] === "offline" && window.states.at(-1) === "online");
      await seeEachOther();
      // A topic client gets a new id, so that it is a new peer.
      const same = await ada.page.evaluate(() => window.connectionBefore === [...window.parlor.peers().values()][0]);
      assert.equal(same, protocol !== "Topic", "the peer connection was kept");
    },
  };
  async function reload(person) {
    await person.page.reload();
    await person.inCall();
    await seeEachOther();
  }

  for (const [first, second, ...during] of PAIRS) {
    test(`${first} and ${second}`, async (t) => {
      const room = `${first}-${second}`.toLowerCase();
      const began = Date.now();
      await Promise.all([ada.prepare(proxy.url, room, first), grace.prepare(server.url, room, second)]);
      await ada.enter();
      await grace.enter();
      await seeEachOther();
      t.diagnostic(`video both ways after ${Date.now() - began} ms`);
      assert.equal((await server.participants(room)).length, 2, "participants by REST");
      await Promise.all([showsName(ada, grace), showsName(grace, ada)]);
      assert.match(await ada.page.locator("#server-state").textContent(), new RegExp(`^Connected over ${first}`));

      await ada.sendMessage(`From ${first}`);
      await grace.receivesMessage(ada, `From ${first}`);
      await grace.sendMessage(`From ${second}`);
      await ada.receivesMessage(grace, `From ${second}`);

      for (const disruption of during) {
        const disrupted = Date.now();
        await disruptions[disruption](first);
        t.diagnostic(`${disruption}; video both ways again after ${Date.now() - disrupted} ms`);
      }
      assert.equal((await server.participants(room)).length, 2, "participants by REST");

      await grace.page.getByRole("button", { name: "Leave the call" }).click();
      await isAlone(ada);
      if (first === second && first === "Session") await ada.page.getByText("The other person hung up").waitFor();
      else await ada.page.goto("about:blank");
      await eventually("no peer is left in the room", () => server.participants(room), (ids) => ids.length === 0);
    });
  }

  test("the protocol is in the URL, and in a link only if the call is for two; its former parameter is replaced", async () => {
    await ada.page.goto(`${server.url}/?room=salon&wire=topic`);
    const chosen = () => document.getElementById("protocol-chosen").textContent;
    const isChosen = (name) => document.getElementById("protocol-chosen").textContent === name;
    await ada.until("the lobby has read the former parameter", isChosen, "Topic");
    assert.equal(new URL(ada.page.url()).search, "?room=salon&protocol=topic");
    await ada.page.goto(`${server.url}/?room=salon&protocol=envelope`);
    await ada.until("the lobby has read the URL", isChosen, "Envelope");
    await ada.chooseProtocol("Topic");
    assert.match(ada.page.url(), /protocol=topic/);
    await ada.page.goto(server.url);
    await ada.until("the tab has stored it", isChosen, "Topic");
    // With the keyboard only: past the media mode, then the arrow key selects the next protocol.
    await ada.page.locator("summary", { hasText: "Protocol" }).press("Enter");
    await ada.page.keyboard.press("Tab");
    await ada.page.keyboard.press("Tab");
    await ada.page.keyboard.press("ArrowDown");
    assert.equal(await ada.page.evaluate(chosen), "Session");
    assert.match(ada.page.url(), /protocol=session/);
    await ada.page.getByRole("heading", { name: "Call someone" }).waitFor();
    await ada.page.goto(`${server.url}/?room=salon`);
    await ada.until("a link to a room is not a call for two", isChosen, "Envelope");
    const session = "0b9f4c52-6f0e-4c57-9a7e-5d3f4f0c2f11";
    await ada.page.goto(`${server.url}/?session=${session}`);
    await ada.until("a link to a session is a call for two", isChosen, "Session");
    assert.equal(await ada.page.locator("#room").inputValue(), session);
  });

  test("a third person is refused in a call for two", async () => {
    const alan = await Person.open(browser, "Alan");
    await ada.join(server.url, "tea-for-two", "Session");
    await ada.page.getByRole("heading", { name: "Waiting for the other person" }).waitFor();
    await grace.page.goto(`${server.url}/?${new URL(`http://${await ada.page.locator(".invite-link").textContent()}`).searchParams}`);
    await grace.page.getByRole("heading", { name: "Someone calls you" }).waitFor();
    await grace.enter();
    await seeEachOther();
    await alan.requestJoin(server.url, "tea-for-two", "Session");
    await alan.page.getByText("This room is full").waitFor();
    await Promise.all([seeEachOther(), alan.leave()]);
  });

  test("the server is empty after both have left, and no page reported an error", async () => {
    await Promise.all([ada.leave(), grace.leave()]);
    await eventually("rooms, participants and connections are 0 on /health", server.health, (health) =>
      health.rooms === 0 && health.participants === 0 && health.connections === 0);
    assert.deepEqual([...ada.consoleErrors, ...grace.consoleErrors], []);
  });
});
