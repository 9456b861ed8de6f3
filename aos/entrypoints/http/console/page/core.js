// What all views share: elements, calls of the API, the key, event streams, times and questions.

export const API = '/api';
const KEY = 'aos-key';
let asking = null;

// Elements. Data only ever becomes text: there is no innerHTML.
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  fill(element, attributes);
  append(element, children);
  return element;
}

export function svg(name, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  append(element, children);
  return element;
}

function fill(element, attributes) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value' || key === 'checked') element[key] = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

// The key is kept for this tab only.
export const readKey = () => sessionStorage.getItem(KEY) || '';

export function forgetKey() {
  sessionStorage.removeItem(KEY);
  document.dispatchEvent(new Event('aos-key'));
}

function askKey(refused) {
  asking ||= openDialog('This AOS asks for a key', (close) => {
    const input = h('input', { type: 'password', autocomplete: 'off', id: 'key-input' });
    return [
      h('p', {}, 'Use a function key of main. ', h('span', { class: 'quiet' },
        'On a laptop it is in .aos/keys.json; "admin" sees everything. It is kept for this tab only.')),
      refused && h('p', { class: 'pill bad' }, 'The last key was refused.'),
      h('form', { onsubmit: (event) => { event.preventDefault(); if (input.value.trim()) close(input.value.trim()); } },
        h('label', { class: 'field' }, 'Key', input),
        h('div', { class: 'actions' }, h('button', { class: 'main' }, 'Use this key'))),
    ];
  }).then((key) => {
    asking = null;
    if (!key) return false;
    sessionStorage.setItem(KEY, key);
    document.dispatchEvent(new Event('aos-key'));
    return true;
  });
  return asking;
}

// Behind App Service Authentication the platform signs people in; a key helps nobody there.
export const signInAt = document.documentElement.dataset.signIn;
const TRIED = 'aos-sign-in', AGAIN_AFTER_MS = 60000;
const signInLink = () => `${signInAt}?post_login_redirect_uri=${encodeURIComponent(location.pathname + location.hash)}`;

// Leaves for the sign-in, which brings one back to this view: at the first refusal only, so that
// nobody loses what they type, and not twice in a minute.
let wasSignedIn = false;
function signIn() {
  if (wasSignedIn || Date.now() - Number(sessionStorage.getItem(TRIED) || 0) < AGAIN_AFTER_MS) return null;
  sessionStorage.setItem(TRIED, String(Date.now()));
  location.assign(signInLink());
  return new Promise(() => {}); // this page is left
}

export class ApiError extends Error {
  constructor(status, error, path) {
    super((error && error.message) || `${path} answered ${status}`);
    this.status = status;
    this.code = (error && error.code) || String(status);
    this.details = (error && error.details) || {};
  }
}

