// Agents and MCP servers: their state, an editor that checks while one types, versions, rollback.
import {
  API, append, button, call, confirm, empty, h, heading, list, number, pill, problem, problems, replace, short, sleep, table, toast, when,
} from './core.js';

const KINDS = {
  agents: { folder: 'agents', id: 'agent_id', one: 'agent', many: 'Agents',
    template: (id) => ({ agent_id: id, purpose: '' }) },
  'mcp-servers': { folder: 'mcp-servers', id: 'server_id', one: 'MCP server', many: 'MCP servers',
    template: (id) => ({ server_id: id, command: 'npx', args: ['-y', '@modelcontextprotocol/server-everything'] }) },
};
const CHECK_AFTER_MS = 450;

export async function cardsView(main, { view, signal }) {
  const kind = KINDS[view], path = `${API}/${kind.folder}`;
  const [cards, tools] = await Promise.all([list(path, { signal }), readTools(view, signal)]);
  const create = h('a', { class: 'button main', href: `#/${view}/+new` }, `New ${kind.one}`);
  replace(main, heading(kind.many, { path, actions: [create] }), view === 'mcp-servers' && h('p', { class: 'lead' }, 'Servers offer tools. An agent uses them when its card names them in mcp_tools.'),
    cards.length ? cardTable(kind, view, cards, tools) : firstCard(view));
}

async function readTools(view, signal) {
  if (view !== 'mcp-servers') return new Map();
  return new Map((await list(`${API}/tools`, { signal })).map((server) => [server.server_id, server]));
}

const firstCard = (view) => (view === 'agents'
  ? empty('There is no agent yet.', h('p', {}, 'An agent needs an id and a purpose. Everything else has a default.'), h('a', { class: 'button main', href: '#/agents/+new' }, 'Write the first agent'))
  : empty('There is no MCP server yet.', h('p', {}, 'Agents work without one. Add a server to give them tools.'), h('a', { class: 'button main', href: '#/mcp-servers/+new' }, 'Add a server')));

const cardTable = (kind, view, cards, tools) => table(kind.many, [
  { title: 'Id', class: 'name', cell: (card) => h('a', { href: `#/${view}/${card[kind.id]}` }, card[kind.id]) },
  { title: 'Card', class: 'fit', cell: (card) => [pill(card.state), !card.enabled && card.state === 'active' && [' ', pill('disabled')]] },
  view === 'mcp-servers' && { title: 'Server', class: 'fit', cell: (card) => serverState(tools.get(card[kind.id])) },
  view === 'mcp-servers' && { title: 'Tools', class: 'num', cell: (card) => number((tools.get(card[kind.id]) || { tools: [] }).tools.length) },
  { title: 'Live since', class: 'fit', cell: (card) => when(card.activated_at) },
  { title: 'What is wrong', cell: (card) => h('span', { class: 'small' }, tellErrors(card, tools.get(card[kind.id]))) },
  view === 'agents' && { title: 'Chat', class: 'fit', cell: (card) => card.serving_digest && card.enabled && h('a', { href: `#/chat/${card[kind.id]}`, 'aria-label': `Chat with ${card[kind.id]}` }, 'Chat') },
].filter((column) => column), cards);

const serverState = (server) => (server ? pill(server.state, { ready: 'ok', failed: 'bad' }[server.state]) : pill('not seen yet'));

function tellErrors(card, server) {
  const [first] = card.errors, more = card.errors.length - 1;
  if (first) return [first.path && h('code', {}, first.path), ' ', first.message, more > 0 && ` (and ${more} more)`, card.serving_digest && ' · the last valid card serves'];
  if (server && server.error) return server.error;
  return card.warnings.length ? `${card.warnings.length} warning${card.warnings.length > 1 ? 's' : ''}` : '';
}

// One card

export async function cardView(main, context) {
  const { view, parts, signal } = context, kind = KINDS[view];
  const isNew = parts[0] === '+new';
  if (isNew) return newCard(main, kind, view);
  const path = `${API}/${kind.folder}/${encodeURIComponent(parts[0])}`;
  const [card, server] = await Promise.all([call(path, { signal }),
    readTools(view, signal).then((tools) => tools.get(parts[0]))]);
  const state = { kind, view, id: parts[0], path, card, signal, reload: () => cardView(main, context) };
  replace(main, heading(state.id, {
    path, mark: pill(card.state || 'not read yet'), crumb: h('a', { href: `#/${view}` }, kind.many),
    actions: [view === 'agents' && card.state !== 'removed' && h('a', { class: 'button', href: `#/chat/${state.id}` }, 'Chat'),
      view === 'agents' && h('a', { class: 'button', href: `#/runs?agent_id=${state.id}` }, 'Runs'), button('Delete', () => remove(state), { class: 'danger' })],
  }), banner(state), server && serverBox(server), editor(state), h('h2', {}, 'Versions'));
  const versions = h('div', {});
  main.append(versions);
  await showVersions(state, versions);
}

