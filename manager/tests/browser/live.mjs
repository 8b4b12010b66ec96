// A page takes what the server says anew without taking anything out of its reader's hands. What it will be told is what the
// server says of another address (`isNow`), so nothing has to happen in between. BUILDING is a build that is under way.
import assert from "node:assert/strict";
import { base, request, run, step, visit } from "./browser.mjs";

const ROWS = "#schedules .schedule";
const names = (page) => page.locator(ROWS).evaluateAll((rows) => rows.map((row) => row.dataset.part));
/** The row of a schedule, whose name is a word of CSS. */
const row = (page, name) => page.locator(`${ROWS}[data-part="${name}"]`);

/** A page that follows what happens. */
async function open(path) {
  const page = await visit(path);
  await page.getByText("live", { exact: true }).waitFor();
  return page;
}

/** Has the page take what the server says of another address, as if that were said of its own by now. */
async function isNow(page, path) {
  await page.evaluate(async (address) => {
    window.ask ??= window.fetch;
    window.fetch = (_, how) => window.ask(address, how);
    while (fetching) await new Promise((again) => setTimeout(again, 20));
    await refresh();
  }, base + path);
}

/** Puts a mark on each node that is found; a node that is made anew has none. */
const mark = (page, selector) => page.evaluate((each) => {
  for (const node of document.querySelectorAll(each)) node.marked = node.dataset.part ?? node.id;
}, selector);

step("rows that move are the same rows, and the focus stays where it is", async () => {
  const page = await open("/?group=none");
  const before = await names(page);
  await mark(page, ROWS);
  await isNow(page, "/?group=none&sort=name");
  const sorted = await names(page);
  const stay = sorted.filter((name) => before.includes(name));
  assert.ok(stay.length > 3 && stay.length < sorted.length, `${stay.length} of ${sorted.length}`);
  const order = stay.map((name) => before.indexOf(name));
  assert.ok(order.some((place, index) => place < order[index - 1]), "some have to move");
  const marks = await page.locator(ROWS).evaluateAll((rows) => rows.map((each) => each.marked));
  assert.deepEqual(marks, sorted.map((name) => (stay.includes(name) ? name : undefined)));

  for (const name of [stay[0], stay[Math.floor(stay.length / 2)], stay.at(-1)]) {
    await row(page, name).getByRole("link", { name, exact: true }).focus();
    await page.evaluate(() => {
      window.lost = 0;
      document.activeElement.marked = "focus";
      document.activeElement.addEventListener("blur", () => { window.lost += 1; });
    });
    for (const [path, wanted] of [["/?group=none", before], ["/?group=none&sort=name", sorted]]) {
      await isNow(page, path);
      assert.deepEqual(await names(page), wanted);
      const focused = await page.evaluate(() => [document.activeElement.marked, document.activeElement.closest("li")?.dataset.part, window.lost]);
      assert.deepEqual(focused, ["focus", name, 0]);
    }
    await page.evaluate(() => { delete document.activeElement.marked; });
  }
  assert.deepEqual(page.complaints, []);
});

step("a button that has become another one is not pressed", async () => {
  const all = await visit("/?group=none");
  const name = await all.locator(ROWS, { has: all.getByRole("button", { name: /^Pause/ }) }).first().getAttribute("data-part");
  // Alone on its page it stays in its place.
  const path = `/?group=none&q=${name}`;
  const page = await open(path);
  const form = { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body: "next=%2F" };
  const button = (word) => row(page, name).getByRole("button", { name: `${word} ${name}` });
  await page.evaluate(() => {
    window.pressed = [];
    document.addEventListener("click", (event) => window.pressed.push(event.target.closest("button")?.textContent ?? ""), true);
  });
  await button("Pause").hover();
  await page.mouse.down();
  assert.equal((await request(`/schedules/${name}/pause`, form)).status, 303);
  await isNow(page, path);
  await page.mouse.up();
  await button("Resume").waitFor();
  assert.deepEqual((await page.evaluate(() => window.pressed)).filter(Boolean), []);
  assert.equal((await request(`/schedules/${name}/resume`, form)).status, 303);
});

step("a press lasts while the page changes around it, and what was opened stays open", async () => {
  const path = `/builds/${process.env.BUILDING}`;
  const page = await open(path);
  const kept = "#head, #cancel, #stages li, #facts, #log";
  await mark(page, kept);
  const count = await page.locator(kept).count();
  const duration = page.locator("#head [data-since]");
  const told = await duration.textContent();
  await page.locator("#cancel summary").hover();
  await page.mouse.down();
  await page.waitForFunction((then) => document.querySelector("#head [data-since]").textContent !== then, told);
  await isNow(page, path);
  await page.mouse.up();
  await page.getByRole("button", { name: "Cancel this build" }).waitFor();
  await isNow(page, path);
  assert.ok(await page.getByRole("button", { name: "Cancel this build" }).isVisible());
  const marked = await page.locator(kept).evaluateAll((nodes) => nodes.filter((node) => node.marked !== undefined).length);
  assert.equal(marked, count);
});

step("an empty list says so when it has become empty, and no longer when it has rows", async () => {
  const page = await open("/?show=attention&group=none");
  const none = page.getByText("No schedules match.");
  assert.ok(await page.locator(ROWS).count() > 0);
  await isNow(page, "/?q=nothing-of-this-name");
  await none.waitFor();
  assert.equal(await page.locator(ROWS).count(), 0);
  await isNow(page, "/?group=none");
  await page.locator("nav.pages").getByText(/^1 to 50 of/).waitFor();
  assert.equal(await none.count(), 0);
  assert.deepEqual(page.complaints, []);
});

step("new builds come on top of those that are there, and what is picked stays picked", async () => {
  const rows = "#builds tbody tr";
  const newest = await open("/builds");
  const ids = await newest.locator(rows).evaluateAll((all) => all.map((each) => each.dataset.part));
  const page = await open(`/builds?before=${ids[2]}`);
  await mark(page, rows);
  for (const [name, id] of [["a", ids[7]], ["b", ids[4]]]) await page.locator(`input[name=${name}][value="${id}"]`).check();
  await isNow(page, "/builds");
  const marks = await page.locator(rows).evaluateAll((all) => all.map((each) => each.marked ?? ""));
  assert.deepEqual(marks, ["", "", "", ...ids.slice(3)]);
  assert.equal(await page.getByRole("link", { name: "Newest" }).count(), 0, "the pager is that of the page, too");
  const picked = await page.locator("#builds input:checked").evaluateAll((all) => all.map((each) => `${each.name} ${each.value}`));
  assert.deepEqual(picked.sort(), [`a ${ids[7]}`, `b ${ids[4]}`]);
  assert.deepEqual(page.complaints, []);
});

await run();
