/**
 * The demo through the media server: five pages in one room, layers, a reload, a reset connection, and a mesh in another room.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openProxy } from "./support/tcp-proxy.js";
import { launch, Person } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

const NAMES = ["Ada", "Grace", "Alan", "Dorothea", "Edsger"];
/** Every frame is drawn and encoded without a graphics card. */
const SMALL = "camera=320x180@5";
const LAYERED = "camera=960x540@5";
const REMOVAL_MS = 5000;

describe("the demo, through the media server", () => {
  let server, proxy, browser, five, ada, grace;

  before(async () => {
    // Long enough to resume on a slow machine.
    server = await startServer({ env: { RESUME_SECONDS: "60" } });
    proxy = await openProxy(server.port);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await proxy?.close();
    await server?.stop();
  });

  const enter = async (name, room, { url = server.url, options = `media=sfu&${SMALL}` } = {}) => {
    const person = await Person.open(browser, name);
    await person.join(`${url}/?${options}`, room);
    return person;
  };
  const transports = async () =>
    Number(/^parlor_media_transports (\d+)$/m.exec(await (await fetch(`${server.url}/metrics`)).text())[1]);
  const hangUp = (person) => person.hangUp();
  const allSeeEachOther = (people) => Promise.all(people.map((one) => one.sees(people.filter((other) => other !== one))));
  const width = (person, other, wanted) =>
    person.until(`receives ${wanted} pixels of ${other.name}`, ([id, wanted]) =>
      document.querySelector(`.tile[data-user-id="${id}"] video`).videoWidth === wanted, [other.id, wanted]);
  const tracksOf = (person, other) =>
    person.page.evaluate((id) => document.querySelector(`.tile[data-user-id="${id}"] video`).srcObject.getTracks().map((track) => track.id), other.id);

  test("three layers of a camera: each tile shows its layer, and requests another", async (t) => {
    const [ann, ben] = await Promise.all(["Ann", "Ben"].map((name) => enter(name, "layers", { options: `media=sfu&${LAYERED}` })));
    t.after(() => Promise.all([ann, ben].map(hangUp)));
    await allSeeEachOther([ann, ben]);
    const quality = ann.tile(ben).getByLabel("Maximum quality for Ben");
    assert.deepEqual(await quality.locator("option").allTextContents(), ["Best", "Middle", "Low"]);
    const layer = (wanted) => ann.until(`the tile shows layer ${wanted}`, ([id, wanted]) => {
      const tile = document.querySelector(`.tile[data-user-id="${id}"]`);
      return tile.querySelector(".tile-layer").textContent === `layer ${wanted}/3` && /\d+ kbit\/s/.test(tile.querySelector(".tile-bitrate").textContent);
    }, [ben.id, wanted]);
    for (const [label, pixels, number] of [["Low", 240, 1], ["Middle", 480, 2], ["Low", 240, 1], ["Best", 960, 3]]) {
      await quality.selectOption(label);
      await width(ann, ben, pixels);
      await layer(number);
    }
    await allSeeEachOther([ann, ben]);
    assert.deepEqual([...ann.consoleErrors, ...ben.consoleErrors], []);
  });

  test("five in a room: each decodes the other four", async () => {
    five = await Promise.all(NAMES.map((name) => enter(name, "room", { url: name === "Ada" ? proxy.url : server.url })));
    [ada, grace] = five;
    await allSeeEachOther(five);
    assert.equal((await server.participants("room")).length, 5);
    await ada.until("the active speaker is marked", () => document.querySelectorAll(".tile-speaking").length === 1);
    await ada.until("every tile shows its bitrate", () =>
      [...document.querySelectorAll(".tile:not(.tile-self)")].every((tile) => /\d+ kbit\/s/.test(tile.querySelector(".tile-bitrate").textContent)));
    assert.match(await ada.page.locator("#server-state").textContent(), /media by SFU/);
    assert.match(ada.page.url(), /media=sfu/);
  });

  test("a mute, a disabled camera and a screen are shown to other peers", async () => {
    const muted = (is) => grace.until(`Ada is ${is ? "" : "not "}muted`, ([id, is]) =>
      document.querySelector(`.tile[data-user-id="${id}"] .tile-muted`).classList.contains("shown") === is, [ada.id, is]);
    await ada.page.keyboard.press("m");
    await muted(true);
    await ada.page.keyboard.press("m");
    await muted(false);
    await ada.page.keyboard.press("s");
    await grace.until("receives the screen beside the camera", (id) => {
      const widths = [...document.querySelectorAll(`.tile[data-user-id="${id}"] video`)].map(({ videoWidth }) => videoWidth);
      return widths.length === 2 && widths.every((width) => width > 0) && widths[0] !== widths[1];
    }, ada.id);
    await ada.page.keyboard.press("v");
    await grace.tile(ada).locator(".tile-face").waitFor({ state: "visible" });
    await ada.page.keyboard.press("s");
    await grace.page.locator(`.tile-screen[data-user-id="${ada.id}"]`).waitFor({ state: "detached" });
    await ada.page.keyboard.press("v");
    await allSeeEachOther(five);
  });

  test("the connection to the server is lost, and media continues on the same tracks", async () => {
    const before = await tracksOf(ada, grace);
    await ada.page.evaluate(() => {
      window.states = [];
      const state = document.getElementById("server-state");
      new MutationObserver(() => window.states.push(state.dataset.state)).observe(state, { attributeFilter: ["data-state"] });
    });
    proxy.block();
    proxy.reset();
    await ada.until("has noticed", () => window.states.includes("offline"));
    await ada.sees(five.filter((one) => one !== ada));
    await grace.sees(five.filter((one) => one !== grace));
    // The mute is announced after the resumption.
    await ada.page.keyboard.press("m");
    proxy.unblock();
    await ada.until("is online again", () => window.states.at(-1) === "online");
    await grace.tile(ada).locator(".tile-muted.shown").waitFor();
    assert.deepEqual(await tracksOf(ada, grace), before, "the same tracks");
    await allSeeEachOther(five);
  });

  test("a reloaded page rejoins", async () => {
    await grace.page.reload();
    await grace.inCall();
    await allSeeEachOther(five);
    assert.equal((await server.participants("room")).length, 5);
  });

  test("a leaving peer is removed at once, and the lobby lists the members", async () => {
    const leaver = five.at(-1);
    const four = five.slice(0, -1);
    const removals = await Promise.all(four.map((one) => one.watchRemoval(leaver)));
    const left = Date.now();
    await leaver.toLobby();
    const times = await Promise.all(removals.map((removal) => removal()));
    assert(times.every((time) => time - left < REMOVAL_MS), `after ${times.map((time) => time - left)} ms`);
    await allSeeEachOther(four);
    await leaver.page.getByText(/^\w+ and 3 others are here\.$/).waitFor();
  });

  test("a mesh room is unaffected; a peer without SFU support that joins is notified, and requests a mesh", async () => {
    const [dorothea, edsger] = five.slice(3);
    const three = five.slice(0, 3);
    await dorothea.toLobby();
    for (const one of [dorothea, edsger]) {
      await one.chooseProtocol("Socket.IO");
      await one.page.getByLabel("Room", { exact: true }).fill("kitchen");
      await one.enter();
    }
    await Promise.all([allSeeEachOther([dorothea, edsger]), allSeeEachOther(three)]);

    await edsger.toLobby();
    await edsger.page.getByLabel("Room", { exact: true }).fill("room");
    await edsger.enter();
    await ada.page.locator("#mode-notice", { hasText: "Edsger can use a mesh only: you cannot see or hear each other" }).waitFor();
    await ada.tile(edsger).getByText("Can use a mesh only").waitFor();
    await ada.page.getByRole("button", { name: "Change to mesh" }).click();
    await allSeeEachOther([...three, edsger]);
  });

  test("the server is empty after all have left, and no page reported an error", async () => {
    await Promise.all(five.map(hangUp));
    await eventually("the server is empty", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
    const expected = /ERR_CONNECTION_RESET|WebSocket connection/;
    assert.deepEqual(five.flatMap(({ consoleErrors }) => consoleErrors).filter((one) => !expected.test(one)), []);
  });

  test("a session that cannot be resumed is replaced by a new one", async (t) => {
    const withoutResumption = await startServer({ env: { RESUME_SECONDS: "0" } });
    t.after(() => withoutResumption.stop());
    const ownProxy = await openProxy(withoutResumption.port);
    t.after(() => ownProxy.close());
    const ann = await enter("Ann", "salon", { url: ownProxy.url });
    const ben = await enter("Ben", "salon", { url: withoutResumption.url });
    await allSeeEachOther([ann, ben]);
    const before = await tracksOf(ann, ben);
    ownProxy.reset();
    await ann.until("has other tracks", ([id, before]) => {
      const stream = document.querySelector(`.tile[data-user-id="${id}"] video`)?.srcObject;
      return stream?.getTracks().length === 2 && !before.includes(stream.getTracks()[0].id);
    }, [ben.id, before]);
    await allSeeEachOther([ann, ben]);
    await Promise.all([ann.leave(), ben.leave()]);
  });

  test("transports whose creation was confirmed after the connection was lost are closed", async (t) => {
    const ownProxy = await openProxy(server.port);
    t.after(() => ownProxy.close());
    const ann = await Person.open(browser, "Ann");
    await ann.page.addInitScript(() => {
      // The first connection receives nothing more once it has asked for a transport.
      let isFirst = true;
      window.WebSocket = class extends WebSocket {
        constructor(...given) {
          super(...given);
          this.addEventListener("message", (event) => this.isDeaf && event.stopImmediatePropagation());
        }
        send(message) {
          this.isDeaf ||= isFirst && message.includes("transport:create");
          isFirst &&= !this.isDeaf;
          super.send(message);
        }
      };
    });
    const before = await transports();
    await ann.requestJoin(`${ownProxy.url}/?media=sfu&${SMALL}`, "pantry");
    await eventually("two transports are created", transports, (count) => count === before + 2);
    const created = Date.now();
    ownProxy.reset();
    await ann.inCall();
    const ben = await enter("Ben", "pantry");
    await allSeeEachOther([ann, ben]);
    // The server closes unused transports after 30 s.
    await eventually("only those in use are left", transports, (count) => count === before + 4, created + 25_000 - Date.now());
    await Promise.all([ann.leave(), ben.leave()]);
  });

  test("a missing bundle is reported, and the mesh works", async () => {
    const ann = await Person.open(browser, "Ann");
    await ann.page.route("**/vendor/*", (route) => route.fulfill({ status: 404 }));
    await ann.join(`${server.url}/?media=sfu&${SMALL}`, "attic");
    await ann.page.locator("#call-notice", { hasText: "mediasoup-client" }).waitFor();
    await ann.until("uses a mesh", () => window.parlor.mode() === "mesh");
    const ben = await enter("Ben", "attic");
    await allSeeEachOther([ann, ben]);
    await Promise.all([ann.leave(), ben.leave()]);
  });
});
