/**
 * Both ends of one connection in one page, without a server: peer.js alone, with a controlled order of signals.
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
    person = await Person.open(browser, "A page");
    page = person.page;
    // Only for its origin: the demo itself is not loaded.
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
      /** Passes signals from one end to the other, in order and asynchronously, unless the channel is closed. */
      const connect = (from, to, channel) => {
        const forward = (type, handle) => from.addEventListener(type, ({ detail }) => {
          const signal = detail && JSON.parse(JSON.stringify(detail));
          channel.then((isOpen) => isOpen && handle(signal)).catch((error) => window.errors.push(String(error)));
        });
        forward("description", (description) => to.receiveDescription(description));
        forward("candidate", (candidate) => to.receiveCandidate(candidate));
      };
      window.pair = (channel = Promise.resolve(true)) => {
        window.errors = [];
        const [polite, impolite] = [true, false].map((one) => new Peer({ polite: one, outgoing: new MediaStream() }));
        connect(polite, impolite, channel);
        connect(impolite, polite, channel);
        polite.addEventListener("message", ({ detail }) => (polite.received = detail));
        impolite.addEventListener("message", ({ detail }) => (impolite.received = detail));
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
    person.until("both ends are connected and stable", () =>
      [window.polite, window.impolite].every((peer) => peer.state === "connected" && peer.connection.signalingState === "stable"));
  const decodes = (end) => person.until(`the ${end} end decodes video`, async (which) => (await window.frames(window[which])) > 3, end);
  /** Returns the number of media sections; a faulty rollback leaves additional ones. */
  const sections = () => page.evaluate(() => window.polite.connection.localDescription.sdp.match(/^m=/gm).length);

  for (const caller of ["polite", "impolite"]) {
    test(`the ${caller} peer calls; video and messages both ways`, async () => {
      await page.evaluate(async (which) => {
        const { polite, impolite } = window.pair();
        const tracks = await window.camera();
        for (const track of tracks) await Promise.all([polite, impolite].map((peer) => peer.setTrack(track.kind, track)));
        window[which].call();
      }, caller);
      await settled();
      await Promise.all([decodes("polite"), decodes("impolite")]);
      await person.until("a message arrives", () => window.polite.send({ hello: 1 }) && window.impolite.received?.hello === 1);
      assert.equal(await sections(), 3, "sections: audio, video, data");
      assert.deepEqual(await page.evaluate(() => window.errors), []);
    });
  }

  test("both call at the same time, both with a camera", async () => {
    await page.evaluate(async () => {
      const { polite, impolite } = window.pair();
      const tracks = await window.camera();
      for (const track of tracks) await Promise.all([polite, impolite].map((peer) => peer.setTrack(track.kind, track)));
      polite.call();
      impolite.call();
    });
    await settled();
    await Promise.all([decodes("polite"), decodes("impolite")]);
    assert.equal(await sections(), 3, "sections: audio, video, data");
    assert.deepEqual(await page.evaluate(() => window.errors), []);
  });

  for (const [seeing, shown] of [["polite", "impolite"], ["impolite", "polite"]]) {
    test(`both call at the same time, only the ${shown} peer with a camera; the other one adds one later`, async () => {
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
      assert.deepEqual(await page.evaluate(() => window.errors), []);
    });
  }

  test("a lost offer is repeated by resume()", async () => {
    await page.evaluate(async () => {
      // Signals before the channel is open are lost.
      const channel = { isOpen: false, then: (handle) => Promise.resolve(channel.isOpen).then(handle) };
      window.channel = channel;
      const { impolite } = window.pair(channel);
      const tracks = await window.camera();
      for (const track of tracks) await impolite.setTrack(track.kind, track);
      impolite.call();
    });
    await person.until("the offer is created, and lost", () =>
      window.impolite.connection.signalingState === "have-local-offer" && window.impolite.connection.iceGatheringState === "complete");
    await page.evaluate(() => {
      window.channel.isOpen = true;
      window.impolite.resume();
    });
    await settled();
    await decodes("polite");
  });

  test("closing one end is noticed by the other at once", async () => {
    await page.evaluate(() => {
      const { polite, impolite } = window.pair();
      impolite.addEventListener("closed", () => (window.isClosed = true));
      polite.call();
    });
    await settled();
    await person.until("the data channel is open", () => window.polite.send("hello"));
    await page.evaluate(() => window.polite.close());
    await person.until("the other end notices it", () => window.isClosed && !window.impolite.alive, undefined, 5000);
  });
});
