/**
 * The documentation at `/docs`: the start page, search, the reference, and dark or light.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { PATIENCE_MS, launch } from "./support/people.js";
import { startServer } from "./support/server.js";

test("search finds the guides, and the reference is rendered", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const consoleErrors = [];
  page.on("pageerror", (error) => consoleErrors.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && consoleErrors.push(message.text()));

  await page.goto(`${server.url}/docs/`);
  assert.equal(await page.locator("h1").textContent(), "Which protocol?");
  await page.keyboard.press("/");
  await page.keyboard.type("coturn static-auth-secret");
  const first = page.locator("#results a").first();
  await first.waitFor();
  assert.match(await first.textContent(), /TURN/);
  assert.ok(await page.locator("#results mark").count());
  await first.click();
  await page.waitForURL(/\/docs\/operators#turn$/);
  assert.equal(await page.locator("#turn").textContent(), "TURN");
  assert.equal(await page.locator("[aria-current=page]").textContent().then((text) => text.startsWith("Settings and operation")), true);

  await page.locator("#search").fill("no such words anywhere xyzzy");
  await page.getByText(/Nothing found/).waitFor();
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#article").isVisible());

  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  const before = await theme();
  await page.locator("[data-toggle-theme]").click();
  const chosen = await theme();
  assert.notEqual(chosen, before);

  await page.goto(`${server.url}/docs/reference`);
  await page.locator("#rest h2, #rest").first().waitFor();
  await page.locator("#websocket").first().waitFor();
  assert.equal(await theme(), chosen, "the chosen theme is kept");
  // The contents of the page, then those of all pages, and search as on the other pages.
  await page.locator("#page-contents a", { hasText: "REST" }).first().waitFor();
  assert.match(await page.locator(".guide-contents [aria-current=page]").textContent(), /REST and WebSocket messages/);
  await page.locator("#search").fill("static-auth-secret");
  await page.locator("#results a").first().waitFor();
  assert.equal(await page.locator("#reference").isVisible(), false);
  await page.setViewportSize({ width: 390, height: 844 });
  assert.equal(await page.locator("#contents").isVisible(), false);
  await page.locator("#menu").click();
  await page.locator("#contents").waitFor();
  assert.deepEqual(consoleErrors, []);
});
