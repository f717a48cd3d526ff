/**
 * Limited bandwidth and packet loss of one receiver: the media that it and others receive through the media server, in Chromium.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openUdpProxy } from "./support/udp-proxy.js";
import { launch, PATIENCE_MS, Person, TIME_FACTOR } from "./support/people.js";
import { startServer } from "./support/server.js";

/** Three layers. The highest and the audio take about 350 kbit/s once the sender has estimated its bandwidth. */
const CAMERA = "camera=960x540@10";
const BEST = 960;
const AT_LEAST = 280_000;
/** Bandwidth for the middle layer, but not for the highest. The measured rate may include padding, or a keyframe. */
const limitedRate = (rate) => Math.min(rate * 0.7, 250_000);
const LOSSY = { dropEvery: 20 };
const LOWER_MS = 5000 * TIME_FACTOR;
const BEST_AGAIN_MS = 30_000 * TIME_FACTOR;
/** Maximum freeze. Chromium waits three seconds for lost packets. */
const FREEZE_MS = 2500 * TIME_FACTOR;

describe("limited bandwidth and packet loss", () => {
  let proxy, server, senders, listeners, ann, ben, cleo;

  before(async () => {
    proxy = await openUdpProxy();
    server = await startServer({ env: proxy.settings });
    // The receivers need no camera.
    [senders, listeners] = await Promise.all([launch(), launch("none")]);
    const enter = async (browser, name) => {
      const person = await Person.open(browser, name);
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
    proxy?.close();
  });

  const shows = (person, width, timeout = PATIENCE_MS) =>
    person.until(`receives ${width} pixels of Ben`, ([id, width]) =>
      document.querySelector(`.tile[data-user-id="${id}"] video`)?.videoWidth === width, [ben.id, width], timeout);
  const frames = async (person, count) => {
    const { frames } = await watched(person);
    return person.until(`decodes ${count} more frames`, (wanted) => window.watched.frames >= wanted, frames + count);
  };
  const watched = (person) => person.page.evaluate(() => window.watched);
  const limit = async (to) => proxy.limit((await watched(ann)).port, to);

  test("a limited receiver gets a lower layer, others do not, and the highest again without the limit", async (t) => {
    const rate = await ann.until("receives the full rate of the highest layer", (least) => window.watched.rate >= least && window.watched.rate, AT_LEAST);
    await limit({ bitsPerSecond: limitedRate(rate) });
    const limited = Date.now();
    await ann.until("receives fewer pixels of Ben", (best) => window.watched.width < best, BEST, LOWER_MS);
    t.diagnostic(`of ${Math.round(rate / 1000)} kbit/s; lower after ${Date.now() - limited} ms`);
    await frames(ann, 40);
    // On a busy machine her own estimate may be low for a moment.
    await shows(cleo, BEST);
    const { longest } = await watched(ann);
    assert(longest < FREEZE_MS, `the video froze for ${longest} ms`);
    await limit({});
    const unlimited = Date.now();
    await shows(ann, BEST, BEST_AGAIN_MS);
    t.diagnostic(`the highest layer again after ${Date.now() - unlimited} ms; the longest time between two frames was ${Math.round(longest)} ms`);
    await frames(ann, 20);
    assert.equal((await watched(ann)).width, BEST, "the highest layer stays");
    await shows(cleo, BEST);
  });

  test("lost packets are retransmitted", async (t) => {
    await ann.page.evaluate(() => (window.watched.longest = 0));
    const { nacks } = await watched(ann);
    await limit(LOSSY);
    await frames(ann, 50);
    const { longest, ...now } = await watched(ann);
    t.diagnostic(`requested ${now.nacks - nacks} packets; the longest time between two frames was ${Math.round(longest)} ms`);
    assert(now.nacks > nacks, "lost packets are requested");
    assert(longest < FREEZE_MS, `the video froze for ${longest} ms`);
  });
});

/** Runs in the page: measures the received video of a person in `watched` from now on; `rate` is that of the transport, over two seconds. */
async function watch(id) {
  const now = (window.watched = { frames: 0, width: 0, longest: 0, nacks: 0, rate: 0, port: 0 });
  const bytes = [];
  let last = performance.now();
  const measure = async () => {
    const report = await window.parlor.peers().get(id).getStats();
    const all = [...report.values()];
    const video = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    const transport = all.find(({ type }) => type === "transport");
    const pair = report.get(transport.selectedCandidatePairId);
    bytes.push({ at: performance.now(), received: transport.bytesReceived });
    while (bytes.at(-1).at - bytes[0].at > 2000) bytes.shift();
    now.rate = ((bytes.at(-1).received - bytes[0].received) * 8000) / (bytes.at(-1).at - bytes[0].at || 1);
    now.port = report.get(pair.localCandidateId).port;
    now.nacks = video.nackCount;
    now.width = video.frameWidth;
    if (video.framesDecoded > now.frames) last = performance.now();
    now.longest = Math.max(now.longest, performance.now() - last);
    now.frames = video.framesDecoded;
    setTimeout(measure, 50);
  };
  await measure();
}
