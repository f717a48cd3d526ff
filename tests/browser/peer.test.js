/**
 * Two ends of one connection in one page, and no server between them: peer.js by itself, where the order of things can be chosen.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

describe("two peers", () => {
  let server, browser, person, page;

  before(async () => {
    server = await startServer();
    browser = await launch();
    person = await Person.arrive(browser, "A page");
    page = person.page;
    // For its origin alone: the page itself asks for no camera and makes no call here.
    await page.goto(`${server.url}/favicon.svg`);
    await prepare();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  afterEach(() => page.evaluate(() => [window.polite, window.impolite].forEach((peer) => peer.close())));

  async function prepare() {
    await page.evaluate(async () => {
      const { Peer } = await import("/parlor/peer.js");
      /** What the one says, the other hears, in order and a moment later, unless the line is dead. */
      const protocol = (from, to, line) => {
        const carry = (type, handle) => from.addEventListener(type, ({ detail }) => {
          const said = detail && JSON.parse(JSON.stringify(detail));
          line.then((alive) => alive && handle(said)).catch((error) => window.problems.push(String(error)));
        });
        carry("description", (description) => to.receiveDescription(description));
        carry("candidate", (candidate) => to.receiveCandidate(candidate));
      };
      window.pair = (line = Promise.resolve(true)) => {
        window.problems = [];
        const [polite, impolite] = [true, false].map((one) => new Peer({ polite: one, outgoing: new MediaStream() }));
        protocol(polite, impolite, line);
        protocol(impolite, polite, line);
        polite.addEventListener("message", ({ detail }) => (polite.heard = detail));
        impolite.addEventListener("message", ({ detail }) => (impolite.heard = detail));
        return Object.assign(window, { polite, impolite });
      };
      window.camera = async () => (await navigator.mediaDevices.getUserMedia({ video: true, audio: true })).getTracks();
      window.frames = async (peer) => {
        const reports = [...(await peer.connection.getStats()).values()];
        return reports.find((one) => one.type === "inbound-rtp" && one.kind === "video")?.framesDecoded ?? 0;
      };
    });
  }

  const settled = () =>
    person.until("both ends are connected and at rest", () =>
      [window.polite, window.impolite].every((peer) => peer.state === "connected" && peer.connection.signalingState === "stable"));
  const decodes = (end) => person.until(`the ${end} end decodes video`, async (which) => (await window.frames(window[which])) > 3, end);
  /** Media sections in use; a roll-back that went wrong leaves more of them than there should be. */
  const sections = () => page.evaluate(() => window.polite.connection.localDescription.sdp.match(/^m=/gm).length);

  for (const caller of ["polite", "impolite"]) {
    test(`the ${caller} one calls, and both see and write`, async () => {
      await page.evaluate(async (which) => {
        const { polite, impolite } = window.pair();
        const tracks = await window.camera();
        for (const track of tracks) await Promise.all([polite, impolite].map((peer) => peer.setTrack(track.kind, track)));
        window[which].call();
      }, caller);
      await settled();
      await Promise.all([decodes("polite"), decodes("impolite")]);
      await person.until("a message arrives", () => window.polite.send({ hello: 1 }) && window.impolite.heard?.hello === 1);
      assert.equal(await sections(), 3, "sections: sound, picture, data");
      assert.deepEqual(await page.evaluate(() => window.problems), []);
    });
  }

  test("both call in the same instant, both with a camera", async () => {
    await page.evaluate(async () => {
      const { polite, impolite } = window.pair();
      const tracks = await window.camera();
      for (const track of tracks) await Promise.all([polite, impolite].map((peer) => peer.setTrack(track.kind, track)));
      polite.call();
      impolite.call();
    });
    await settled();
    await Promise.all([decodes("polite"), decodes("impolite")]);
    assert.equal(await sections(), 3, "sections: sound, picture, data");
    assert.deepEqual(await page.evaluate(() => window.problems), []);
  });

  for (const [seeing, shown] of [["polite", "impolite"], ["impolite", "polite"]]) {
    test(`both call in the same instant, and only the ${shown} one has a camera; the other gets one later`, async () => {
      await page.evaluate(async (which) => {
        window.pair();
        window.tracks = await window.camera();
        for (const track of window.tracks) await window[which].setTrack(track.kind, track);
        window.polite.call();
        window.impolite.call();
      }, shown);
      await settled();
      await decodes(seeing);
      await page.evaluate(async (which) => {
        for (const track of window.tracks) await window[which].setTrack(track.kind, track);
      }, seeing);
      await decodes(shown);
      assert.deepEqual(await page.evaluate(() => window.problems), []);
    });
  }

  test("an offer that was lost is repeated by resume()", async () => {
    await page.evaluate(async () => {
      // What is said before the line stands goes nowhere.
      const line = { alive: false, then: (handle) => Promise.resolve(line.alive).then(handle) };
      window.line = line;
      const { impolite } = window.pair(line);
      const tracks = await window.camera();
      for (const track of tracks) await impolite.setTrack(track.kind, track);
      impolite.call();
    });
    await person.until("the offer is made, and lost", () =>
      window.impolite.connection.signalingState === "have-local-offer" && window.impolite.connection.iceGatheringState === "complete");
    await page.evaluate(() => {
      window.line.alive = true;
      window.impolite.resume();
    });
    await settled();
    await decodes("polite");
  });

  test("closing one end is noticed by the other at once", async () => {
    await page.evaluate(() => {
      const { polite, impolite } = window.pair();
      impolite.addEventListener("closed", () => (window.noticed = true));
      polite.call();
    });
    await settled();
    await person.until("the data channel is open", () => window.polite.send("hello"));
    await page.evaluate(() => window.polite.close());
    await person.until("it is noticed", () => window.noticed && !window.impolite.alive, undefined, 5000);
  });
});
