// A published image is verified again by a button: of the schedule's page, and of the page of images.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { assertSound, base, BUILD, DESKTOP, PHONE, port, request, run, step, visit } from "./browser.mjs";

const pictures = process.env.PICTURES;
mkdirSync(pictures, { recursive: true });
const button = (page) => page.getByRole("button", { name: "Verify again tiny" });

async function take(name, page) {
  await page.screenshot({ path: join(pictures, name), fullPage: true });
}

step("the overview says when it is verified again", async () => {
  const page = await visit("/");
  assert.match(await page.locator("#schedules .next").first().innerText(), /next verification in/);
  await assertSound(page);
  await take("overview.png", page);
});

step("the schedule's page verifies it again", async () => {
  const page = await visit("/schedules/tiny");
  const published = page.locator("#published");
  assert.match(await published.innerText(), /Published as tiny[\s\S]*last verification:\s+passed[\s\S]*next in/);
  await assertSound(page);
  await take("schedule.png", page);
  await button(page).click();
  await page.waitForURL(/\/builds\/[0-9a-f-]{36}$/);
  assert.match(await page.locator("#head").innerText(), /verification of the published image of/);
  const under = await visit("/schedules/tiny");
  assert.equal(await button(under).count(), 0, "not twice");
  await page.getByText("succeeded", { exact: true }).first().waitFor({ timeout: BUILD });
  await assertSound(page);
  assert.equal(await page.getByRole("button", { name: "Build again" }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "Compare with previous" }).count(), 0);
  await take("verification.png", page);
  const again = page.url().split("/").at(-1);
  await page.goto(`${base}/images`);
  assert.equal(await page.locator(`#images a[href="/builds/${again}"]`).count(), 1, "who verified it last");
  await assertSound(page);
  await take("images.png", page);
});

step("images are found by their name and their cloud", async () => {
  const page = await visit("/images?cloud=local&removed=show");
  await page.getByLabel("Name").fill("nothing");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.waitForURL(/name=nothing&cloud=local&removed=show$/);
  await page.getByText("No images match these filters.").waitFor();
  await page.getByRole("link", { name: "Clear" }).click();
  await page.waitForURL(/\/images$/);
  await page.getByRole("link", { name: "tiny", exact: true }).first().click();
  await page.waitForURL(/\/images\?name=tiny$/);
  assert.equal(await page.locator("#images strong").count(), 1, "the one that has the name");
  await assertSound(page);
  assert.equal((await request("/images?removed=yes")).status, 400);
});

step("so does the page of images, on a phone too", async () => {
  const page = await visit("/images", PHONE);
  const current = page.locator("#images tr", { has: page.locator("strong") });
  await current.getByText("/images/published/tiny").waitFor();
  assert.match(await current.innerText(), /SHA-512 [0-9a-f]{12}[\s\S]*ago/);
  await assertSound(page);
  await take("phone.png", page);
  await button(page).click();
  await page.waitForURL(/\/builds\/[0-9a-f-]{36}$/);
  await page.getByText("succeeded", { exact: true }).first().waitFor({ timeout: BUILD });
  const dark = await visit("/images", { ...DESKTOP, colorScheme: "dark" });
  await assertSound(dark);
});

step("another site's page cannot", async () => {
  const form = "schedule=tiny&verify=true";
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  for (const foreign of [{ origin: "http://evil.example" }, { "sec-fetch-site": "cross-site" }]) {
    const answer = await request("/build", { method: "POST", headers: { ...headers, ...foreign }, body: form });
    assert.equal(answer.status, 403, JSON.stringify(foreign));
  }
  const own = { ...headers, origin: `http://127.0.0.1:${port}` };
  const both = await request("/build", { method: "POST", headers: own, body: `${form}&force=true` });
  assert.equal(both.status, 400, "a verification builds nothing");
});

await run();
