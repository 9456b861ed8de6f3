// Approvals and questions, dead letters, usage and health.
import {
  API, announceChange, button, call, confirm, empty, facts, h, heading, list, number, pill, pretty, repeat, replace, short, svg, table, toast, when,
} from './core.js';
import { approvalBox, questionBox } from './asks.js';

const REFRESH_SECONDS = 5;

// Approvals and questions

export async function approvalsView(main, { signal }) {
  const place = h('div', {});
  replace(main, heading('Approvals', { path: `${API}/approvals`, actions: [] }),
    h('p', { class: 'lead' }, 'Tool calls that wait for your decision, and questions of tools. The oldest comes first.'), place);
  const nothing = empty('Nothing waits for you.', h('p', {}, 'A call waits here when a card grants its tool with ', h('code', {}, '"approval": "always"'), '.'));
  const kept = new Map(); // what stays keeps its element, so that nobody loses what they type
  const show = async () => {
    const [approvals, questions] = await Promise.all([list(`${API}/approvals`, { signal }), list(`${API}/questions`, { signal })]);
    const items = new Map([...approvals.map((item) => [item.run_id + item.tool_call_id, [item, approvalBox]]), ...questions.map((item) => [item.question_id, [item, questionBox]])]);
    for (const [key, element] of kept) if (!items.has(key)) { element.remove(); kept.delete(key); }
    if (items.size) nothing.remove(); else place.append(nothing);
    for (const [key, [item, box]] of items) {
      if (!kept.has(key)) { kept.set(key, entry(item, box)); place.append(kept.get(key)); }
    }
  };
  const entry = (item, box) => h('article', {}, h('h2', {}, h('a', { href: `#/agents/${item.agent_id}` }, item.agent_id), h('span', { class: 'quiet small' }, ' asked ', when(item.requested_at), ' · ',
    h('a', { href: `#/runs/${item.run_id}` }, `run ${short(item.run_id)}`), ' · ', h('a', { href: `#/chat/${item.agent_id}/${encodeURIComponent(item.conversation_id)}` }, 'conversation'))), box(item, show));
  await show();
  repeat(show, REFRESH_SECONDS, signal);
}

// Dead letters

export async function deadLettersView(main, { signal }) {
  const place = h('div', {});
  replace(main, heading('Dead letters', { path: `${API}/dead-letters` }),
    h('p', { class: 'lead' }, 'Messages that a queue gave up. Replay sends one again; purge deletes it for good.'), place);
  const show = async () => {
    const items = await list(`${API}/dead-letters`, { most: 200, signal });
    replace(place, items.length ? items.map((item) => letter(item, show)) : empty('There is no dead letter.', h('p', {}, 'AOS has given up no message. There is nothing to do.')));
  };
  await show();
}

function letter(item, show) {
  const name = `${item.entity} ${item.sequence_number}`;
  const replay = async () => {
    const done = await call(`${API}/dead-letters/replay`, { method: 'POST', body: { entity: item.entity, sequence_number: item.sequence_number } });
    const run = done && (done.replay_run_id || done.run_id);
    toast(run ? `Replayed: run ${short(run)}` : 'Replayed');
    announceChange();
    await show();
  };
  const purge = async () => {
    if (!(await confirm('Purge this dead letter?', 'It cannot be brought back.', 'Purge it'))) return;
    const query = new URLSearchParams({ entity: item.entity, sequence_number: item.sequence_number });
    await call(`${API}/dead-letters?${query}`, { method: 'DELETE' });
    toast('Purged');
    announceChange();
    await show();
  };
  return h('article', { class: 'box', 'aria-label': `Dead letter ${name}` },
    h('div', { class: 'head' }, h('h2', {}, pill(item.reason, 'bad'), ' in ', h('code', {}, item.entity)),
      h('div', { class: 'actions' }, button('Replay', replay, { class: 'main', 'aria-label': `Replay ${name}` }), button('Purge', purge, { class: 'danger', 'aria-label': `Purge ${name}` }))),
    item.error && h('p', {}, typeof item.error === 'string' ? item.error : [h('code', {}, item.error.code), ' ', item.error.message]),
    item.advice && h('p', {}, h('strong', {}, 'What to do: '), item.advice),
    facts([
      item.run_id && ['Run', h('a', { href: `#/runs/${item.run_id}`, class: 'mono' }, short(item.run_id))],
      ['Given up', when(item.enqueued_at)], ['Deliveries', number(item.delivery_count)], ['Sequence number', item.sequence_number],
      ['Message id', h('span', { class: 'mono small' }, item.message_id)],
    ]));
}

// Usage

const COLORS = 6;

