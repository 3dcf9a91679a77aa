/**
 * The pages in a real browser, against a running server on which a drill has just run.
 *
 * SKOPOS_URL, SKOPOS_KEY_FILE; SKOPOS_SHOTS: folder for pictures; CHROMIUM: path of the browser.
 * First the 3 a.m. path by clicks alone, then every page in both themes at 1440 and 390 px: no console error, no
 * violation of the content security policy, no accessibility violation.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const BASE = process.env.SKOPOS_URL ?? 'http://127.0.0.1:4000';
const SHOTS = process.env.SKOPOS_SHOTS;
const KEY = process.env.SKOPOS_KEY_FILE ? readFileSync(process.env.SKOPOS_KEY_FILE, 'utf8').trim() : '';
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WAIT = 20_000;

if (SHOTS) mkdirSync(SHOTS, { recursive: true });
const failures = [];
let passed = 0;
const check = (ok, what) => {
  if (ok) passed += 1;
  else {
    failures.push(what);
    console.log(`✕ ${what}`);
  }
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A page that remembers what went wrong in it. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: 'dark', bypassCSP: false, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (m) => { if (m.type() === 'error' || /Content Security Policy/.test(m.text())) wrong.push(m.text()); });
  page.on('pageerror', (e) => wrong.push(String(e)));
  return { context, page, wrong };
}

const api = async (path) => (await fetch(`${BASE}${path}`)).json();

/** Waits until nothing is loading. */
async function settled(page) {
  await page.waitForLoadState('load');
  // Not waitForFunction: it evaluates strings in the page, which the content security policy refuses.
  for (const until = Date.now() + WAIT, quiet = { since: 0 }; Date.now() < until; await page.waitForTimeout(50)) {
    if ((await page.locator('[aria-busy="true"], .progress').count()) > 0) quiet.since = 0;
    else if (quiet.since === 0) quiet.since = Date.now();
    else if (Date.now() - quiet.since >= 250) break;
  }
}

async function axe(page, name) {
  // Evaluated through the debugger: a script tag would (rightly) be refused by the content security policy.
  await page.evaluate(`${AXE};0`).catch(() => {});
  const found = await page.evaluate(() => (window.axe ? window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }) : null)).catch(() => null);
  for (const v of found?.violations ?? []) check(false, `${name}: accessibility: ${v.id}: ${v.help} (${v.nodes.slice(0, 2).map((n) => n.html.slice(0, 120)).join(' | ')})`);
  check(found !== null, `${name}: accessibility was checked`);
}

