/**
 * A call of four for two minutes, or `CALL_MINUTES`. The memory of each page does not grow after the first minute, and every video has a
 * decoded frame in every second (times `PARLOR_TEST_TIME_FACTOR`).
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { bounded, launch, Person, TIME_FACTOR } from "./support/people.js";
import { startServer } from "./support/server.js";

const MINUTES = Number(process.env.CALL_MINUTES ?? 2);
const CAMERA = "camera=320x240@10";
const SAMPLE_MS = 15_000;
/** Maximum growth of a page after the first minute: statistics and messages of the browser itself. */
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
  const people = await Promise.all(["Ada", "Grace", "Alan", "Edsger"].map((name) => Person.open(browser, name)));
  await Promise.all(people.map((one) => one.join(`${server.url}/?${CAMERA}`, "salon")));
  await Promise.all(people.map((one) => one.sees(people.filter((other) => other !== one))));
  const heaps = await Promise.all(people.map(({ context, page }) => context.newCDPSession(page)));
  await Promise.all(heaps.map((devtools) => devtools.send("HeapProfiler.enable")));
  const measure = () => Promise.all(heaps.map(async (devtools) => {
    await devtools.send("HeapProfiler.collectGarbage");
    return (await devtools.send("Runtime.getHeapUsage")).usedSize;
  }));
  await Promise.all(people.map(({ page }) => page.evaluate(watch, TIME_FACTOR)));

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
  t.diagnostic(`seconds watched: ${seen.map(({ seconds }) => seconds)}, videos ${seen.map(({ videos }) => videos)}`);
  for (const [index, { freezes, videos, seconds }] of seen.entries()) {
    assert.equal(videos, 3, people[index].name);
    assert.ok(seconds > MINUTES * 60 * 0.9, `${people[index].name} watched ${seconds} s`);
    assert.deepEqual(freezes, [], `${people[index].name}: seconds without a frame`);
    assert.ok(grown[index] < GROWTH_BYTES, `${people[index].name}: ${grown[index]} bytes more`);
  }
  assert.deepEqual(people.flatMap(({ consoleErrors }) => consoleErrors), []);
  await bounded("hanging up", Promise.all(people.map((one) => one.hangUp())));
});

const inMegabytes = (bytes) => `${(bytes / 1024 / 1024).toFixed(1)} MB`;

/** Runs in the page: records once in so many seconds which videos have no new frame. */
function watch(interval) {
  const watched = (window.watched = { seconds: 0, videos: 0, freezes: [] });
  const counts = new WeakMap();
  setInterval(() => {
    const videos = [...document.querySelectorAll(".tile:not(.tile-self) video")];
    watched.videos = videos.length;
    watched.seconds += interval;
    videos.forEach((video, index) => {
      const { totalVideoFrames } = video.getVideoPlaybackQuality();
      if (totalVideoFrames <= (counts.get(video) ?? -1)) watched.freezes.push(`${watched.seconds} s, video ${index}`);
      counts.set(video, totalVideoFrames);
    });
  }, 1000 * interval);
}