function banner({ card }) {
  if (!card.errors.length) return null;
  return h('section', { class: 'box bad' }, h('h2', {}, 'The card as uploaded was rejected'),
    h('p', {}, card.serving ? 'The last valid version still serves.' : 'Nothing serves under this id.'), problems(card.errors));
}

const serverBox = (server) => h('section', { class: server.error ? 'box bad' : 'box' },
  h('h2', {}, 'Server ', serverState(server)), server.error && h('pre', { tabindex: '0', 'aria-label': 'Error' }, server.error),
  server.tools.length > 0 && h('details', {}, h('summary', {}, `${server.tools.length} tools, listed `, when(server.listed_at)),
    h('ul', {}, server.tools.map((tool) => h('li', {}, h('code', {}, tool.name), ' ', h('span', { class: 'small quiet' }, tool.description.slice(0, 200)),
      tool.left_out && h('div', { class: 'small' }, pill('left out', 'warn'), ' ', tool.left_out),
      (tool.notes || []).map((note) => h('div', { class: 'small quiet' }, note)))))));

const toText = (card) => (typeof card === 'string' ? card : JSON.stringify(card, null, 2));

function newCard(main, kind, view) {
  const id = h('input', { type: 'text', spellcheck: 'false', autocapitalize: 'off', pattern: '[a-z0-9][a-z0-9_-]*' });
  const below = h('div', {});
  const go = (event) => {
    event.preventDefault();
    const name = id.value.trim();
    if (!name) return;
    const path = `${API}/${kind.folder}/${encodeURIComponent(name)}`;
    replace(below, editor({ kind, view, id: name, path, card: { card: kind.template(name), errors: [] }, isNew: true, reload: () => { location.hash = `#/${view}/${name}`; } }));
    below.querySelector('textarea').focus();
  };
  replace(main, heading(`New ${kind.one}`, { crumb: h('a', { href: `#/${view}` }, kind.many) }),
    h('form', { class: 'row', onsubmit: go }, h('label', {}, `Id of the ${kind.one}`, id), h('label', {}, '\u00a0', h('button', { class: 'main' }, 'Write its card'))), below);
  id.focus();
}

function editor(state) {
  const before = toText(state.card.card ?? '');
  const text = h('textarea', { class: 'editor', spellcheck: 'false', autocapitalize: 'off', rows: Math.max(12, before.split('\n').length + 1), id: 'card', 'aria-describedby': 'verdict' });
  text.value = before;
  const verdict = h('div', { id: 'verdict', 'aria-live': 'polite' });
  const save = button(state.isNew ? 'Create' : 'Save', () => saveCard(state, text.value, verdict), { class: 'main' });
  let latest = 0;
  const check = async () => {
    const mine = ++latest;
    save.disabled = true;
    if (!state.isNew && text.value === before) return replace(verdict, h('p', {}, pill('unchanged'), ' ', h('span', { class: 'quiet' }, 'This is the card as uploaded.')), !state.card.errors.length && problems(state.card.warnings, 'warn'));
    replace(verdict, h('p', { class: 'quiet' }, 'Checking …'));
    await sleep(CHECK_AFTER_MS);
    if (mine !== latest) return null;
    const found = await dryRun(state, text.value);
    if (mine !== latest) return null;
    save.disabled = !found.valid;
    return replace(verdict, found.shown);
  };
  text.addEventListener('input', check);
  text.addEventListener('keydown', (event) => { if ((event.ctrlKey || event.metaKey) && event.key === 's') { event.preventDefault(); if (!save.disabled) save.click(); } });
  const schema = state.view === 'agents' ? 'agent' : 'mcp-server';
  const element = h('div', { class: 'split' }, h('div', {}, h('label', { class: 'field' }, 'Card (JSON)', text),
    h('div', { class: 'actions' }, save, h('span', { class: 'small quiet' }, 'Ctrl+S saves'))),
  h('section', { 'aria-label': 'Check' }, h('h2', {}, 'Check'), verdict, h('p', { class: 'small quiet' }, 'Checked as you type, by the rules that hold at the upload. Fields: ', h('a', { href: `${API}/schemas/${schema}.json`, target: '_blank', rel: 'noopener' }, 'schema'), '.')));
  check();
  return element;
}

