/**
 * The client module, copied as its README says: into a page of another origin than the server's.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import test from "node:test";
import { PATIENCE_MS, launch } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

const DEMO = new URL("../../client-demo/", import.meta.url);
const TYPES = { ".html": "text/html", ".js": "text/javascript" };

test("the client module, copied", async (t) => {
  const example = /```html\n([\s\S]*?)```/.exec(await readFile(new URL("README.md", DEMO), "utf8"))?.[1];
  assert(example?.includes("http://localhost:4000"), "the README has a page that connects to localhost:4000");

  let parlor = "";
  const served = async (path) => {
    if (path === "/") return example.replaceAll("http://localhost:4000", parlor);
    const text = await readFile(new URL(`.${path}`, DEMO), "utf8");
    if (path !== "/parlor/signaling-socketio.js") return text;
    const changed = text.replace('from "/socket.io/', `from "${parlor}/socket.io/`);
    assert.notEqual(changed, text, "the one line to change");
    return changed;
  };
  const pages = createServer(async ({ url }, response) => {
    const text = await served(url).catch(() => null);
    response.writeHead(text === null ? 404 : 200, { "content-type": TYPES[extname(url) || ".html"] ?? "text/plain" }).end(text);
  }).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => pages.close());
  const origin = `http://localhost:${pages.address().port}`;
  const server = await startServer({ env: { CLIENT_URL: origin } });
  parlor = server.url;
  t.after(() => server.stop("SIGKILL"));

  const browser = await launch();
  t.after(() => browser.close());
  // Each with a session of its own, in which it keeps its id.
  const contexts = await Promise.all([1, 2, 3].map(() => browser.newContext({ permissions: ["camera", "microphone"] })));
  const tabs = await Promise.all(contexts.map((context) => context.newPage()));
  const complaints = [];
  for (const tab of tabs) {
    tab.on("pageerror", (error) => complaints.push(String(error)));
    await tab.goto(origin);
  }
  const shows = (tab, count) => tab.waitForFunction((wanted) => {
    const videos = [...document.querySelectorAll("video")];
    return videos.length === wanted && videos.every((video) => video.getVideoPlaybackQuality().totalVideoFrames > 5);
  }, count, { timeout: PATIENCE_MS, polling: 100 });
  await Promise.all(tabs.map((tab) => shows(tab, 2)));
  await tabs[0].close();
  await Promise.all(tabs.slice(1).map((tab) => shows(tab, 1)));
  await Promise.all(tabs.slice(1).map((tab) => tab.close()));
  assert.deepEqual(complaints, []);
  await eventually("nobody is left", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
});
