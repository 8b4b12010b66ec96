// A build of three targets, of which one passed, one failed and one errored: what its page says at a glance.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { assertAboveTheFold, assertSound, base, DESKTOP, PHONE, request, run, step, visit } from "./browser.mjs";

const bad = process.env.BAD;
const pictures = process.env.PICTURES;
mkdirSync(pictures, { recursive: true });

async function rows(page) {
  const each = await page.locator("#trials tbody tr").all();
  return Promise.all(each.map(async (row) => (await row.innerText()).split(/\s+/).filter(Boolean)));
}

step("the page says at a glance which trial did what", async () => {
  const page = await visit(`/builds/${bad}`);
  await assertAboveTheFold(page, "#trials");
  const [small, tight, lab] = await rows(page);
  assert.deepEqual(small.slice(0, 3), ["succeeded", "small", "local"]);
  assert.deepEqual(tight.slice(0, 5), ["failed", "tight-flavor", "local", "check_failed:", "disk"]);
  assert.deepEqual(lab.slice(0, 6), ["errored", "lab-region-1", "not", "required", "lab", "agent_silent"]);
  assert.equal(lab.at(-2), "2", "its second attempt");
  assert.match(await page.locator("#head").innerText(), /1 of 3/);
  // What proves a failure stands with its trial, once.
  assert.equal(await page.getByText("free_bytes: 325058560").count(), 1);
  assert.equal(await page.locator("#trial-1 .evidence").count(), 1);
  assert.equal(await page.locator("#trial-1 .check").count(), 2);
  assert.equal(await page.locator("#trial-2 .stages li").count(), 4);
  await assertSound(page);
  await page.screenshot({ path: join(pictures, "desktop.png"), fullPage: true });
});

step("each console is a click away", async () => {
  const page = await visit(`/builds/${bad}`);
  // The log of the trial that the build failed by is the one that tells most.
  assert.match(await page.locator("#log-lines").innerText(), /console of tight-flavor/);
  await page.locator("#trial-2").getByRole("link", { name: "Console" }).click();
  assert.match(await page.locator("#log-lines").innerText(), /console of lab-region-1/);
  await page.locator("#log").getByRole("link", { name: "small", exact: true }).click();
  assert.match(await page.locator("#log-lines").innerText(), /console of small/);
  await page.locator("#log").getByRole("link", { name: "Agent", exact: true }).click();
  assert.match(await page.locator("#log-lines").innerText(), /small/);
  await page.locator("#log").getByRole("link", { name: "Build", exact: true }).click();
  assert.match(await page.locator("#log-lines").innerText(), /the build's own log/);
  const wrong = await request(`/builds/${bad}?log=console&target=smal`, { headers: { accept: "text/html" } });
  assert.equal(wrong.status, 404);
  assert.match(wrong.text, /expected small, tight-flavor, lab-region-1/);
  const whole = await request(`/builds/${bad}/logs/console.log?target=small`);
  assert.equal(whole.text, "console of small\n");
  const other = await request(`/builds/${bad}/logs/console.log?target=..%2Fsmall`);
  assert.equal(other.status, 404);
});

step("lists have a hint", async () => {
  const page = await visit("/builds");
  assert.match(await page.locator("#builds tbody tr").nth(0).innerText(), /failed\s+1 of 3/);
  assert.doesNotMatch(await page.locator("#builds tbody tr").nth(1).innerText(), / of 3/);
  await assertSound(page);
  await page.goto(`${base}/`);
  assert.match(await page.locator("#schedules .now").innerText(), /1 of 3/);
  await assertSound(page);
});

step("a phone shows the same", async () => {
  const page = await visit(`/builds/${bad}`, PHONE);
  assert.equal(await page.locator("#trials tbody tr").count(), 3);
  await assertSound(page);
  await page.screenshot({ path: join(pictures, "phone.png"), fullPage: true });
  const dark = await visit(`/builds/${bad}`, { ...DESKTOP, colorScheme: "dark" });
  await assertSound(dark);
});

await run();
