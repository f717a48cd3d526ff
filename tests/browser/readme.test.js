/**
 * The client of the README, in two pages of another origin than the server's.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test from "node:test";
import { PATIENCE_MS, launch } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

const README = new URL("../../README.md", import.meta.url);

test("the client of the README", async (t) => {
  const client = /```html\n([\s\S]*?)```/.exec(await readFile(README, "utf8"))?.[1];
  assert(client?.includes("http://localhost:4000"), "the README has a page that connects to localhost:4000");

  let page = "";
  const pages = createServer((_, response) => response.setHeader("content-type", "text/html").end(page)).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => pages.close());
  const origin = `http://localhost:${pages.address().port}`;
  const server = await startServer({ env: { CLIENT_URL: origin } });
  t.after(() => server.stop("SIGKILL"));
  // Without the public STUN server, which may be unreachable.
  page = client.replaceAll("http://localhost:4000", server.url).replace(/iceServers: \[.*?\]/, "iceServers: []");

  const browser = await launch();
  t.after(() => browser.close());
  const context = await browser.newContext({ permissions: ["camera", "microphone"] });
  const tabs = [await context.newPage(), await context.newPage()];
  const pageErrors = [];
  for (const tab of tabs) {
    tab.on("pageerror", (error) => pageErrors.push(String(error)));
    await tab.goto(origin);
  }
  for (const tab of tabs) {
    const plays = () => document.querySelector("video")?.getVideoPlaybackQuality().totalVideoFrames > 5;
    await tab.waitForFunction(plays, undefined, { timeout: PATIENCE_MS, polling: 100 });
  }
  await tabs[0].close();
  await tabs[1].waitForFunction(() => document.querySelectorAll("video").length === 0, undefined, { timeout: PATIENCE_MS });
  await tabs[1].close();
  assert.deepEqual(pageErrors, []);
  await eventually("no peer is left", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
});
