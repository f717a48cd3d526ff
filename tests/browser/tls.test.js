/**
 * The demo over TLS, with a certificate of an authority that the browser trusts.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { makeAuthority } from "./support/authority.js";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

describe("a call over TLS", () => {
  let authority, server, browser;

  before(async () => {
    authority = makeAuthority();
    server = await startServer({ env: authority.settings });
    browser = await launch("fake", { env: { HOME: authority.home } });
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
    authority?.remove();
  });

  for (const protocol of ["Socket.IO", "Envelope"]) {
    test(`two see each other over ${protocol}`, async () => {
      const people = await Promise.all(["Ada", "Grace"].map((name) => Person.open(browser, name)));
      const [ada, grace] = people;
      const sockets = [];
      for (const person of people) person.page.on("websocket", (socket) => sockets.push(socket.url()));
      await Promise.all(people.map((person) => person.join(server.url, `secure-${protocol}`, protocol)));
      await Promise.all([ada.sees([grace]), grace.sees([ada])]);
      assert.match(server.url, /^https:/);
      assert.ok(sockets.length >= 2 && sockets.every((url) => url.startsWith("wss:")), `${sockets}`);
      const page = await ada.page.evaluate(() => ({
        isSecure: window.isSecureContext,
        protocol: performance.getEntriesByType("navigation")[0].nextHopProtocol,
      }));
      assert.deepEqual(page, { isSecure: true, protocol: "h2" });
      await Promise.all(people.map((person) => person.leave()));
    });
  }

  test("a browser that does not trust the authority does not connect", async () => {
    const otherBrowser = await launch();
    try {
      const person = await Person.open(otherBrowser, "Alan");
      await assert.rejects(person.page.goto(server.url), /ERR_CERT_AUTHORITY_INVALID/);
    } finally {
      await otherBrowser.close();
    }
  });
});