async function send(path, { method = 'GET', body, text, headers = {}, signal } = {}) {
  for (;;) {
    const key = readKey();
    const all = { Accept: 'application/json', ...headers };
    if (key) all['x-functions-key'] = key;
    const payload = text !== undefined ? text : body === undefined ? undefined : JSON.stringify(body);
    if (payload !== undefined) all['Content-Type'] = 'application/json';
    let answer;
    try {
      answer = await fetch(path, { method, headers: all, body: payload, signal, cache: 'no-store' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError(0, { code: 'unreachable', message: 'main does not answer. Is it running?' }, path);
    }
    if (answer.status !== 401) {
      wasSignedIn ||= path !== `${API}/status`; // that answers anybody
      return answer;
    }
    if (signInAt) {
      await signIn();
      const said = await answer.json().catch(() => null);
      throw new ApiError(401, { code: 'unauthorized', message: (said && said.error && said.error.message) || 'You are not signed in, or this sign-in was not accepted.' }, path);
    }
    if (!(await askKey(Boolean(key)))) throw new ApiError(401, { code: 'unauthorized', message: 'A key is needed.' }, path);
  }
}

export async function call(path, options) {
  const answer = await send(path, options);
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { /* not JSON: the status says enough */ }
  if (!answer.ok) throw new ApiError(answer.status, value && value.error, path);
  return options && options.full ? { value, headers: answer.headers, status: answer.status } : value;
}

// All items of a list, up to `most`.
export async function list(path, { most = 500, signal } = {}) {
  const items = [];
  let next = path + (path.includes('?') ? '&' : '?') + 'limit=100';
  while (next && items.length < most) {
    const page = await call(next, { signal });
    items.push(...page.items);
    next = page.next;
  }
  return items;
}

// Server-Sent Events, read with fetch so that a key can be sent.
export async function* readStream(answer) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split(/\r?\n/).filter((line) => line.startsWith('data:'))
          .map((line) => line.slice(5).replace(/^ /, '')).join('\n');
        if (data) yield JSON.parse(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const ENDS = ['run.completed', 'run.failed', 'run.cancelled', 'run.timed_out'];
export const isEnd = (type) => ENDS.includes(type);

export const openRun = (agent, body, options) => send(`${API}/agents/${encodeURIComponent(agent)}/run`, {
  method: 'POST', body, ...options, headers: { Accept: 'text/event-stream', ...options.headers },
});

// Follows a run to its end. It connects again where it was cut, after the last event that it has.
export async function follow(runId, { onEvent, onState = () => {}, signal, after = '', first = null }) {
  let last = after, pause = 500, answer = first;
  for (;;) {
    try {
      answer ||= await send(`${API}/runs/${runId}/events`, {
        headers: { Accept: 'text/event-stream', ...(last ? { 'Last-Event-ID': last } : {}) }, signal,
      });
      if (answer.status === 204) return;
      if (answer.status >= 400) {
        const body = await answer.json().catch(() => null);
        throw new ApiError(answer.status, body && body.error, 'events');
      }
      onState('open');
      for await (const event of readStream(answer)) {
        pause = 500;
        last = event.id;
        try { onEvent(event); } catch (error) { console.error(error); }
        if (isEnd(event.type)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const final = error instanceof ApiError && [400, 401, 403, 404].includes(error.status);
      if (final) throw error;
      onState('cut');
    }
    answer = null;
    if (signal.aborted) return;
    await sleep(pause, signal);
    pause = Math.min(pause * 2, 5000);
  }
}

export const sleep = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  if (signal) signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

// Repeats `look` until the view is left; a hidden tab does not ask.
export async function repeat(look, seconds, signal) {
  while (!signal.aborted) {
    await sleep(seconds * 1000, signal);
    if (signal.aborted) return;
    if (document.hidden) continue;
    try { await look(); } catch (error) { if (!signal.aborted) console.debug('not refreshed:', error.message); }
  }
}

// Texts
const PILLS = {
  completed: 'ok', active: 'ok', healthy: 'ok', ready: 'ok', configured: 'ok', failed: 'bad', timed_out: 'bad', rejected: 'bad',
  unhealthy: 'bad', waiting_approval: 'warn', waiting_input: 'warn', in_progress: 'info', queued: 'info',
};
export const pill = (text, kind) => h('span', { class: `pill ${kind || PILLS[text] || ''}` }, String(text).replace(/_/g, ' '));
export const short = (id) => (/^[0-9a-f-]{36}$|^[0-9a-f]{64}$/.test(id) ? id.slice(0, 8) : id.replace(/^(chat-[0-9a-f]{6})[0-9a-f]{18}$/, '$1'));
export const number = (value) => (value === null || value === undefined ? '–' : Number(value).toLocaleString('en'));

export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.round((ms % 3600000) / 60000)} min`;
}

export function when(text) {
  if (!text) return '–';
  const date = new Date(text), past = (Date.now() - date) / 1000;
  const clock = date.toLocaleTimeString('en-GB');
  const day = date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
  let said = date.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
  if (past >= 0 && past < 60) said = 'just now';
  else if (past >= 60 && past < 3600) said = `${Math.floor(past / 60)} min ago`;
  return h('time', { datetime: text, title: `${day} ${clock}` }, said);
}

export function pretty(text) {
  if (typeof text !== 'string') return JSON.stringify(text, null, 2);
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// Parts of pages
export function twin(path) {
  const held = Boolean(readKey());
  return h('a', {
    class: 'button plain', href: held ? `#/json?path=${encodeURIComponent(path)}` : path,
    title: `GET ${path}`, target: held ? null : '_blank', rel: 'noopener',
  }, 'JSON');
}

export const heading = (title, { path, actions = [], crumb, mark } = {}) => [
  crumb && h('p', { class: 'crumb' }, crumb),
  h('div', { class: 'head' }, h('h1', {}, title), mark, h('div', { class: 'actions' }, actions, path && twin(path))),
];

export const empty = (title, ...more) => h('div', { class: 'empty' }, h('strong', {}, title), h('div', {}, more));

export function problem(error, title = 'This did not work') {
  return h('div', { class: 'box bad', role: 'alert' }, h('h2', {}, title),
    h('p', {}, error.message), h('p', { class: 'small' }, h('code', {}, error.code || error.name)),
    error.status === 401 && signInAt && h('p', {}, h('a', { class: 'button main', href: signInLink() }, 'Sign in')));
}

export function problems(items, kind) {
  return h('ul', { class: 'problems' }, items.map((item) => h('li', { class: kind },
    item.path && h('div', {}, h('code', {}, item.path)), h('div', {}, item.message),
    item.hint && h('div', { class: 'small' }, 'Hint: ', item.hint))));
}

// With a column of class "below", a phone shows each row as lines, that column as the last one. The roles keep it a table there.
export function table(caption, columns, rows) {
  const stacks = columns.some((column) => column.class === 'below');
  const role = (name) => (stacks ? { role: name } : {});
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, h('table', { class: stacks ? 'stack' : '', ...role('table') },
    h('thead', role('rowgroup'), h('tr', role('row'), columns.map((column) => h('th', { scope: 'col', class: column.class, ...role('columnheader') }, column.title)))),
    h('tbody', role('rowgroup'), rows.map((row) => h('tr', role('row'), columns.map((column) => h('td', { class: column.class, ...role('cell') }, column.cell(row))))))));
}

