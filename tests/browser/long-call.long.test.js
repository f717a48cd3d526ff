/**
 * A call of four that goes on: two minutes, or `CALL_MINUTES`. The memory of each page stays as it is after the first minute, and every
 * picture has a decoded frame in every second.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { bounded, launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

const MINUTES = Number(process.env.CALL_MINUTES ?? 2);
const CAMERA = "camera=320x240@10";
const SAMPLE_MS = 15_000;
/** What a page may have more at the end than after the first minute: statistics and messages of the browser's own. */
const GROWTH_BYTES = 4 * 1024 * 1024;

let server, browser;
before(async () => {
  server = await startServer();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test(`a call of four for ${MINUTES} minutes`, async (t) => {
  const people = await Promise.all(["Ada", "Grace", "Alan", "Edsger"].map((name) => Person.arrive(browser, name)));
  await Promise.all(people.map((one) => one.join(`${server.url}/?${CAMERA}`, "salon")));
  await Promise.all(people.map((one) => one.sees(people.filter((other) => other !== one))));
  const heaps = await Promise.all(people.map(({ context, page }) => context.newCDPSession(page)));
  await Promise.all(heaps.map((devtools) => devtools.send("HeapProfiler.enable")));
  const measure = () => Promise.all(heaps.map(async (devtools) => {
    await devtools.send("HeapProfiler.collectGarbage");
    return (await devtools.send("Runtime.getHeapUsage")).usedSize;
  }));
  await Promise.all(people.map(({ page }) => page.evaluate(watch)));

  const began = Date.now();
  let first;
  for (let now = began; now < began + MINUTES * 60_000; now = Date.now()) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(SAMPLE_MS, began + MINUTES * 60_000 - now)));
    if (!first && Date.now() - began >= 60_000) first = await measure();
  }
  first ??= await measure();
  const last = await measure();
  const grown = last.map((size, index) => size - first[index]);
  t.diagnostic(`memory of the pages: ${first.map(inMegabytes)} after the first minute, ${last.map(inMegabytes)} at the end`);
  const seen = await Promise.all(people.map(({ page }) => page.evaluate(() => window.watched)));
  t.diagnostic(`seconds watched: ${seen.map(({ seconds }) => seconds)}, pictures ${seen.map(({ pictures }) => pictures)}`);
  for (const [index, { stills, pictures, seconds }] of seen.entries()) {
    assert.equal(pictures, 3, people[index].name);
    assert.ok(seconds > MINUTES * 60 * 0.9, `${people[index].name} watched ${seconds} s`);
    assert.deepEqual(stills, [], `${people[index].name}: seconds without a frame`);
    assert.ok(grown[index] < GROWTH_BYTES, `${people[index].name}: ${grown[index]} bytes more`);
  }
  assert.deepEqual(people.flatMap(({ complaints }) => complaints), []);
  await bounded("hanging up", Promise.all(people.map((one) => one.hangUp())));
});

const inMegabytes = (bytes) => `${(bytes / 1024 / 1024).toFixed(1)} MB`;

/** Runs in the page: once a second, which pictures have no new frame. */
function watch() {
  const watched = (window.watched = { seconds: 0, pictures: 0, stills: [] });
  const counts = new WeakMap();
  setInterval(() => {
    const videos = [...document.querySelectorAll(".tile:not(.tile-self) video")];
    watched.pictures = videos.length;
    watched.seconds += 1;
    videos.forEach((video, index) => {
      const { totalVideoFrames } = video.getVideoPlaybackQuality();
      if (totalVideoFrames <= (counts.get(video) ?? -1)) watched.stills.push(`${watched.seconds} s, picture ${index}`);
      counts.set(video, totalVideoFrames);
    });
  }, 1000);
}