// --- the 3 a.m. path, by clicks alone ---------------------------------------------------------------------------
const drills = (await api('/v1/drills')).drills;
const drill = drills.find((d) => d.scenario === 'orders-error-10pct') ?? drills[0];
check(Boolean(drill), 'a drill has run');
{
  const { context, page, wrong } = await open();
  const path = [];
  const at = async (what, pattern) => {
    await page.waitForURL(pattern, { timeout: WAIT }).catch(() => {});
    await settled(page);
    path.push(what);
    check(pattern.test(page.url()), `3 a.m. path: ${what} (at ${page.url()})`);
    check((await page.locator('[role=alert].error-box').count()) === 0, `3 a.m. path: ${what} shows no error`);
  };
  const click = async (locator, what) => {
    const ok = await locator.first().click({ timeout: WAIT }).then(() => true, () => false);
    check(ok, `3 a.m. path: click ${what}`);
  };
  // Whoever is paged opens the link in the message, which leads to the alert.
  const report = await api(`/v1/drills/${drill?.id}`);
  await page.goto(`${BASE}/drills/${drill?.id}?from=-30m&to=now`);
  await settled(page);
  await click(page.getByTestId('drill-alert'), 'the alert');
  await at('alert', /\/alerts\/[0-9a-f]{16}/);
  await click(page.getByTestId('slo-link'), 'SLO');
  await at('SLO', /\/slos\/[^/]+/);
  await click(page.getByTestId('slo-metric'), 'metric');
  await at('metric', /\/explore\/metrics/);
  const viaMetric = await page.getByTestId('exemplar').first().click({ timeout: 6_000 }).then(() => true, () => false);
  if (!viaMetric) {
    // A metric without exemplars: the service's latency chart has them.
    await page.goBack();
    await settled(page);
    await click(page.getByRole('link', { name: /^Service / }), 'service');
    await settled(page);
    await click(page.getByTestId('exemplar'), 'exemplar trace');
  }
  await at('exemplar trace', /\/traces\/[0-9a-f]{32}/);
  await click(page.getByTestId('trace-logs'), 'logs of the trace');
  await at('logs', /tab=logs/);
  check((await page.locator('.lrow').count()) > 0, '3 a.m. path: the trace has log lines');
  await click(page.getByTestId('runbook-link'), 'runbook');
  await at('runbook', /\/runbooks\/[^/?]+/);
  check(/[?&]from=-30m(&|$)/.test(page.url()), `3 a.m. path: the range is kept (${page.url()})`);
  check(wrong.length === 0, `3 a.m. path: console is clean: ${wrong.slice(0, 3).join(' | ')}`);
  // A run is recorded, so the server asks once for the key; after signing in the step goes on by itself.
  const verify = page.locator('.step').filter({ hasText: 'verify' }).first();
  await verify.getByRole('button', { name: 'Run' }).click({ timeout: WAIT }).catch(() => {});
  const verdict = verify.locator('.st');
  const form = page.locator('.sign-in');
  await verdict.or(form).first().waitFor({ timeout: WAIT }).catch(() => {});
  if (KEY && (await form.count()) > 0) {
    await form.locator('input').fill(KEY);
    await form.getByRole('button', { name: 'Sign in' }).click();
    await verdict.first().waitFor({ timeout: WAIT }).catch(() => {});
  }
  check((await verdict.count()) > 0 || (!KEY && (await form.count()) > 0), 'runbook: a verify step gives a verdict');
  // The browser itself notes the refused call; nothing else may be in the console.
  const other = wrong.filter((text) => !/status of 401/.test(text));
  check(other.length === 0, `runbook: console is clean: ${other.slice(0, 3).join(' | ')}`);
  check(report.outcome === 'passed', `the drill passed (${report.outcome})`);
  console.log(`3 a.m. path: ${path.join(' → ')}`);
  await context.close();
}

// --- a copied link reproduces the page; Back undoes a zoom -------------------------------------------------------
{
  const { context, page } = await open();
  await page.goto(`${BASE}/logs?q=level%3Aerror&from=-1h&to=now`);
  await settled(page);
  const first = await page.locator('.query-field input').inputValue().catch(() => '');
  await page.reload();
  await settled(page);
  check(first === 'level:error' && (await page.locator('.query-field input').inputValue()) === first, 'reload reproduces the query');
  await page.locator('.range-btn').click();
  await page.getByRole('button', { name: 'Last 15 minutes' }).click();
  await page.waitForURL(/from=-15m/);
  await page.goBack();
  check(/from=-1h/.test(page.url()), 'Back undoes a change of range');
  await page.goto(`${BASE}/logs?q=level%3A%28`);
  await settled(page);
  check((await page.locator('.query-error').count()) === 1, 'a bad query is marked where it is');
  await page.keyboard.press('Escape');
  await page.locator('h1').click();
  await page.keyboard.press('Control+k');
  check((await page.getByRole('combobox').count()) === 1, 'the palette opens by key');
  await context.close();
}

