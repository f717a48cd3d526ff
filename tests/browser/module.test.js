/**
 * The client module, loaded from the server by a page of another origin: the example of its README.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test from "node:test";
import { PATIENCE_MS, launch } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

const README = new URL("../../packages/client/README.md", import.meta.url);

test("a page of another origin calls with the client module of the server", async (t) => {
  const example = /```html\n([\s\S]*?)```/.exec(await readFile(README, "utf8"))?.[1];
  assert(example?.includes("http://localhost:4000"), "the README has a page that connects to localhost:4000");

  let parlor = "";
  const pages = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end(example.replaceAll("http://localhost:4000", parlor));
  }).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => pages.close());
  const origin = `http://localhost:${pages.address().port}`;
  const server = await startServer({ env: { CLIENT_URL: origin } });
  parlor = server.url;
  t.after(() => server.stop("SIGKILL"));

  const browser = await launch();
  t.after(() => browser.close());
  // Separate contexts, each with its own session storage and thus its own id.
  const contexts = await Promise.all([1, 2, 3].map(() => browser.newContext({ permissions: ["camera", "microphone"] })));
  const tabs = await Promise.all(contexts.map((context) => context.newPage()));
  const pageErrors = [];
  for (const tab of tabs) {
    tab.on("pageerror", (error) => pageErrors.push(String(error)));
    await tab.goto(origin);
  }
  const playsVideos = (tab, count) => tab.waitForFunction((wanted) => {
    const videos = [...document.querySelectorAll("video")];
    return videos.length === wanted && videos.every((video) => video.getVideoPlaybackQuality().totalVideoFrames > 5);
  }, count, { timeout: PATIENCE_MS, polling: 100 });
  await Promise.all(tabs.map((tab) => playsVideos(tab, 2)));
  await tabs[0].close();
  await Promise.all(tabs.slice(1).map((tab) => playsVideos(tab, 1)));
  await Promise.all(tabs.slice(1).map((tab) => tab.close()));
  assert.deepEqual(pageErrors, []);
  await eventually("no peer is left", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
});
