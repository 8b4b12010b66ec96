// A build of two targets is followed on its page while both are tried side by side; one of them fails.
import assert from "node:assert/strict";
import { assertSound, BUILD, run, seen, step, visit, watch } from "./browser.mjs";

step("the page follows the trials of a build", async () => {
  const page = await visit("/");
  await page.getByRole("button", { name: "Build now" }).click();
  await page.waitForURL(/\/builds\//);
  const badge = (row) => page.locator(`#trials tbody tr:nth-child(${row}) .badge`);
  await watch(page, "#trials tbody tr:nth-child(1) .badge");
  await badge(2).filter({ hasText: "verifying" }).waitFor({ timeout: BUILD });
  // Each trial's stages move in its own part of the page.
  assert.equal(await page.locator("#progress progress").count(), 1, "one bar for the whole build");
  await assertSound(page);
  await page.locator("#head .badge", { hasText: "failed" }).waitFor({ timeout: BUILD });
  await badge(1).filter({ hasText: "succeeded" }).waitFor();
  await badge(2).filter({ hasText: "failed" }).waitFor();
  const words = await seen(page);
  assert.ok(words.includes("booting") && words.at(-1) === "succeeded", words.join(", "));
  assert.match(await page.locator("#trial-1 .check").innerText(), /fail/);
  await page.locator("#trial-0").getByRole("link", { name: "Console" }).click();
  assert.notEqual(await page.locator("#log-lines").innerText(), "");
  await assertSound(page);
});

await run();