// --- metrics: a metric is picked, broken down, filtered and compared without a query ------------------------------
{
  const { context, page, wrong } = await open();
  await page.goto(`${BASE}/explore/metrics?from=-30m&to=now`);
  await settled(page);
  await page.getByRole('textbox', { name: 'Filter metrics' }).fill('http_requests_total');
  await page.locator('.metric-list button').filter({ hasText: 'counter' }).first().click({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check((await page.getByTestId('built').innerText()).includes('sum(rate(http_requests_total['), 'metrics: a counter is shown as a rate');
  await page.getByTestId('labels').getByRole('button', { name: 'route' }).click({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check(/[?&]by=route/.test(page.url()) && (await page.getByTestId('values').locator('tbody tr').count()) > 0, 'metrics: a label breaks it down, with its values');
  await page.getByTestId('values').getByRole('button', { name: 'only this' }).first().click({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check((await page.getByTestId('built').innerText()).includes('{route="'), 'metrics: a value becomes a filter');
  await page.getByTestId('cmp').selectOption('1w');
  await page.getByRole('button', { name: 'Explain' }).click();
  await settled(page);
  check(/rate\(http_requests_total/.test(await page.getByTestId('explain').innerText()), 'metrics: explain says what was read');
  await page.getByRole('button', { name: 'Edit as PromQL' }).click();
  await settled(page);
  check(/mode=promql/.test(page.url()) && (await page.locator('.cm-content').innerText()).includes('sum by (route)'), 'metrics: the query goes on as PromQL');
  check(wrong.length === 0, `metrics: console is clean: ${wrong.slice(0, 2).join(' | ')}`);
  await page.goto(`${BASE}/explore/metrics?from=-30m&expr=sum(rate(up%5B1m%5D)`);
  await settled(page);
  check((await page.locator('.cm-lintRange-error').count()) > 0 && (await page.locator('.error-box').count()) === 1, 'metrics: an error is marked where it is');
  await context.close();
}

// --- cardinality: how many series, of which metric, by which label -------------------------------------------------
{
  const { context, page, wrong } = await open();
  await page.goto(`${BASE}/explore/metrics?from=-30m&to=now`);
  await settled(page);
  await page.getByRole('link', { name: 'Cardinality' }).click({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check((await page.getByText('No new series is refused').count()) + (await page.getByTestId('flood').count()) > 0, 'cardinality: it says what is refused');
  await page.getByRole('tab', { name: 'Metrics' }).click();
  await settled(page);
  await page.getByRole('link', { name: 'http_server_request_duration_seconds_bucket' }).first().click({ timeout: WAIT }).catch(() => {});
  check(/explore\/metrics\?.*metric=http_server_request_duration_seconds/.test(page.url()), `cardinality: a metric leads to its page (${page.url()})`);
  check(wrong.length === 0, `cardinality: console is clean: ${wrong.slice(0, 2).join(' | ')}`);
  await context.close();
}

// --- dashboards: one that makes itself, its variables, a picture, a stored copy with versions, Grafana's -----------
{
  const { context, page, wrong } = await open();
  await page.goto(`${BASE}/dashboards?from=-30m&to=now`);
  await settled(page);
  await page.getByRole('link', { name: 'Overview: golden signals' }).click({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check((await page.locator('[data-panel] .stat .v').count()) === 4 && (await page.locator('[data-panel] canvas').count()) > 0, 'dashboards: golden signals show numbers and charts');
  await page.locator('[data-variable="service"]').click();
  await page.getByRole('option', { name: 'orders-api' }).click({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check(/var\.service=orders-api/.test(page.url()), 'dashboards: a variable stands in the address');
  await page.reload();
  await settled(page);
  check(/orders-api/.test(await page.locator('[data-variable="service"]').innerText()), 'dashboards: a reload keeps the variable');
  const svg = await fetch(`${BASE}/v1/dashboards/golden-signals/panels/traffic-by-service.svg?from=-30m`);
  const png = await fetch(`${BASE}/v1/dashboards/golden-signals/panels/traffic-by-service.png?from=-30m&scale=2&theme=dark`);
  const pixels = new DataView(await png.arrayBuffer());
  check(png.headers.get('content-type') === 'image/png' && pixels.getUint32(16) === 1600 && pixels.getUint32(20) === 600 && pixels.byteLength > 5_000, 'dashboards: a panel is a PNG of the size that is asked for');
  check(svg.headers.get('content-type')?.startsWith('image/svg+xml') && (await svg.text()).includes('<path d="M'), 'dashboards: a panel is a picture by its address');
  check(wrong.length === 0, `dashboards: console is clean: ${wrong.slice(0, 2).join(' | ')}`);
  if (KEY) {
    const signIn = async () => {
      const form = page.locator('.sign-in');
      await form.waitFor({ timeout: 3_000 }).catch(() => {});
      if ((await form.count()) === 0) return;
      await form.locator('input').fill(KEY);
      await form.getByRole('button', { name: 'Sign in' }).click();
      await form.waitFor({ state: 'detached', timeout: WAIT }).catch(() => {});
    };
    const grafana = { title: 'E2E import', panels: [
      { type: 'timeseries', title: 'Rate', gridPos: { x: 0, y: 0, w: 12, h: 8 }, targets: [{ refId: 'A', expr: 'sum(rate(http_requests_total[1m]))' }] },
      { type: 'nodeGraph', title: 'Map', gridPos: { x: 12, y: 0, w: 12, h: 8 } },
    ] };
    await page.goto(`${BASE}/dashboards`);
    await settled(page);
    await page.locator('input[type=file]').setInputFiles({ name: 'grafana.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(grafana)) });
    await signIn();
    const report = page.getByTestId('import-report');
    await report.getByText('unsupported', { exact: false }).first().waitFor({ timeout: WAIT }).catch(() => {});
    check(/1 panels converted/.test(await report.innerText()) && /Map/.test(await report.innerText()), 'dashboards: the import reports panel by panel');
    await report.getByRole('button', { name: /^Store as/ }).click({ timeout: WAIT }).catch(() => {});
    await page.waitForURL(/\/dashboards\/e2e-import/, { timeout: WAIT }).catch(() => {});
    await settled(page);
    check((await page.locator('[data-panel="rate"] canvas').count()) > 0 && /Not imported/.test(await page.locator('[data-panel="map"]').innerText()), 'dashboards: what was imported is shown, a note stands for the rest');
    await page.getByRole('tab', { name: 'Source' }).click();
    const source = page.getByRole('textbox', { name: 'Document' });
    await source.fill((await source.inputValue()).replace('"Rate"', '"Rate of requests"'));
    await page.getByRole('button', { name: 'Store' }).click();
    await page.getByText(/Stored as version/).waitFor({ timeout: WAIT }).catch(() => {});
    await source.fill('{"kind": "Dashboard"}');
    await page.getByRole('button', { name: 'Check' }).click();
    await page.locator('.error-box').waitFor({ timeout: WAIT }).catch(() => {});
    check(/metadata/.test(await page.locator('.error-box').innerText().catch(() => '')), 'dashboards: a wrong document is refused with its key');
    await page.getByRole('tab', { name: 'Versions' }).click();
    await settled(page);
    check((await page.locator('.diff .add').count()) > 0, 'dashboards: versions show what changed');
    await page.getByRole('button', { name: 'Restore' }).last().click({ timeout: WAIT }).catch(() => {});
    await page.getByText(/restored/).first().waitFor({ timeout: WAIT }).catch(() => {});
    check((await page.getByText(/version \d+ restored/).count()) > 0, 'dashboards: a version is restored');
  }
  await context.close();
}

// --- a rule is written and tried on the past while it is typed ----------------------------------------------------
{
  const { context, page, wrong } = await open();
  await page.goto(`${BASE}/alerts?tab=rules&from=-30m&to=now`);
  await settled(page);
  check((await page.getByRole('link', { name: /^Edit a copy of / }).count()) > 0, 'rules: each rule can be copied');
  await page.getByTestId('new-rule').click();
  await page.getByTestId('rule-name').fill('Busy');
  const expr = page.locator('.rule-expr .cm-content');
  await expr.waitFor({ timeout: WAIT });
  await expr.click();
  await page.keyboard.type('sum(rate(http_requests_total[1m])) > 0', { delay: 5 });
  const verdict = page.getByTestId('verdict');
  await verdict.waitFor({ timeout: WAIT }).catch(() => {});
  await settled(page);
  check(/fires|too often/.test(await verdict.innerText().catch(() => '')), `rules: it says that it would have fired (${await verdict.innerText().catch(() => 'nothing')})`);
  check((await page.locator('.rule-outcome canvas').count()) > 0 && (await page.getByTestId('lanes').locator('.lane').count()) > 0 && (await page.getByTestId('episodes').locator('tbody tr').count()) > 0 && (await page.getByTestId('choices').locator('tbody tr').count()) >= 8, 'rules: values, alerts over time, the list and other values of `for` are there');
  check(/name=Busy/.test(page.url()) && /expr=/.test(page.url()), 'rules: the rule stands in the address');
  await page.getByRole('button', { name: 'Add a label' }).click();
  await page.getByLabel('Labels 1: value').fill('page');
  await page.getByTestId('findings').getByText(/no runbook/).waitFor({ timeout: WAIT }).catch(() => {});
  check(/no runbook/.test(await page.getByTestId('findings').innerText()), 'rules: lint says what a page lacks');
  await expr.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type(' +');
  await page.locator('.rule-expr .t-crit').waitFor({ timeout: WAIT }).catch(() => {});
  check((await page.locator('.rule-expr .t-crit').count()) > 0 && (await page.locator('.cm-lintRange-error').count()) > 0, 'rules: an error is marked where it is');
  // `> 0 +` becomes `> 1e12`.
  for (let i = 0; i < 4; i++) await page.keyboard.press('Backspace');
  await page.keyboard.type(' 1e12');
  await page.locator('[data-testid="verdict"][data-word="never fired"]').waitFor({ timeout: WAIT }).catch(() => {});
  check(/nearest it came/.test(await verdict.innerText().catch(() => '')), 'rules: one that never fired says how near it came');
  await page.getByRole('button', { name: 'YAML', exact: true }).click();
  await page.locator('.cm-box.yaml .cm-content').waitFor({ timeout: WAIT }).catch(() => {});
  check(/- alert: Busy/.test(await page.locator('.cm-box.yaml .cm-content').innerText().catch(() => '')), 'rules: the same rule as YAML');
  await settled(page);
  await page.getByRole('button', { name: 'Fields', exact: true }).click();
  check((await page.getByTestId('rule-name').inputValue()) === 'Busy', 'rules: and back in fields');
  check(wrong.length === 0, `rules: console is clean: ${wrong.slice(0, 2).join(' | ')}`);
  await context.close();
}

// --- every page, both themes, two widths -------------------------------------------------------------------------
const trace = (await api('/v1/traces?from=-1h&limit=1&q=service:orders-api')).traces?.[0]?.trace_id;
const slo = (await api('/v1/slos')).slos?.[0]?.id;
const alert = (await api('/v1/alerts')).alerts?.[0]?.fingerprint;
const runbook = (await api('/v1/runbooks')).runbooks?.[0]?.id;
const pages = [
  ['overview', '/'], ['services', '/services'], ['service', '/services/orders-api'], ['logs', '/logs'], ['traces', '/traces'], trace && ['trace', `/traces/${trace}`],
  ['metric', '/explore/metrics?metric=http_server_request_duration_seconds&by=http_route'],
  ['metrics', '/explore/metrics?expr=sum%20by%20(route)%20(rate(http_requests_total%5B1m%5D))'], ['cardinality', '/explore/cardinality'], ['cardinality-metrics', '/explore/cardinality?tab=metrics'], ['cardinality-labels', '/explore/cardinality?tab=labels'], ['cardinality-sources', '/explore/cardinality?tab=sources'], ['sql', '/explore/sql?query=SELECT%20service_name%2C%20count(*)%20FROM%20logs%20GROUP%20BY%201'],
  ['dashboards', '/dashboards'], ['golden-signals', '/dashboards/golden-signals'], ['dependencies', '/dashboards/dependencies'], ['dashboard-source', '/dashboards/golden-signals?tab=source'],
  ['slos', '/slos'], slo && ['slo', `/slos/${slo}`], ['alerts', '/alerts'], ['rules', '/alerts?tab=rules'], ['rule-new', '/rules/edit'], ['rule', '/rules/edit?name=Busy&expr=sum%20by%20(route)%20(rate(http_requests_total%5B1m%5D))%20%3E%200.1&label.severity=page'], ['rule-yaml', '/rules/edit?yaml=groups%3A%0A-%20name%3A%20a%0A%20%20rules%3A%0A%20%20-%20alert%3A%20A%0A%20%20%20%20exp%3A%20up%0A'], alert && ['alert', `/alerts/${alert}`],
  ['runbooks', '/runbooks'], runbook && ['runbook', `/runbooks/${runbook}`], ['drills', '/drills'], drill && ['drill', `/drills/${drill.id}`], ['status', '/status'],
].filter(Boolean);
for (const scheme of ['dark', 'light']) {
  for (const width of [1440, 390]) {
    const { context, page, wrong } = await open({ colorScheme: scheme, viewport: { width, height: width === 390 ? 844 : 900 } });
    for (const [name, path] of pages) {
      const label = `${name} ${scheme} ${width}`;
      wrong.length = 0;
      await page.goto(`${BASE}${path}${path.includes('?') ? '&' : '?'}from=-30m&to=now`);
      await settled(page);
      check((await page.locator('[role=alert].error-box').count()) === 0, `${label}: shows no error`);
      check(wrong.length === 0, `${label}: console is clean: ${wrong.slice(0, 2).join(' | ')}`);
      // The page itself scrolls in <main>; a wide table may scroll in its own panel.
      const overflow = await page.evaluate(() => Math.max(document.documentElement.scrollWidth - window.innerWidth, ...[...document.querySelectorAll('main')].map((m) => m.scrollWidth - m.clientWidth)));
      check(overflow <= 1, `${label}: does not scroll sideways (${overflow} px)`);
      if (SHOTS) await page.screenshot({ path: join(SHOTS, `${name}-${scheme}-${width}.png`) });
      await axe(page, label);
    }
    await context.close();
  }
}

// --- a mitigation needs the key and a typed confirmation ---------------------------------------------------------
if (runbook && KEY) {
  const { context, page } = await open({ viewport: { width: 390, height: 844 } });
  await page.goto(`${BASE}/runbooks/orders-api-slo-burn`);
  await settled(page);
  await page.getByRole('button', { name: /Mitigate…/ }).first().click({ timeout: WAIT }).catch(() => {});
  const input = page.getByLabel(/to confirm$/);
  const word = (await input.getAttribute('aria-label').catch(() => ''))?.replace(/^Type (.*) to confirm$/, '$1') ?? '';
  await input.fill('wrong').catch(() => {});
  check(await page.getByRole('button', { name: `Run ${word}` }).isDisabled().catch(() => false), 'a mitigation waits for the typed confirmation');
  await input.fill(word).catch(() => {});
  await page.getByRole('button', { name: `Run ${word}` }).click({ timeout: WAIT }).catch(() => {});
  const signIn = page.locator('.sign-in');
  await signIn.waitFor({ timeout: WAIT }).catch(() => {});
  check((await signIn.count()) > 0, 'a mitigation asks for the key');
  await context.close();
}

await browser.close();
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
