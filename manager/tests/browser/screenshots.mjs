// The pictures of docs/images, into IMAGES: of the schedule that SCHEDULE names, whose newest build failed, and of the others
// beside it. `make screenshots` makes the history that they show.
import { join } from "node:path";
import { base, DESKTOP, PHONE, run, step, visit } from "./browser.mjs";

const directory = process.env.IMAGES;
const schedule = process.env.SCHEDULE;
const DARK = { ...DESKTOP, colorScheme: "dark" };
const tall = (height, options = DESKTOP) => ({ ...options, viewport: { ...options.viewport, height } });

async function take(name, page) {
  await page.waitForLoadState("load");
  await page.screenshot({ path: join(directory, name) });
}

async function newest(page, state) {
  await page.goto(`${base}/builds?state=${state}&schedule=${schedule}`);
  return page.locator("#builds tbody td:nth-child(3) a").first().getAttribute("href");
}

step("schedules", async () => {
  const page = await visit("/?q=amd64", tall(640));
  await page.getByText("live", { exact: true }).waitFor();
  await take("schedules.png", page);
  await take("phone.png", await visit("/?q=amd64", { ...PHONE, deviceScaleFactor: 1.5 }));
});

step("builds", async () => {
  const page = await visit("/builds", tall(1010));
  const failed = await newest(page, "failed");
  await page.goto(base + failed);
  await take("failed-build.png", page);
  const good = await newest(page, "succeeded");
  await page.goto(`${base}/compare?a=${good.split("/")[2]}&b=${failed.split("/")[2]}`);
  await take("compare.png", page);
});

step("trends", async () => {
  const page = await visit(`/schedules/${schedule}?since=90d`, tall(1010, DARK));
  const hits = page.locator(".chart-box").nth(1).locator(".hit");
  await hits.nth(Math.floor(await hits.count() / 2)).hover();
  await take("schedule.png", page);
});

await run();
