// The pictures of docs/images, from a manager that serves: BASE=http://127.0.0.1:8080 node screenshots.mjs docs/images
// The newest build of each state that has one is shown, and the schedule that SCHEDULE names.
import { join } from "node:path";
import { base, DESKTOP, PHONE, run, step, visit } from "./browser.mjs";

const directory = process.argv[2] ?? ".";
const schedule = process.env.SCHEDULE ?? "debian";
const DARK = { ...DESKTOP, colorScheme: "dark" };
const tall = (height, options = DESKTOP) => ({ ...options, viewport: { ...options.viewport, height } });

async function take(name, page) {
  await page.waitForLoadState("load");
  await page.screenshot({ path: join(directory, name) });
}

async function newest(page, state) {
  await page.goto(`${base}/builds?state=${state}`);
  return page.locator("#builds tbody td:nth-child(3) a").first().getAttribute("href");
}

step("schedules", async () => {
  const page = await visit("/", tall(500));
  await page.getByText("live", { exact: true }).waitFor();
  await take("schedules.png", page);
  await take("phone.png", await visit("/", { ...PHONE, deviceScaleFactor: 1.5 }));
});

step("builds", async () => {
  const page = await visit("/builds?state=failed", tall(1010));
  const failed = await newest(page, "failed");
  await page.goto(base + failed);
  await take("failed-build.png", page);
  const good = await newest(page, "succeeded");
  await page.goto(`${base}/compare?a=${good.split("/")[2]}&b=${failed.split("/")[2]}`);
  await take("compare.png", page);
});

step("trends", async () => {
  const page = await visit(`/schedules/${schedule}`, tall(1010, DARK));
  await page.locator(".chart-box").nth(1).locator(".hit").nth(22).hover();
  await take("schedule.png", page);
});

await run();