export async function usageView(main, { query, signal }) {
  const days = Number(query.get('days')) || 14;
  const from = new Date(Date.now() - (days - 1) * 86400000).toISOString().slice(0, 10);
  const path = `${API}/usage?from=${from}`;
  const choice = h('select', { 'aria-label': 'Period', onchange: () => { location.hash = `#/usage?days=${choice.value}`; } },
    [7, 14, 30, 90].map((one) => h('option', { value: one, selected: one === days }, `${one} days`)));
  replace(main, heading('Usage', { path, actions: [choice] }), h('p', { class: 'quiet' }, 'Loading …'));
  let found;
  try {
    found = await readUsage(path, signal);
  } catch (error) {
    if (error.status !== 404) throw error;
    found = null;
  }
  if (!found) return replace(main, heading('Usage'), empty('This version does not report usage over HTTP.', h('p', {}, 'Each run shows its own tokens: ', h('a', { href: '#/runs' }, 'Runs'), '.')));
  const { agents, byDay, total, currency } = found;
  const head = heading('Usage', { path, actions: [choice] });
  if (!agents.length) return replace(main, head, empty('No tokens were used in these days.', h('p', {}, h('a', { href: '#/chat' }, 'Ask an agent'), ', then come back.')));
  return replace(main, head, facts([['Tokens', number(total.total_tokens ?? total.input_tokens + total.output_tokens)], ['In', number(total.input_tokens)], ['Out', number(total.output_tokens)], total.cost !== undefined && total.cost !== null && ['Cost', `${total.cost} ${currency || ''}`]]),
    h('h2', {}, 'Tokens by day and agent'), legend(agents), chart(agents, byDay, from, days), h('h2', {}, 'By agent'), usageTable(agents, currency));
}

const tokens = (item) => item.total_tokens ?? (item.input_tokens || 0) + (item.output_tokens || 0);

async function readUsage(path, signal) {
  const whole = await call(`${path}&by=agent&limit=100`, { signal });
  const agents = [...whole.items].sort((a, b) => tokens(b) - tokens(a));
  const shown = agents.slice(0, COLORS);
  const series = await Promise.all(shown.map((item) => call(`${path}&by=day&limit=100&agent_id=${encodeURIComponent(item.key)}`, { signal })));
  const byDay = new Map(shown.map((item, at) => [item.key, new Map(series[at].items.map((one) => [one.key, tokens(one)]))]));
  if (agents.length > COLORS) {
    const all = await call(`${path}&by=day&limit=100`, { signal });
    byDay.set('others', new Map(all.items.map((one) => [one.key, tokens(one) - [...byDay.values()].reduce((sum, each) => sum + (each.get(one.key) || 0), 0)])));
  }
  return { agents, byDay, total: whole.total, currency: whole.currency };
}

const legend = (agents) => h('div', { class: 'legend' }, agents.slice(0, COLORS).map((item, at) => h('span', {}, h('i', { class: `c-${at}` }), item.key)), agents.length > COLORS && h('span', {}, h('i', { class: 'c-6' }), 'others'));

function chart(agents, byDay, from, days) {
  const dates = Array.from({ length: days }, (_, at) => new Date(Date.parse(from) + at * 86400000).toISOString().slice(0, 10));
  const sums = dates.map((day) => [...byDay.values()].reduce((sum, each) => sum + (each.get(day) || 0), 0));
  const most = Math.max(...sums, 1), left = 64, width = 900, height = 220, step = (width - left) / days;
  const marks = [0, 0.5, 1].map((part) => {
    const y = 10 + height * (1 - part);
    return [svg('line', { x1: left, x2: width, y1: y, y2: y }), svg('text', { x: left - 8, y: y + 4, 'text-anchor': 'end' }, number(Math.round(most * part)))];
  });
  const bars = dates.map((day, at) => {
    let y = 10 + height;
    const x = left + at * step + step * 0.15;
    const parts = [...byDay].map(([name, values], color) => {
      const value = values.get(day) || 0, tall = (height * value) / most;
      y -= tall;
      return value > 0 && svg('rect', { class: `c-${color}`, x, y, width: step * 0.7, height: tall }, svg('title', {}, `${day} · ${name}: ${number(value)} tokens`));
    });
    const label = (days <= 14 || at % Math.ceil(days / 12) === 0) && svg('text', { x: x + step * 0.35, y: height + 28, 'text-anchor': 'middle' }, day.slice(5));
    return [parts, label];
  });
  return svg('svg', { class: 'chart', viewBox: `0 0 ${width} ${height + 36}`, role: 'img', 'aria-label': `Tokens by day: ${number(sums.reduce((a, b) => a + b, 0))} in ${days} days, at most ${number(most)} in one day; the table below has them by agent` }, marks, bars);
}

