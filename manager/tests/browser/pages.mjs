// Every page of PAGES (JSON: name and path of each), wide and light or narrow and dark: axe finds nothing, nothing is wider
// than the window. With TAKE=all at three widths and in both colour schemes, and a picture of each is kept in PICTURES.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { assertSound, base, run, step, visit } from "./browser.mjs";

const pages = Object.entries(JSON.parse(process.env.PAGES));
const pictures = process.env.PICTURES;
const all = process.env.TAKE === "all";
const WIDTHS = all ? [1440, 1024, 390] : [1440, 390];
mkdirSync(pictures, { recursive: true });

/** The other colour scheme changes colours only; axe is on the page since `assertSound`. */
async function assertContrast(page) {
  const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ["color-contrast"] }));
  const found = violations.flatMap(({ nodes }) => nodes.map((node) => `${node.html}\n  ${node.failureSummary}`));
  assert.deepEqual(found, [], `contrast on ${page.url()}`);
}

/** Looks at a page as it is at this width, in one colour scheme or, with TAKE=all, in both. */
async function look(page, name, path, width, scheme) {
  await page.emulateMedia({ colorScheme: scheme });
  await page.goto(base + path);
  // The browser says itself that it was answered 404 or 400.
  page.complaints = page.complaints.filter((complaint) => !/status of 40[014]/.test(complaint));
  const take = (other) => page.screenshot({ path: join(pictures, `${name}-${width}-${other}.png`), fullPage: true });
  if (all) await take(scheme);
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
  await assertSound(page);
  if (!all) return;
  await page.emulateMedia({ colorScheme: "dark" });
  await assertContrast(page);
  await take("dark");
}

for (const [turn, width] of WIDTHS.entries()) {
  const phone = width < 600;
  const options = { viewport: { width, height: phone ? 844 : 900 }, isMobile: phone, hasTouch: phone };
  // Axe takes seconds for a page: each has its turn at one width, the next one at the other.
  const chosen = pages.filter((_, index) => all || index % WIDTHS.length === turn);
  step(`${chosen.length} pages at ${width} pixels`, async () => {
    const page = await visit("/login", options);
    for (const [name, path] of chosen) await look(page, name, path, width, phone && !all ? "dark" : "light");
    await page.context().close();
  });
}

step("charts have enough dates, and their texts can be read on a phone", async () => {
  const trends = pages.find(([name]) => name === "schedule");
  if (!trends) return;
  for (const width of [390, 1024, 1440]) {
    const page = await visit(trends[1], { viewport: { width, height: 900 } });
    for (const chart of await page.locator("svg.chart").all()) {
      const labels = await chart.locator("text").evaluateAll((texts) => texts.map((text) => {
        const { left, right, top, bottom, height } = text.getBoundingClientRect();
        return { text: text.textContent, left, right, top, bottom, height };
      }));
      const box = await chart.boundingBox();
      assert.ok(labels.filter(({ text }) => /^[A-Z][a-z]{2} \d+$/.test(text)).length >= 4, `dates at ${width}: ${labels.map(({ text }) => text)}`);
      for (const [place, label] of labels.entries()) {
        assert.ok(label.height >= 11, `${label.text} is ${label.height} high at ${width}`);
        assert.ok(label.left >= box.x - 0.5 && label.right <= box.x + box.width + 0.5, `${label.text} is cut off at ${width}`);
        for (const other of labels.slice(place + 1)) {
          const apart = label.right <= other.left || other.right <= label.left || label.bottom <= other.top + 1 || other.bottom <= label.top + 1;
          assert.ok(apart, `${label.text} and ${other.text} lie on each other at ${width}`);
        }
      }
    }
    await page.context().close();
  }
});

await run();
