// The dashboard of a manager that asks for an API token (in TOKEN).
import assert from "node:assert/strict";
import { assertSound, base, DESKTOP, PHONE, request, run, step, visit } from "./browser.mjs";

const token = process.env.TOKEN;
const SESSION = "image_manager_session";
let page;

/** Chromium tells the console about each answer of 401; here it is the one that is expected. */
const refused = /status of 401/;

step("without the token there is the login page only", async () => {
  for (const path of ["/", "/builds", "/builds/latest", "/schedules/tiny", "/compare?a=x&b=y", "/events"]) {
    const answer = await request(path, { headers: { accept: "text/html" } });
    assert.deepEqual([answer.status, answer.headers.location.split("?")[0]], [303, "/login"], path);
    const program = await request(path);
    assert.equal(program.status, 401, path);
    assert.match(program.headers["www-authenticate"], /^Bearer/);
  }
  const asks = { method: "POST", headers: { "content-type": "application/json" }, body: '{"schedule": "tiny"}' };
  assert.equal((await request("/build", asks)).status, 401);
  assert.equal((await request("/metrics")).status, 401);
});

step("a wrong token is refused", async () => {
  page = await visit("/builds?state=failed");
  await assertSound(page);
  await page.getByLabel("API token").fill(`${token}x`);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  page.complaints = page.complaints.filter((complaint) => !refused.test(complaint));
  await assertSound(page);
});

step("the token opens the page that was asked for", async () => {
  await page.getByLabel("API token").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL(/\/builds\?state=failed$/);
  await page.getByText("live", { exact: true }).waitFor();
  await assertSound(page);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], [SESSION, true, "Strict"]);
  assert.ok(!cookie.value.includes(token));
});

step("no page holds the token, and all are under a strict policy", async () => {
  for (const path of ["/", "/builds", "/schedules/tiny", "/login"]) {
    const answer = await page.goto(base + path);
    assert.ok(!(await answer.text()).includes(token), path);
    const policy = answer.headers()["content-security-policy"];
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*/);
    assert.equal(answer.headers()["x-content-type-options"], "nosniff");
  }
});

step("a program brings the token, and no other", async () => {
  const as = (bearer) => request("/", { headers: { authorization: `Bearer ${bearer}` } });
  assert.equal((await as(token)).status, 200);
  assert.equal((await as(`${token}x`)).status, 401);
  const forged = { cookie: `${SESSION}=99999999999.${Buffer.from(token).toString("base64url")}` };
  assert.equal((await request("/", { headers: forged })).status, 401);
});

step("who logs out is out", async () => {
  await page.goto(`${base}/`);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(/\/login$/);
  await page.goto(`${base}/builds`);
  await page.getByLabel("API token").waitFor();
});

step("the login page is sound on a phone", async () => {
  for (const options of [PHONE, { ...DESKTOP, colorScheme: "dark" }]) await assertSound(await visit("/login", options));
});

await run();
