// A headless Chromium for one scenario, and what must hold on every page.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const modules = process.env.IMAGE_MANAGER_TEST_NODE_MODULES ?? "/opt/image-manager/browser";
const require = createRequire(join(modules, "/"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const base = process.env.BASE;
export const port = new URL(base).port;

/** How long a page may take on a busy machine. */
const PAGE = 60_000;
/** How long a build of the tiny image may take there. */
export const BUILD = 240_000;
/** A name that this browser takes for this machine, as an attacker's name server would say. */
export const REBOUND = "rebound.example";

export const DESKTOP = { viewport: { width: 1280, height: 800 }, colorScheme: "light" };
export const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: "dark", isMobile: true, hasTouch: true };

const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP ${REBOUND} 127.0.0.1`,
];

const steps = [];
const open = [];
let browser;

/** One thing that people do, in the order of the file. */
export function step(name, run) {
  steps.push([name, run]);
}

/** Does all steps; ends the process with 1 at the first that does not hold. */
export async function run() {
  // Chromium on Debian is where its package puts it.
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
  let failed = false;
  for (const [name, act] of steps) {
    const began = Date.now();
    try {
      await act();
      console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      console.log(`FAILED  ${name}\n${error.stack}`);
      await pictures();
      failed = true;
      break;
    }
  }
  await browser.close();
  process.exit(failed ? 1 : 0);
}

async function pictures() {
  if (!process.env.PICTURES) return;
  mkdirSync(process.env.PICTURES, { recursive: true });
  for (const [index, page] of open.entries()) {
    if (page.isClosed()) continue;
    const file = join(process.env.PICTURES, `${index}.png`);
    await page.screenshot({ path: file }).catch(() => {});
    console.log(`        ${page.url()} looked like ${file}`);
  }
}

/** A page in a browser profile of its own. What its console says against it is kept in `page.complaints`. */
export async function visit(path, options = DESKTOP) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Asia/Tokyo", ...options });
  context.setDefaultTimeout(PAGE);
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.complaints.push(`${page.url()}: ${error.message}`));
  open.push(page);
  await page.goto(base + path);
  return page;
}

/** Nothing in the console, nothing found by axe, nothing wider than the window. */
export async function assertSound(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map((node) => node.html).join("\n  ")}`);
  assert.deepEqual(found, [], `axe on ${page.url()}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(over, 0, `${page.url()} scrolls sideways by ${over} pixels at ${page.viewportSize().width}`);
  assert.deepEqual(page.complaints, []);
}

/** Whether an element can be seen without scrolling. */
export async function assertAboveTheFold(page, selector) {
  const box = await page.locator(selector).first().boundingBox();
  const { height } = page.viewportSize();
  assert.ok(box.y >= 0 && box.y + box.height <= height, `${selector} is at ${JSON.stringify(box)} of ${height}`);
}

/** Marks the page, so that a reload shows, and notes each word that an element takes. */
export async function watch(page, selector) {
  await page.evaluate((watched) => {
    window.seen = [];
    const look = () => {
      const word = document.querySelector(watched)?.textContent.trim();
      if (word && window.seen.at(-1) !== word) window.seen.push(word);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
    look();
  }, selector);
}

/** The words noted since `watch`; fails when the page was loaded anew. */
export async function seen(page) {
  const words = await page.evaluate(() => window.seen);
  assert.ok(words, `${page.url()} was loaded anew`);
  return words;
}

/** A request with headers that a browser's page could not set. */
export function request(path, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const sent = http.request(`${base}${path}`, { method, headers, timeout: PAGE }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (piece) => { text += piece; });
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
    });
    sent.on("error", reject);
    sent.on("timeout", () => sent.destroy(new Error(`${path} does not answer`)));
    sent.end(body);
  });
}
