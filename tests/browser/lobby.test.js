/**
 * Problems of joining: no camera, no permission, a full room, no server.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

describe("problems of joining", () => {
  let server, browser, ada;

  before(async () => {
    server = await startServer({ env: { MAX_ROOM_SIZE: "2" } });
    browser = await launch();
    ada = await Person.open(browser, "Ada");
    await ada.join(server.url, "salon");
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  for (const [devices, what, message] of [
    ["none", "without a camera and a microphone", /No camera or microphone was found\. .*You can join without it/],
    ["refused", "with the permission refused", /refused access to your camera and microphone.*You can join without it/],
  ]) {
    test(`a user ${what} joins, receives video and sends messages`, async () => {
      const bare = await launch(devices);
      try {
        const guest = await Person.open(bare, "Guest");
        await guest.join(server.url, "salon");
        assert.match(await guest.page.locator("#device-error").textContent(), message);
        await guest.sees([ada]);
        await ada.tile(guest).locator(".tile-face").waitFor({ state: "visible" });
        await guest.sendMessage(`Joined ${what}`);
        await ada.receivesMessage(guest, `Joined ${what}`);
        const removal = await ada.watchRemoval(guest);
        await guest.page.getByRole("button", { name: "Leave the call" }).click();
        await removal();
      } finally {
        await bare.close();
      }
    });
  }

  test("another camera is chosen, and a link is copied", async () => {
    const grace = await Person.open(browser, "Grace", {
      permissions: ["camera", "microphone", "clipboard-read", "clipboard-write"],
    });
    await grace.page.goto(`${server.url}/?room=salon`);
    const label = () => document.getElementById("preview-video").srcObject?.getVideoTracks()[0].label;
    const first = await grace.until("the preview is shown", label);
    const choice = grace.page.locator("#camera-choice");
    await choice.locator("option").nth(1).waitFor({ state: "attached" });
    const names = await choice.locator("option").allTextContents();
    const second = names.find((name) => name !== first);
    assert.ok(second, `a second camera among ${names}`);
    await choice.selectOption({ label: second });
    await grace.until(`the preview is of ${second}`, (wanted) =>
      document.getElementById("preview-video").srcObject?.getVideoTracks()[0].label === wanted, second);
    await grace.page.getByRole("button", { name: "Copy link" }).click();
    await grace.page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(await grace.page.evaluate(() => navigator.clipboard.readText()), `${server.url}/?room=salon`);
    await grace.leave();
  });

  test("a camera that is off at first is received once it is turned on", async () => {
    const grace = await Person.open(browser, "Grace");
    await grace.page.goto(server.url);
    await grace.until("the preview is shown", () => !document.getElementById("preview-video").hidden);
    await grace.page.getByRole("button", { name: "Camera" }).click();
    await grace.until("the preview is hidden", () => document.getElementById("preview-video").hidden);
    await grace.page.getByLabel("Your name").fill("Grace");
    await grace.page.getByLabel("Room", { exact: true }).fill("salon");
    await grace.page.keyboard.press("Enter");
    await grace.inCall();
    await grace.sees([ada]);
    await ada.tile(grace).locator(".tile-face").waitFor({ state: "visible" });
    await grace.page.getByRole("button", { name: "Camera" }).click();
    await ada.sees([grace]);
    const removal = await ada.watchRemoval(grace);
    await grace.leave();
    await removal();
  });

  test("a full room is reported, and the lobby stays usable", async () => {
    const grace = await Person.open(browser, "Grace");
    await grace.join(server.url, "salon");
    const alan = await Person.open(browser, "Alan");
    await alan.requestJoin(server.url, "salon");
    const error = alan.page.locator("#lobby-error");
    await error.waitFor({ state: "visible" });
    assert.match(await error.textContent(), /This room is full/);
    await alan.page.getByLabel("Room", { exact: true }).fill("kitchen");
    await alan.page.getByRole("button", { name: "Join", exact: true }).click();
    await alan.inCall();
    await alan.page.getByRole("heading", { name: "You are alone here" }).waitFor();
    const removal = await ada.watchRemoval(grace);
    await Promise.all([grace.leave(), alan.leave()]);
    await removal();
  });

  test("the same person in a second tab replaces the first, which is notified", async () => {
    const grace = await Person.open(browser, "Grace");
    await grace.join(server.url, "salon");
    await ada.sees([grace]);
    const second = await Person.open(browser, "Grace", {});
    // As when a tab is duplicated: the browser copies its session storage.
    await second.page.addInitScript((id) => sessionStorage.setItem("parlor.userId", id), grace.id);
    await second.join(server.url, "salon");
    await grace.page.getByText("You joined this room from another tab or device").waitFor();
    await ada.sees([second]);
    await second.sees([ada]);

    await grace.page.getByRole("button", { name: "Join here instead" }).click();
    await grace.inCall();
    await second.page.getByText("You joined this room from another tab or device").waitFor();
    await ada.sees([grace]);
    const removal = await ada.watchRemoval(grace);
    await Promise.all([grace.leave(), second.leave()]);
    await removal();
  });

  test("an unavailable server is reported", async () => {
    const user = await Person.open(browser, "Ada");
    await user.page.goto(server.url);
    await user.until("the preview is shown", () => !document.getElementById("preview-video").hidden);
    await server.stop("SIGKILL");
    await user.page.getByLabel("Your name").fill("Ada");
    await user.page.getByRole("button", { name: "Join", exact: true }).click();
    await user.page.getByText("The server cannot be reached").waitFor();
  });
});
