// The dashboard on loopback. Schedules: `good` passes, `broken` makes a bad image, `slow` takes minutes to build.
import assert from "node:assert/strict";
import http from "node:http";
import {
  assertAboveTheFold, assertSound, base, BUILD, DESKTOP, PHONE, port, REBOUND, request, run, seen, step, visit, watch,
} from "./browser.mjs";

let home, good, serial, bad;
const path = (page) => new URL(page.url()).pathname;
const schedule = (page, name) => page.locator("#schedules > .schedule", { has: page.getByRole("heading", { name }) });
const badge = (page, state) => page.locator("#head .badge", { hasText: state });

step("the schedules, and all times in the zone that the viewer chooses", async () => {
  home = await visit("/");
  assert.deepEqual(await home.locator("#schedules h2").allTextContents(), ["good", "broken", "slow"]);
  await home.goto(`${base}/schedules/good?since=90d`);
  assert.match(await home.locator(".fires time").first().textContent(), /03:00 UTC$/);
  // The browser's own, which the script offers.
  await home.getByLabel("Time zone", { exact: true }).selectOption("Asia/Tokyo");
  await home.getByRole("button", { name: "Change the time zone" }).click();
  await home.getByText("times in Asia/Tokyo").waitFor();
  assert.equal(new URL(home.url()).search, "?since=90d", "it leads back");
  assert.match(await home.locator(".fires time").first().textContent(), /12:00 JST$/);
  await home.goto(`${base}/`);
  await assertSound(home);
});

step("a build is triggered from the page", async () => {
  await watch(home, "#schedules > li:first-child .now .badge");
  good = await visit("/");
  await schedule(good, "good").getByRole("button", { name: "Build now" }).click();
  await good.waitForURL(/\/builds\/[0-9a-f-]{36}$/);
  await watch(good, "#head .badge");
});

step("its log is followed while it grows", async () => {
  const lines = good.locator("#log-lines .line");
  // In a section that may be folded by now.
  const there = { state: "attached" };
  await lines.filter({ hasText: "Building image" }).or(lines.filter({ hasText: "dib-run-parts Running" })).first().waitFor(there);
  await lines.nth(await lines.count() + 5).waitFor(there);
  assert.ok(await good.locator("#follow").isChecked());
  const toEnd = () => good.locator("#log-lines").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  assert.ok(await toEnd() < 24, "the newest line is in sight");
  assert.equal(await good.locator("#checks .outcome", { hasText: "pending" }).count(), 2);
  serial = await visit(`${path(good)}?log=console`);
  await watch(serial, "#head .badge");
  await lines.filter({ hasText: "Build completed successfully" }).waitFor();
  // The phases that began meanwhile have sections of their own, and the numbers go on.
  const sections = await good.locator("#log-lines details[open] h3").allTextContents();
  assert.deepEqual(sections.slice(-2), ["cleanup", "convert"]);
  const numbers = (await good.locator("#log-lines .no").allTextContents()).map(Number);
  assert.ok(numbers.every((number, place) => place === 0 || number > numbers[place - 1]), `${numbers}`);
  assert.equal(await lines.last().getAttribute("id"), `L${numbers.at(-1)}`);
});

step("its states change without a reload, until it has succeeded", async () => {
  await badge(good, "succeeded").waitFor({ timeout: BUILD });
  const words = await seen(good);
  const order = ["building", "trying", "succeeded"].map((word) => words.indexOf(word));
  assert.ok(order[0] >= 0 && order[0] < order[1] && order[1] < order[2], `seen: ${words}`);
  await good.locator("#stages li.done[data-stage=cleaning_up]").waitFor();
});

step("the server's console was followed too", async () => {
  await badge(serial, "succeeded").waitFor();
  for (const text of ["tiny: booted", "attached to manager"]) {
    assert.equal(await serial.locator("#log-lines .line", { hasText: text }).count(), 1, text);
  }
  await seen(serial);
});

step("the list of schedules followed it too", async () => {
  await schedule(home, "good").locator(".badge", { hasText: "succeeded" }).waitFor();
  const words = await seen(home);
  assert.ok(words.includes("trying") && words.at(-1) === "succeeded", `seen: ${words}`);
});

step("what it proved stands on its page", async () => {
  assert.equal(await good.locator("#checks .outcome.good").count(), 2);
  await good.locator("#checks summary", { hasText: "disk" }).click();
  await good.locator("#check-disk .seen").getByText("file system").first().waitFor();
  assert.match(await good.locator("#image .hash").textContent(), /^[0-9a-f]{128}/);
  assert.match(await good.locator("#definition .hash").textContent(), /^[0-9a-f]{64}/);
  assert.ok(await good.locator(".resources .fate.gone").count() >= 2);
  await assertSound(good);
});

