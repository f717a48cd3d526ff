/**
 * One receiver's connection becomes narrow, or loses packets: the media that it and others receive through the media server, in Chromium.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openPath } from "./support/path.js";
import { launch, PATIENCE_MS, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

/** Three layers, of which the highest and the audio take about 350 kbit/s once the sender has found its own bandwidth. */
const CAMERA = "camera=960x540@10";
const BEST = 960;
const AT_LEAST = 280_000;
/** The best layer does not fit, the middle one does. What comes may have padding in it, or a keyframe. */
const narrower = (rate) => Math.min(rate * 0.7, 250_000);
const LOSSY = { losesEach: 20 };
const LOWER_MS = 5000;
const BEST_AGAIN_MS = 30_000;
/** Chromium gives up waiting for what is lost after three seconds: that picture stood still. */
const STILL_MS = 2500;

describe("a line that is narrow, or loses some", () => {
  let path, server, senders, listeners, ann, ben, cleo;

  before(async () => {
    path = await openPath();
    server = await startServer({ env: path.settings });
    // Those who only look on need no camera: what they send would tell nothing here.
    [senders, listeners] = await Promise.all([launch(), launch("none")]);
    const enter = async (browser, name) => {
      const person = await Person.arrive(browser, name);
      await person.join(`${server.url}/?media=sfu&${CAMERA}`, "room");
      return person;
    };
    [ann, ben, cleo] = await Promise.all([enter(listeners, "Ann"), enter(senders, "Ben"), enter(listeners, "Cleo")]);
    await Promise.all([ann, cleo].map((one) => shows(one, BEST)));
    await Promise.all([ann, cleo].map((one) => one.page.evaluate(watch, ben.id)));
  });

  after(async () => {
    await Promise.all([senders?.close(), listeners?.close()]);
    await server?.stop();
    path?.close();
  });

  const shows = (person, width, timeout = PATIENCE_MS) =>
    person.until(`gets ${width} pixels of Ben`, ([id, width]) =>
      document.querySelector(`.tile[data-user-id="${id}"] video`)?.videoWidth === width, [ben.id, width], timeout);
  const frames = async (person, count) => {
    const { frames } = await watched(person);
    return person.until(`decodes ${count} more frames`, (wanted) => window.watched.frames >= wanted, frames + count);
  };
  const watched = (person) => person.page.evaluate(() => window.watched);
  const limit = async (to) => path.limit((await watched(ann)).port, to);

  test("where it is narrow a lower layer comes, for that one alone; and the best again when it is wide", async (t) => {
    const rate = await ann.until("gets all of the best layer", (least) => window.watched.rate >= least && window.watched.rate, AT_LEAST);
    await limit({ bitsPerSecond: narrower(rate) });
    const narrowed = Date.now();
    await ann.until("gets fewer pixels of Ben", (best) => window.watched.width < best, BEST, LOWER_MS);
    t.diagnostic(`of ${Math.round(rate / 1000)} kbit/s; lower after ${Date.now() - narrowed} ms`);
    await frames(ann, 40);
    // On a busy machine she may find her own line narrow for a moment.
    await shows(cleo, BEST);
    const { longest } = await watched(ann);
    assert(longest < STILL_MS, `the picture stood still for ${longest} ms`);
    await limit({});
    const widened = Date.now();
    await shows(ann, BEST, BEST_AGAIN_MS);
    t.diagnostic(`the highest layer again after ${Date.now() - widened} ms; the longest time between two frames was ${Math.round(longest)} ms`);
    await frames(ann, 20);
    assert.equal((await watched(ann)).width, BEST, "and it stays");
    await shows(cleo, BEST);
  });

  test("what is lost is sent again", async (t) => {
    await ann.page.evaluate(() => (window.watched.longest = 0));
    const { asked } = await watched(ann);
    await limit(LOSSY);
    await frames(ann, 50);
    const { longest, ...now } = await watched(ann);
    t.diagnostic(`asked for ${now.asked - asked} packets; the longest time between two frames was ${Math.round(longest)} ms`);
    assert(now.asked > asked, "it asks for what is missing");
    assert(longest < STILL_MS, `the picture stood still for ${longest} ms`);
  });
});

/** Runs in the page: from now on `watched` says what comes of someone's picture; `rate` is of all that comes, over two seconds. */
async function watch(id) {
  const now = (window.watched = { frames: 0, width: 0, longest: 0, asked: 0, rate: 0, port: 0 });
  const bytes = [];
  let last = performance.now();
  const look = async () => {
    const report = await window.parlor.peers().get(id).getStats();
    const all = [...report.values()];
    const video = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    const transport = all.find(({ type }) => type === "transport");
    const pair = report.get(transport.selectedCandidatePairId);
    bytes.push({ at: performance.now(), received: transport.bytesReceived });
    while (bytes.at(-1).at - bytes[0].at > 2000) bytes.shift();
    now.rate = ((bytes.at(-1).received - bytes[0].received) * 8000) / (bytes.at(-1).at - bytes[0].at || 1);
    now.port = report.get(pair.localCandidateId).port;
    now.asked = video.nackCount;
    now.width = video.frameWidth;
    if (video.framesDecoded > now.frames) last = performance.now();
    now.longest = Math.max(now.longest, performance.now() - last);
    now.frames = video.framesDecoded;
    setTimeout(look, 50);
  };
  await look();
}
