// Drives Chromium for tests/e2e/test_console.py: one command a line as JSON, one answer a line.
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const [executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
// The browser itself reports the refusal of a card or of an answer that is not valid.
const NOT_VALID = /^Failed to load resource: .* status of (400|422)/;
let page, said;

const commands = {
  async open({ url, scheme, width, height }) {
    if (page) await page.context().close();
    const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, reducedMotion: 'reduce' });
    page = await context.newPage();
    page.setDefaultTimeout(20000);
    said = [];
    page.on('console', (message) => { if (message.type() === 'error' && !NOT_VALID.test(message.text())) said.push(message.text()); });
    page.on('pageerror', (error) => said.push(String(error.stack)));
    await page.goto(url);
  },
  go: ({ url }) => page.goto(url).then(() => {}),
  reload: () => page.reload().then(() => {}),
  fill: ({ label, text }) => page.getByLabel(label, { exact: true }).fill(text),
  press: ({ key }) => page.keyboard.press(key),
  click: ({ role, name, within }) => (within ? page.locator(within) : page).getByRole(role, { name, exact: true }).first().click(),
  see: ({ text, timeout }) => page.getByText(text).filter({ visible: true }).first().waitFor({ timeout }),
  text: ({ css }) => page.locator(css).first().innerText(),
  select: ({ label, value }) => page.getByLabel(label, { exact: true }).selectOption(value).then(() => {}),
  value: ({ label }) => page.getByLabel(label, { exact: true }).first().inputValue(),
  has_focus: ({ label }) => page.getByLabel(label, { exact: true }).first().evaluate((element) => element === document.activeElement),
  hears: ({ path }) => page.waitForResponse((answer) => answer.url().endsWith(path)).then(() => {}),
  url: () => page.url(),
  shoot: ({ path }) => page.screenshot({ path }).then(() => {}),
  errors: () => said.splice(0),
  paint: () => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime),
  bytes: () => page.evaluate(() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).filter((one) => one.name.includes('/api/console')).reduce((sum, one) => sum + one.decodedBodySize, 0)),
  async axe() {
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    return found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`);
  },
  async fits({ text }) { // without scrolling to the side
    const box = await page.getByText(text).filter({ visible: true }).first().boundingBox();
    return box.x >= 0 && box.x + box.width <= page.viewportSize().width;
  },
  wide: () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth),
};

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ value: (await commands[command](given)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message) }));
  }
}
await browser.close();
