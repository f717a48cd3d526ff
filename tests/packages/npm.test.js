/**
 * `npm pack` of both packages, installed from the files into an empty project, built by Vite, and used in Chromium.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { cpSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import test from "node:test";
import { PATIENCE_MS, launch } from "../browser/support/people.js";
import { eventually, startServer } from "../browser/support/server.js";
import { ROOT, VERSION, emptyFolder, run } from "./support.js";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
/** Packages that the project installs in addition. */
const OTHER_PACKAGES = ["react@19.2.0", "react-dom@19.2.0", "vite@7.2.4", "typescript@5.9.3", "@types/react@19.2.7"];

async function makeProject(t) {
  const project = emptyFolder(t);
  for (const name of ["client", "react"]) await run(join(ROOT, "packages", name), "npm", "pack", "--silent", "--pack-destination", project);
  const tarballs = readdirSync(project).filter((name) => name.endsWith(".tgz")).sort();
  assert.deepEqual(tarballs, [`parlor-client-${VERSION}.tgz`, `parlor-react-${VERSION}.tgz`]);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const files = tarballs.map((name) => `./${name}`);
  await run(project, "npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error", ...files, ...OTHER_PACKAGES);
  cpSync(new URL("react", import.meta.url), project, { recursive: true });
  return project;
}

async function servePages(t, folder) {
  const pages = createServer((request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    try {
      const content = readFileSync(join(folder, path === "/" ? "index.html" : path));
      response.writeHead(200, { "content-type": TYPES[extname(path) || ".html"] ?? "text/plain" }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  }).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => pages.close());
  return `http://localhost:${pages.address().port}`;
}

test("@parlor/client and @parlor/react from their files, in a page that Vite builds", async (t) => {
  const project = await makeProject(t);
  const strict = ["--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", "--skipLibCheck"];
  await run(project, "npx", "tsc", ...strict, "types.ts");
  await run(project, "npx", "vite", "build", "--logLevel", "warn");
  const origin = await servePages(t, join(project, "dist"));
  const server = await startServer({ env: { CLIENT_URL: origin } });
  t.after(() => server.stop("SIGKILL"));

  const browser = await launch();
  t.after(() => browser.close());
  const consoleErrors = [];
  const open = async (name) => {
    const context = await browser.newContext({ permissions: ["camera", "microphone"] });
    const page = await context.newPage();
    page.on("pageerror", (error) => consoleErrors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && !message.text().includes("net::ERR") && consoleErrors.push(message.text()));
    await page.goto(`${origin}/?${new URLSearchParams({ server: server.url, room: "react", name })}`);
    return page;
  };
  const [ann, ben] = await Promise.all([open("Ann"), open("Ben")]);
  const until = async (page, predicate, argument) => {
    try {
      await page.waitForFunction(predicate, argument, { timeout: PATIENCE_MS, polling: 100 });
    } catch (error) {
      throw new Error(`${error.message}\n${predicate}\n${await page.innerHTML("body")}\n${consoleErrors.join("\n")}`, { cause: error });
    }
  };
  const sees = (page, name) => until(page, (wanted) => {
    const figures = [...document.querySelectorAll("figure")];
    const [video] = document.querySelectorAll("video");
    return figures.length === 1 && figures[0].textContent === wanted && figures[0].dataset.video === "true"
      && figures[0].dataset.audio === "true" && video.getVideoPlaybackQuality().totalVideoFrames > 5;
  }, name);
  await Promise.all([sees(ann, "Ben"), sees(ben, "Ann")]);
  // Although StrictMode mounts twice, each page is in the room once.
  assert.equal((await server.participants("react")).length, 2);
  assert.equal(await ann.locator("#status").textContent(), "joined");

  await ben.locator("#mute").click();
  await until(ann, () => document.querySelector("figure").dataset.sendsAudio === "false");

  // The server restarts at the same port: the page joins again, and no peer is duplicated.
  const { port } = server;
  await server.stop("SIGKILL");
  await until(ann, () => document.getElementById("status").textContent === "offline");
  const again = await startServer({ port, env: { CLIENT_URL: origin } });
  t.after(() => again.stop("SIGKILL"));
  for (const [page, other] of [[ann, "Ben"], [ben, "Ann"]]) {
    await until(page, () => document.getElementById("status").textContent === "joined");
    await until(page, (name) => document.querySelector("figcaption")?.textContent === name, other);
    assert.equal(await page.locator("figure").count(), 1);
  }

  await ben.locator("#leave").click();
  await until(ann, () => !document.querySelector("figure"));
  assert.equal(await ben.locator("#status").textContent(), "idle");
  await ann.close();
  await eventually("the server is empty", again.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
  assert.deepEqual(consoleErrors, []);
});