step("logs are searched", async () => {
  await good.reload();
  const shown = good.locator("#log-lines .line:visible");
  await good.getByRole("searchbox").fill("build completed");
  await good.waitForFunction(() => document.querySelectorAll("#log-lines .line:not([hidden])").length === 1);
  await good.getByRole("searchbox").press("Enter");
  await good.waitForURL(/q=build/);
  await good.getByText(/1 line contains/).waitFor();
  assert.equal(await shown.locator("mark").textContent(), "Build completed");
  await good.getByRole("link", { name: "Console" }).click();
  await good.locator("#log-lines .line", { hasText: "attached to manager" }).first().waitFor({ state: "attached" });
  await good.getByRole("link", { name: "Agent" }).click();
  await shown.filter({ hasText: "check_result" }).first().waitFor();
});

step("a log folds by phase, and each of its lines has a link", async () => {
  const build = path(good);
  const page = await visit(`${build}?log=build`);
  const sections = page.locator("#log-lines details");
  const names = await sections.locator("summary h3").allTextContents();
  for (const name of ["preparation", "root", "install", "convert"]) assert.ok(names.includes(name), `${name}: ${names}`);
  assert.deepEqual(await page.locator("#log-lines details[open] h3").allTextContents(), [names.at(-1)]);
  assert.match(await sections.nth(names.indexOf("install")).locator(".told").textContent(), /^\d+ lines · /);
  await page.getByRole("link", { name: "Open all" }).click();
  assert.equal(await page.locator("#log-lines details:not([open])").count(), 0);
  const line = page.locator("#log-lines .line", { hasText: "Building in /" });
  const number = await line.locator(".no").textContent();
  await line.locator(".no").click();
  await page.waitForURL(`**${build}?log=build&line=${number}#L${number}`);
  await page.getByText(`Line ${number} of `).waitFor();
  const marked = page.locator("#log-lines .line[aria-current]");
  assert.match(await marked.textContent(), /Building in \//);
  assert.equal(await marked.getAttribute("id"), `L${number}`);
  const [box, inside] = [await page.locator("#log-lines").boundingBox(), await marked.boundingBox()];
  assert.ok(inside.y >= box.y && inside.y + inside.height <= box.y + box.height, "the line is in sight");
  await assertSound(page);
  const whole = await request(`${build}/logs/build.log`);
  assert.match(whole.text.split("\n")[number - 1], /Building in \//, "the number is that of the whole file");
  await page.goto(`${base}${build}?log=build&q=Building in`);
  await page.locator("#log-lines .no", { hasText: new RegExp(`^${number}$`) }).click();
  await page.waitForURL(`**${build}?log=build&line=${number}#L${number}`);
  await page.goto(`${base}${build}?log=build&line=99999`);
  await page.getByText("There is no line 99999: this log has ").waitFor();
  await page.goto(`${base}${build}?log=console`);
  assert.notEqual(await page.locator("#log-lines details[open] h3").count(), 0, "a console has sections, too");
});

step("a log or target that is not there is an error that names those that are", async () => {
  const page = await visit("/");
  const wrong = [["log=typo", "expected build, console or agent"], ["log=console&target=typo", "has no target"]];
  for (const [query, says] of wrong) {
    const answer = await page.goto(`${base}${path(good)}?${query}`);
    assert.equal(answer.status(), 404, query);
    await page.getByText(says).waitFor();
    assert.equal((await request(`${path(good)}/events?${query}`)).status, 404, query);
  }
  assert.equal((await page.goto(`${base}${path(good)}?line=0`)).status(), 400);
  // The browser says itself that it was answered 404 and 400.
  page.complaints.length = 0;
  await assertSound(page);
});

step("a failed build says why above the fold", async () => {
  bad = await visit("/");
  await schedule(bad, "broken").getByRole("button", { name: "Build now" }).click();
  await badge(bad, "failed").waitFor({ timeout: BUILD });
  await bad.locator("#why", { hasText: "check_failed" }).waitFor();
  await bad.locator(".failure .evidence", { hasText: "disk (fail)" }).waitFor();
  await bad.evaluate(() => window.scrollTo(0, 0));
  await assertAboveTheFold(bad, "#why");
  await assertAboveTheFold(bad, ".failure .message");
  await assertSound(bad);
  const phone = await visit(path(bad), PHONE);
  await assertAboveTheFold(phone, "#why");
  await assertAboveTheFold(phone, ".failure .message");
});

step("a build is cancelled", async () => {
  await home.goto(`${base}/`);
  await schedule(home, "slow").getByRole("button", { name: "Build now" }).click();
  await home.locator("#cancel summary").click();
  await home.getByText("The build ends now, and everything it made is removed.").waitFor();
  await home.getByRole("button", { name: "Cancel this build" }).click();
  await badge(home, "cancelled").waitFor({ timeout: BUILD });
  await home.locator("#head").getByText(/cancelled by root/).waitFor();
});

step("the schedules begin with what needs attention; tallies, search and order choose", async () => {
  const page = await visit("/");
  const names = () => page.locator("#schedules .schedule :is(h2, h3)").allTextContents();
  assert.deepEqual(await page.locator("#schedules .group h2").allTextContents(), ["Failed", "No attention needed"]);
  assert.deepEqual(await names(), ["broken", "good", "slow"]);
  await schedule(page, "broken").getByText("check_failed: disk").waitFor();
  await page.getByRole("link", { name: "1 needs attention" }).click();
  await page.waitForURL(/show=attention/);
  assert.deepEqual(await names(), ["broken"]);
  await page.getByRole("searchbox").fill("goo");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByText("No schedules match.").waitFor();
  await page.getByRole("link", { name: "Show all" }).click();
  await page.getByLabel("Sort by").selectOption("name");
  await page.getByLabel("Group by").selectOption("none");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.waitForURL(/sort=name&group=none/);
  assert.deepEqual(await names(), ["broken", "good", "slow"]);
});

step("what is not there is a page", async () => {
  const page = await visit("/");
  const answer = await page.goto(`${base}/nothing`);
  assert.equal(answer.status(), 404);
  await page.getByText("There is no page at /nothing.").waitFor();
  // The browser says itself that it was answered 404.
  page.complaints.length = 0;
  await assertSound(page);
});

step("builds are filtered and paged", async () => {
  const page = await visit("/builds");
  assert.equal(await page.locator("#builds tbody tr").count(), 3);
  await page.getByLabel("State").selectOption("failed");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.waitForURL(/state=failed/);
  assert.equal(await page.locator("#builds tbody tr").count(), 1);
  await page.getByRole("link", { name: "Clear" }).click();
  await page.waitForURL(/\/builds$/);
  await page.goto(`${base}/builds?before=${path(bad).split("/")[2]}`);
  assert.equal(await page.locator("#builds tbody tr").count(), 1, "older ones only");
  await page.getByRole("link", { name: "Newest" }).click();
  await page.waitForURL(/\/builds$/);
});

step("two builds are compared", async () => {
  const page = await visit("/builds");
  await page.locator(`input[name=a][value="${path(good).split("/")[2]}"]`).check();
  await page.locator(`input[name=b][value="${path(bad).split("/")[2]}"]`).check();
  await page.getByRole("button", { name: "Compare" }).click();
  await page.waitForURL(/\/compare\?/);
  const row = (name) => page.locator("tr", { has: page.getByRole("rowheader", { name, exact: true }) });
  assert.match(await row("state").textContent(), /succeeded.*failed.*differs/);
  assert.match(await row("disk").last().textContent(), /pass.*fail.*differs/);
  assert.match(await row("nginx").textContent(), /1\.22\.1-9.*removed/);
});

step("trends are drawn, with values where the pointer rests", async () => {
  const page = await visit("/schedules/good");
  assert.match(await page.locator(".key-figures dd").first().textContent(), /100%/);
  const chart = (title) => page.locator(".chart-box", { hasText: title });
  for (const [title, value] of [
    ["Builds by verdict", /passed/], ["Stage durations", /build \S.* boot /],
    ["Image size", /MiB/], ["Boot time", / s$/],
  ]) {
    await chart(title).locator(".hit").first().hover();
    assert.match(await chart(title).locator(".readout").textContent(), value, title);
  }
  assert.match(await page.locator("#trends svg title").first().textContent(), / UTC: passed$/);
  assert.match(await chart("Image size").locator("svg text").first().textContent(), /MiB/, "an axis with its unit");
});

step("a schedule is paused and resumed", async () => {
  const page = await visit("/schedules/good");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator("#head .badge", { hasText: "paused" }).waitFor();
  await page.getByText("Paused since").waitFor();
  await home.goto(`${base}/`);
  await schedule(home, "good").getByText("paused").waitFor();
  await schedule(home, "good").getByRole("button", { name: "Resume" }).click();
  await schedule(home, "good").getByText(/next in/).waitFor();
});

step("every page is sound, on a desktop in light and on a phone in dark", async () => {
  const compare = `/compare?a=${path(good).split("/")[2]}&b=${path(bad).split("/")[2]}`;
  const phone = ["/", "/builds", "/images", "/schedules/good", path(good), `${path(bad)}?log=agent`, `${path(good)}?q=completed`, compare];
  // What is left of the desktop: the others were looked at above.
  const desktop = ["/builds", "/images", "/schedules/good", compare];
  for (const [options, pages] of [[DESKTOP, desktop], [PHONE, phone]]) {
    const page = await visit("/", options);
    for (const address of pages) {
      await page.goto(base + address);
      await assertSound(page);
    }
    await page.context().close();
  }
});

step("pages read and act without JavaScript", async () => {
  const page = await visit(`${path(bad)}?log=build`, { ...DESKTOP, javaScriptEnabled: false });
  await page.getByText("check_failed").first().waitFor();
  assert.ok(await page.locator("#log-lines .line").count() > 5);
  await page.getByRole("link", { name: "Open all" }).click();
  await page.waitForURL(/open=all/);
  assert.equal(await page.locator("#log-lines details:not([open])").count(), 0);
  assert.match(await page.locator("#head time").first().textContent(), /UTC$/);
  assert.match(await page.locator("#log").textContent(), /times in UTC/);
  const lineAt = page.locator("#log-lines .at").first();
  const [hour, rest] = (await lineAt.textContent()).split(/:(.*)/);
  await page.getByLabel("Another time zone").fill("Asia/Tokyo");
  await page.getByRole("button", { name: "Change the time zone" }).click();
  assert.match(await page.locator("#head time").first().textContent(), /JST$/);
  assert.match(await page.locator("#log").textContent(), /times in Asia\/Tokyo/);
  assert.equal(await lineAt.textContent(), `${String((Number(hour) + 9) % 24).padStart(2, "0")}:${rest}`);
  await page.goto(`${base}/schedules/good`);
  assert.match(await page.locator("#trends svg title").first().textContent(), / JST: passed$/);
  assert.match(await page.locator(".strip a").first().getAttribute("title"), / JST$/);
  for (const time of await page.locator("time").all()) assert.match(await time.textContent(), / JST$/);
  await page.goto(`${base}/?show=attention`);
  assert.deepEqual(await page.locator("#schedules h2").allTextContents(), ["broken"]);
  await page.goto(`${base}/`);
  await schedule(page, "good").getByRole("button", { name: "Pause" }).click();
  await schedule(page, "good").getByRole("button", { name: "Resume" }).click();
  await schedule(page, "good").getByRole("button", { name: "Pause" }).waitFor();
});

step("programs trigger builds by form and by JSON", async () => {
  const json = { "content-type": "application/json" };
  const post = (body, headers) => request("/build", { method: "POST", headers, body });
  const missing = await post('{"schedule": "nothing"}', json);
  assert.equal(missing.status, 404);
  assert.match(JSON.parse(missing.text).error, /nothing/);
  assert.equal((await post('{"schedul": "slow"}', json)).status, 400);
  assert.equal((await post("slow", { "content-type": "text/plain" })).status, 415);
  const accepted = await post('{"schedule": "slow"}', json);
  assert.equal(accepted.status, 202);
  const { id, page } = JSON.parse(accepted.text);
  assert.equal(accepted.headers.location, page);
  assert.equal((await post('{"schedule": "slow"}', json)).status, 409, "one at a time");
  const form = await post("schedule=slow", { "content-type": "application/x-www-form-urlencoded" });
  assert.deepEqual([form.status, form.headers.location], [303, page], "a form leads to the build's page");
  assert.equal((await request(`/builds/${id}/cancel`, { method: "POST" })).status, 303);
});

step("another site can neither act here nor read by a name that it points here", async () => {
  const elsewhere = http.createServer((_, answer) => {
    answer.setHeader("content-type", "text/html");
    answer.end(`<form method="post" action="${base}/schedules/good/pause"><button>Win a prize</button></form>`);
  });
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const page = await visit("/");
  await page.goto(`http://localhost:${elsewhere.address().port}/`);
  await page.getByRole("button").click();
  await page.getByText("the request comes from a page of another site").waitFor();
  elsewhere.close();
  elsewhere.closeAllConnections();
  const answer = await page.goto(`http://${REBOUND}:${port}/`);
  assert.equal(answer.status(), 403);
  await page.goto(`${base}/`);
  await schedule(page, "good").getByRole("button", { name: "Pause" }).waitFor();
});

step("nobody's console had anything to say", async () => {
  for (const page of [home, good, serial, bad]) assert.deepEqual(page.complaints, []);
});

await run();