async function dryRun(state, text) {
  try {
    const found = await call(`${state.path}?dry_run=true`, { method: 'PUT', text });
    return { valid: true, shown: [h('p', {}, pill('valid', 'ok'), ' ', h('span', { class: 'quiet' }, `digest ${short(found.digest || '')}`)), problems(found.warnings || [], 'warn')] };
  } catch (error) {
    return { valid: false, shown: tellProblems(error) };
  }
}

const tellProblems = (error) => (error.details.errors ? [h('p', {}, pill('not valid', 'bad')), problems(error.details.errors)] : problem(error, 'Not valid'));

async function saveCard(state, text, verdict) {
  const headers = state.isNew ? { 'If-None-Match': '*' } : state.card.source_etag ? { 'If-Match': state.card.source_etag } : {};
  try {
    await call(state.path, { method: 'PUT', text, headers });
  } catch (error) {
    if (error.status === 409 && !state.isNew) append(verdict, [problem(error, 'Somebody else changed the card'), button('Load the new one (your text is lost)', state.reload)]);
    else replace(verdict, tellProblems(error));
    return;
  }
  toast('Saved and live');
  await state.reload();
}

async function remove(state) {
  const said = await confirm(`Delete ${state.id}?`, 'New requests are refused at once; runs that go on finish. Its versions stay, so a rollback brings it back.', `Delete ${state.id}`);
  if (!said) return;
  await call(state.path, { method: 'DELETE', headers: state.card.source_etag ? { 'If-Match': state.card.source_etag } : {} });
  toast('Deleted');
  location.hash = `#/${state.view}`;
}

async function showVersions(state, place) {
  const versions = await list(`${state.path}/versions`, { signal: state.signal }).catch((error) => error);
  if (versions instanceof Error) return replace(place, problem(versions, 'The versions cannot be shown'));
  if (!versions.length) return replace(place, h('p', { class: 'quiet' }, 'No version has served yet.'));
  const shown = h('div', { 'aria-live': 'polite' });
  const serves = versions[0].digest;
  return replace(place, table('Versions, newest first', [
    { title: 'Version', class: 'fit', cell: (one) => [h('code', {}, short(one.digest)), one.digest === serves && state.card.state !== 'removed' && [' ', pill('serves', 'ok')]] },
    { title: 'First served', class: 'fit', cell: (one) => when(one.activated_at) },
    { title: 'Actions', cell: (one) => one.digest !== serves && h('div', { class: 'actions' },
      button('Compare', () => compare(state, one, shown), { 'aria-label': `Compare version ${short(one.digest)} with the one that serves` }),
      button('Roll back', () => rollback(state, one), { 'aria-label': `Roll back to version ${short(one.digest)}` })) },
  ], versions), shown);
}

async function readVersion(state, digest) {
  const page = await call(`${state.path}/versions?digest=${digest}`, { signal: state.signal });
  return page.items[0].card;
}

async function compare(state, version, place) {
  const serving = state.card.serving ?? state.card.card;
  const lines = diff(toText(await readVersion(state, version.digest)).split('\n'), toText(serving).split('\n'));
  replace(place, h('h3', {}, `From ${short(version.digest)} to the card that serves`),
    h('pre', { class: 'diff', tabindex: '0', 'aria-label': 'Differences' }, lines.map(([mark, line]) => h('span', { class: { '+': 'add', '-': 'del' }[mark] }, `${mark} ${line}`))));
}

async function rollback(state, version) {
  const said = await confirm('Roll back?', `Version ${short(version.digest)} is uploaded again and serves at once. The present card stays as a version.`, 'Roll back', { danger: false });
  if (!said) return;
  await call(`${state.path}/rollback`, { method: 'POST', body: { digest: version.digest } });
  toast('Rolled back');
  await state.reload();
}

// Lines that differ, by the longest common subsequence.
export function diff(a, b) {
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) for (let j = b.length - 1; j >= 0; j -= 1) length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const lines = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { lines.push([' ', a[i]]); i += 1; j += 1; }
    else if (j >= b.length || (i < a.length && length[i + 1][j] >= length[i][j + 1])) { lines.push(['-', a[i]]); i += 1; }
    else { lines.push(['+', b[j]]); j += 1; }
  }
  return lines;
}
