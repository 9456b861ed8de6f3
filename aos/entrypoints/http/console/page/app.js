// The console: finds the view of the address, and keeps what is around it.
import { API, call, empty, forgetKey, h, heading, pretty, problem, readKey, replace, signInAt } from './core.js';
import { cardView, cardsView } from './cards.js';
import { chatView } from './chat.js';
import { approvalsView, deadLettersView, healthView, usageView } from './operate.js';
import { runView, runsView } from './runs.js';

const VIEWS = {
  chat: chatView,
  agents: (main, context) => (context.parts.length ? cardView : cardsView)(main, context),
  'mcp-servers': (main, context) => (context.parts.length ? cardView : cardsView)(main, context),
  runs: (main, context) => (context.parts.length ? runView : runsView)(main, context),
  approvals: approvalsView,
  'dead-letters': deadLettersView,
  usage: usageView,
  health: healthView,
  json: jsonView,
};
const LOOK_SECONDS = 15;
const main = document.getElementById('main');
let leave = new AbortController();

async function jsonView(place, { query }) {
  const path = query.get('path') || '';
  if (!/^\/api\/[^/\\]/.test(path)) return replace(place, heading('JSON'), empty('This is not a path of the API.'));
  const value = await call(path);
  return replace(place, heading('JSON'), h('p', {}, h('code', {}, `GET ${path}`)), h('pre', { tabindex: '0', 'aria-label': 'JSON' }, pretty(value)));
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, ...parts] = (path || 'chat').split('/').filter((part) => part).map(decode);
  for (const link of document.querySelectorAll('#nav a')) {
    if (link.getAttribute('href') === `#/${view}`) { link.setAttribute('aria-current', 'page'); link.scrollIntoView({ block: 'nearest', inline: 'nearest' }); } else link.removeAttribute('aria-current');
  }
  main.scrollTop = 0;
  const name = view.replace(/-/g, ' ').replace(/^mcp/, 'MCP');
  const place = h('div', { class: 'view' }); // a view that was left writes into what nobody sees
  replace(main, place);
  replace(place, h('h1', {}, name.charAt(0).toUpperCase() + name.slice(1)));
  document.title = `${parts[0] || name.charAt(0).toUpperCase() + name.slice(1)} · AOS console`;
  try {
    if (!VIEWS[view]) { replace(place, heading('Not here'), empty('There is no such view.', h('a', { href: '#/chat' }, 'To the chat'))); return; }
    await VIEWS[view](place, { view, parts, query: new URLSearchParams(search || ''), signal });
  } catch (error) {
    if (signal.aborted) return;
    if (!(error.status >= 0)) console.debug(error.stack);
    const said = problem(error, error.status === 403 ? 'This is not for you' : 'This view cannot be shown');
    if (place.querySelector('.head')) place.querySelector('.head').after(said);
    else replace(place, heading(name.charAt(0).toUpperCase() + name.slice(1)), said);
  }
}

function decode(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function go() {
  const had = document.activeElement;
  show();
  // The next Tab begins in the new view.
  if (!had || had === document.body || document.getElementById('nav').contains(had)) main.focus({ preventScroll: true });
}

// Light and dark
function applyTheme() {
  const chosen = localStorage.getItem('aos-theme') || 'system';
  const dark = chosen === 'dark' || (chosen === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  const toggle = document.getElementById('theme');
  toggle.textContent = { system: 'Theme: system', light: 'Theme: light', dark: 'Theme: dark' }[chosen];
  toggle.setAttribute('aria-label', `${toggle.textContent}. Change it`);
}

function nextTheme() {
  const order = ['system', 'light', 'dark'];
  localStorage.setItem('aos-theme', order[(order.indexOf(localStorage.getItem('aos-theme') || 'system') + 1) % 3]);
  applyTheme();
}

// What waits, beside the views' names
async function look() {
  if (document.hidden) return;
  const status = await call(`${API}/status`);
  document.getElementById('environment').textContent = `${status.environment} · ${status.version}`;
  const dead = (status.queues || []).reduce((sum, row) => sum + (row.dead || 0), 0);
  count('count-dead', dead, 'dead letters');
  const health = await fetch(`${API}/health`, { cache: 'no-store' }).then((answer) => answer.json()).catch(() => ({}));
  document.getElementById('paused').hidden = !health.paused;
  if (!readKey() && !status.agents && !signInAt) return; // not known yet who asks: the first view asks for the key
  const [approvals, questions] = await Promise.all([call(`${API}/approvals?limit=100`), call(`${API}/questions?limit=100`)]);
  count('count-approvals', approvals.items.length + questions.items.length, 'waiting');
}

function count(id, value, what) {
  const element = document.getElementById(id);
  element.hidden = !value;
  element.textContent = value || '';
  element.setAttribute('title', `${value} ${what}`);
}

async function watch() {
  for (;;) {
    await look().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, LOOK_SECONDS * 1000));
  }
}

const showKey = () => { document.getElementById('key').hidden = !readKey(); };
document.getElementById('key').addEventListener('click', () => { forgetKey(); go(); });
document.getElementById('theme').addEventListener('click', nextTheme);
document.getElementById('skip').addEventListener('click', (event) => { event.preventDefault(); main.focus(); });
document.addEventListener('aos-key', showKey);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', applyTheme);
document.addEventListener('aos-changed', () => setTimeout(() => look().catch(() => {}), 700));
addEventListener('hashchange', go);
applyTheme();
showKey();
go();
watch();