// A message of the API begins in lower case and has no full stop.
export const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? '' : '.'}`;

export function facts(pairs, attributes = {}) {
  return h('dl', { class: 'facts', ...attributes }, pairs.filter((pair) => pair).map(([name, ...value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

export function copyButton(text, what) {
  return h('button', { type: 'button', class: 'plain tiny', onclick: async () => {
    try { await navigator.clipboard.writeText(text); toast('Copied'); } catch { toast('The browser does not let this page copy'); }
  } }, `Copy ${what}`);
}

// Something was decided or changed: what waits is counted again.
export const announceChange = () => document.dispatchEvent(new Event('aos-changed'));

export function toast(text) {
  const line = h('div', {}, text);
  document.getElementById('toasts').append(line);
  setTimeout(() => line.remove(), 6000);
}

// Runs a button's work: the button waits, a failure is said.
export function button(title, work, attributes = {}) {
  const element = h('button', { type: 'button', ...attributes, onclick: async () => {
    element.disabled = true;
    try { await work(); } catch (error) { if (error.name !== 'AbortError') toast(error.message); } finally { element.disabled = false; }
  } }, title);
  return element;
}

function openDialog(title, build) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' });
    const close = (value) => { dialog.close(); dialog.remove(); resolve(value); };
    dialog.addEventListener('cancel', (event) => { event.preventDefault(); close(null); });
    append(dialog, [h('h2', { id: 'dialog-title' }, title), ...[build(close)].flat()]);
    document.body.append(dialog);
    dialog.showModal();
  });
}

export const confirm = (title, text, action, { danger = true, input } = {}) => openDialog(title, (close) => {
  const field = input && h('input', { type: 'text', value: '' });
  return [
    h('p', {}, text),
    field && h('label', { class: 'field' }, input, field),
    h('div', { class: 'actions' },
      h('button', { type: 'button', onclick: () => close(null) }, 'Keep as it is'),
      h('button', { type: 'button', class: danger ? 'danger' : 'main', onclick: () => close(field ? { text: field.value } : { text: '' }) }, action)),
  ];
});
