'use strict';
// Opens a page in headless Chromium and prints what it logs: node browser.js URL.

const { chromium } = require('playwright-core');

async function main() {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update',
      '--disable-sync',
    ],
  });
  const page = await browser.newPage();
  page.on('console', (message) => console.log(message.text()));
  page.on('pageerror', (err) => console.log(JSON.stringify({ failed: err.message })));
  await page.goto(process.argv[2]);
  process.stdin.resume();
  process.stdin.on('end', () => browser.close().then(() => process.exit(0)));
}

main().catch((err) => {
  console.log(JSON.stringify({ failed: err.message }));
  process.exit(1);
});