const usageTable = (agents, currency) => table('Usage by agent', [
  { title: 'Agent', class: 'name', cell: (item) => h('a', { href: `#/runs?agent_id=${item.key}` }, item.key) },
  agents.some((item) => item.runs !== undefined) && { title: 'Runs', class: 'num', cell: (item) => number(item.runs) },
  { title: 'Tokens in', class: 'num', cell: (item) => number(item.input_tokens) },
  { title: 'Tokens out', class: 'num', cell: (item) => number(item.output_tokens) },
  currency && { title: `Cost (${currency})`, class: 'num', cell: (item) => item.cost ?? '–' },
].filter((column) => column), agents);

// Health

export async function healthView(main, { signal }) {
  const place = h('div', {});
  const show = async () => {
    const [health, status] = await Promise.all([readHealth(signal), call(`${API}/status`, { signal })]);
    replace(place, checks(health), pauseBox(health, status, show), queues(status), about(status));
  };
  replace(main, heading('Health', { path: `${API}/health` }), place);
  await show();
  repeat(show, REFRESH_SECONDS, signal);
}

// An app that is not healthy answers 503, with its checks.
async function readHealth(signal) {
  const answer = await fetch(`${API}/health`, { signal, cache: 'no-store', headers: { 'x-functions-key': sessionStorage.getItem('aos-key') || '' } });
  const value = await answer.json().catch(() => null);
  return value && value.status ? value : { status: 'unhealthy' };
}

const BESIDE = ['status', 'timestamp', 'paused', 'pause'];

const checks = (health) => [
  facts([['main', pill(health.status)], ...Object.entries(health).filter(([name, value]) => !BESIDE.includes(name) && typeof value === 'string').map(([name, value]) => [name, pill(value, /^(healthy|configured|ready)$/.test(value) ? 'ok' : 'bad')])]),
  Object.entries(health).filter(([name, value]) => !BESIDE.includes(name) && typeof value === 'object' && value).map(([name, value]) => h('div', {}, h('h3', {}, name), h('pre', { tabindex: '0', 'aria-label': name }, pretty(value)))),
  h('p', { class: 'quiet small' }, 'These are main\'s own checks. realm and mcp answer ', h('code', {}, '/api/health'), ' at their own addresses. A queue below that only grows tells that its app is away.'),
];

function pauseBox(health, status, show) {
  const pause = async () => {
    const said = await confirm('Pause AOS?', 'New requests are refused or wait on the queue. What was accepted goes on.', 'Pause', { input: 'Reason (callers read it)' });
    if (!said) return;
    await call(`${API}/ops/pause`, { method: 'POST', body: { reason: said.text } });
    toast('Paused; it holds everywhere within 5 seconds');
    announceChange();
    await show();
  };
  const resume = async () => { await call(`${API}/ops/resume`, { method: 'POST' }); toast('Resumed'); announceChange(); await show(); };
  const { paused, pause: by } = health;
  return h('section', { class: paused ? 'box warn' : 'box' }, h('h2', {}, paused ? 'AOS is paused' : 'AOS admits new requests'),
    by && h('p', {}, by.reason || 'No reason was given.', ' ', h('span', { class: 'quiet' }, 'By ', by.by, ', ', when(by.paused_at))),
    h('p', { class: 'small' }, paused ? 'New requests are refused or wait. Runs that were accepted go on.' : 'A pause refuses new requests and lets accepted runs finish.'),
    paused ? button('Resume', resume, { class: 'main' }) : button('Pause', pause));
}

function queues(status) {
  if (!status.queues) return h('p', { class: 'quiet' }, 'The depths of the queues are for admins, and are known once main has used the bus.');
  return [h('h2', {}, 'Queues'), table('Queues', [
    { title: 'Queue', cell: (row) => h('code', {}, row.entity) },
    { title: 'Waiting', class: 'num', cell: (row) => number(row.active) },
    { title: 'Scheduled', class: 'num', cell: (row) => number(row.scheduled) },
    { title: 'Dead', class: 'num', cell: (row) => (row.dead ? h('a', { href: '#/dead-letters' }, number(row.dead)) : number(row.dead)) },
    { title: 'Problem', cell: (row) => row.error && pill(row.error, 'warn') },
  ], status.queues)];
}

const about = (status) => [h('h2', {}, 'About'), facts([
  ['Version', status.version], ['Environment', status.environment], status.catalog_version !== undefined && ['Catalog version', number(status.catalog_version)],
  status.agents && ['Agents', `${status.agents.active} active, ${status.agents.disabled} disabled, ${status.agents.rejected} rejected`],
  ['API', h('a', { href: `${API}/openapi.json`, target: '_blank', rel: 'noopener' }, 'OpenAPI document')],
])];
