// Runs: the list with its filter, and one run as a timeline.
import {
  API, button, call, confirm, copyButton, duration, empty, facts, follow, h, heading, isEnd, number, pill, pretty, repeat,
  replace, sentence, short, table, toast, twin, when,
} from './core.js';
import { approvalBox, questionBox } from './asks.js';

const STATUSES = ['queued', 'in_progress', 'waiting_approval', 'waiting_input', 'completed', 'failed', 'cancelled', 'timed_out'];
const SINCE = { '': 'the last 30 days', 1: 'the last hour', 24: 'the last day', 168: 'the last week' };
const REFRESH_SECONDS = 5;
const WHO = { caller: 'the request has to change', operator: 'an operator has to act', retry: 'something was away', model: 'the model, or what the card asks of it' };

export async function runsView(main, { query, signal }) {
  const wanted = { agent_id: query.get('agent_id') || '', status: query.get('status') || '', hours: query.get('hours') || '' };
  const path = makePath(wanted);
  const rows = h('div', {});
  replace(main, heading('Runs', { path }), filter(wanted), rows);
  let deeper = false;
  const show = async () => {
    if (deeper) return;
    const page = await call(path, { signal });
    const items = [...page.items];
    const more = page.next && button('Show more', async () => {
      deeper = true;
      const next = await call(more.dataset.next, { signal });
      items.push(...next.items);
      draw(next.next);
    });
    const draw = (next) => {
      if (more) more.dataset.next = next || '';
      replace(rows, items.length ? runTable(items) : noRuns(wanted), next && more);
    };
    draw(page.next);
  };
  await show();
  repeat(show, REFRESH_SECONDS, signal);
}

function makePath({ agent_id, status, hours }) {
  const query = new URLSearchParams({ limit: '50' });
  if (agent_id) query.set('agent_id', agent_id);
  if (status) query.set('status', status);
  if (hours) query.set('since', new Date(Date.now() - hours * 3600000).toISOString());
  return `${API}/runs?${query}`;
}

function filter(wanted) {
  const agent = h('input', { type: 'text', value: wanted.agent_id, size: '16', spellcheck: 'false' });
  const status = h('select', { 'aria-label': 'Status' }, h('option', { value: '' }, 'any'), STATUSES.map((one) => h('option', { value: one, selected: one === wanted.status }, one.replace(/_/g, ' '))));
  const since = h('select', { 'aria-label': 'Since' }, Object.entries(SINCE).sort((a, b) => a[0] - b[0]).map(([hours, text]) => h('option', { value: hours, selected: hours === wanted.hours }, text)));
  const run = h('input', { type: 'text', size: '16', spellcheck: 'false', placeholder: 'run id' });
  const apply = () => {
    if (run.value.trim()) { location.hash = `#/runs/${run.value.trim()}`; return; }
    const query = new URLSearchParams();
    for (const [name, input] of Object.entries({ agent_id: agent, status, hours: since })) if (input.value.trim()) query.set(name, input.value.trim());
    location.hash = `#/runs${query.size ? `?${query}` : ''}`;
  };
  status.addEventListener('change', apply);
  since.addEventListener('change', apply);
  return h('form', { class: 'row', 'aria-label': 'Filter', onsubmit: (event) => { event.preventDefault(); apply(); } },
    h('label', {}, 'Status', status), h('label', {}, 'Agent', agent), h('label', {}, 'Since', since), h('label', {}, 'Open a run', run),
    h('label', {}, '\u00a0', h('button', {}, 'Show')));
}

const noRuns = ({ agent_id, status, hours }) => (agent_id || status || hours
  ? empty('No run fits this filter.', h('a', { href: '#/runs' }, 'Show all runs'))
  : empty('Nothing was asked yet.', h('p', {}, h('a', { href: '#/chat' }, 'Ask an agent'), ', send a message to the queue ', h('code', {}, 'aos-requests'), ', or POST to ', h('code', {}, '/api/agents/<agent>/run'), '.')));

const runTable = (items) => table('Runs, newest first', [
  { title: 'Status', class: 'fit', cell: (run) => pill(run.status) },
  { title: 'Run', class: 'fit', cell: (run) => h('a', { href: `#/runs/${run.run_id}`, class: 'mono' }, short(run.run_id)) },
  { title: 'Agent', class: 'name', cell: (run) => h('a', { href: `#/agents/${run.agent_id}` }, run.agent_id) },
  { title: 'Accepted', class: 'fit', cell: (run) => when(run.created_at) },
  { title: 'Took', class: 'num', cell: (run) => (run.ended_at ? duration(new Date(run.ended_at) - new Date(run.created_at)) : '…') },
  { title: 'Tokens', class: 'num', cell: (run) => number(run.usage && run.usage.total_tokens) },
  { title: 'What happened', class: 'below', cell: (run) => h('span', { class: 'small quiet' }, tell(run)) },
], items);

function tell(run) {
  const error = run.error || (run.waiting && run.waiting.error);
  if (error) return h('span', {}, h('strong', {}, error.code), ' ', error.message);
  const text = run.waiting ? run.waiting.reason : run.output || '';
  return text.length > 110 ? `${text.slice(0, 110)} …` : text;
}

// One run

export async function runView(main, { parts, signal }) {
  const runId = parts[0], path = `${API}/runs/${encodeURIComponent(runId)}`;
  const events = [], top = h('div', {}), asks = h('div', {}), about = h('div', {}), line = h('div', {}), story = h('div', {}), open = new Set();
  let run = await call(path, { signal });
  const title = [short(run.run_id)];
  replace(main, top, asks, about, h('h2', {}, 'Timeline'), line, story);
  let askedFor = null; // the boxes are made anew only for others, so that nobody loses what they type
  // Only what has changed is drawn anew: a button that is in use stays.
  const drawn = new Map(), minute = () => Math.floor(Date.now() / 60000);
  const drawIfNew = (place, value, make) => {
    const text = JSON.stringify([value, minute()]);
    if (drawn.get(place) === text) return;
    drawn.set(place, text);
    replace(place, make());
  };
  const drawTop = () => {
    const waiting = openAsks(events, run);
    const named = waiting.map((item) => item.tool_call_id + (item.question_id || '')).join();
    if (named !== askedFor) {
      askedFor = named;
      replace(asks, waiting.length > 0 && h('h2', {}, 'It waits for you'), waiting.map((item) => (item.question_id ? questionBox : approvalBox)(item)));
    }
    const trouble = findTrouble(run, events);
    drawIfNew(top, [run.status, run.ended_at, run.error, run.waiting, trouble], () => [
      heading(`Run ${title}`, { path, mark: pill(run.status), crumb: h('a', { href: '#/runs' }, 'Runs'), actions: makeActions(run, path) }), explain(run, trouble)]);
    drawIfNew(about, [run, events.length > 0], () => [describe(run), ids(run, events)]);
  };
  const drawLine = () => {
    replace(line, timeline(events, run, open));
    replace(story, storyOf(run, events, path));
  };
  let planned = false;
  const draw = () => {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => { planned = false; drawTop(); drawLine(); });
  };
  draw();
  const refresh = async () => { if (!events.some((event) => isEnd(event.type))) { run = await call(path, { signal }); draw(); } };
  if (!run.ended_at) repeat(refresh, 2, signal);
  await follow(runId, { signal, onEvent: (event) => {
    if (event.type !== 'message.delta') events.push(event);
    draw();
  } });
  if (!run.ended_at && !signal.aborted) run = await call(path, { signal });
  draw();
}

function openAsks(events, run) {
  const asked = new Map();
  for (const { type, data } of events) {
    if (type === 'approval.requested' || type === 'input.requested') asked.set(data.tool_call_id, { ...data, tool: data.name, run_id: run.run_id });
    else if (['approval.decided', 'input.answered', 'tool.completed'].includes(type)) asked.delete(data.tool_call_id);
    else if (isEnd(type)) asked.clear();
  }
  return [...asked.values()];
}

function makeActions(run, path) {
  const replay = async () => {
    const key = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16)).join('');
    const again = await call(`${path}/replay`, { method: 'POST', headers: { 'Idempotency-Key': key } });
    toast('Asked again');
    location.hash = `#/runs/${again.run_id}`;
  };
  const cancel = async () => {
    if (!(await confirm('Cancel this run?', 'What its tools did stays done.', 'Cancel the run'))) return;
    await call(`${path}/cancel`, { method: 'POST' });
    toast('The run is being cancelled');
  };
  return [
    h('a', { class: 'button', href: `#/chat/${run.agent_id}/${encodeURIComponent(run.conversation_id)}` }, 'Conversation'),
    run.ended_at ? button('Ask again', replay, { title: 'Replay: a new run with the same content' }) : button('Cancel', cancel, { class: 'danger' }),
  ];
}

// Why the model is asked again, while it is.
function findTrouble(run, events) {
  const asked = events.findLast((event) => event.type === 'attempt.started' || event.type === 'message.completed');
  return run.waiting && run.waiting.kind === 'model' && asked && asked.data.reason;
}

function explain(run, trouble) {
  const error = run.error || (run.waiting && run.waiting.error);
  return [
    error && h('section', { class: 'box bad', 'aria-label': 'Why it failed' }, h('h2', {}, run.error ? `Why it ${run.status === 'timed_out' ? 'timed out' : run.status}` : 'An operator has to act'),
      h('p', {}, sentence(error.message)),
      h('p', { class: 'small' }, h('code', {}, error.code), ' · ', WHO[error.type] || error.type, error.retryable ? ' · asking again may help' : ' · asking again alone does not help')),
    run.waiting && h('section', { class: 'box', 'aria-label': 'What it waits for' }, h('h2', {}, 'Waits for: ', run.waiting.kind),
      !error && h('p', {}, sentence(run.waiting.reason)), trouble && h('p', {}, 'It is asked again, because: ', trouble),
      h('p', { class: 'small quiet' }, 'It began to wait ', when(run.waiting.since), '. What ends the wait: ', ...nameTime(run.waiting.ends_with, run.waiting.until), '.')),
  ];
}

// The time that a text calls `until`.
const nameTime = (text, until) => text.split(/(the time of )?`until`/).filter((part) => part !== undefined && part !== 'the time of ')
  .flatMap((part, at) => (at ? [when(until), part] : [part]));

function describe(run) {
  const link = (id) => h('a', { href: `#/runs/${id}`, class: 'mono' }, short(id));
  return facts([
    ['Agent', h('a', { href: `#/agents/${run.agent_id}` }, run.agent_id), run.card_digest && h('span', { class: 'quiet small' }, ' card ', short(run.card_digest))],
    ['Accepted', when(run.created_at)],
    ['Took', run.ended_at ? duration(new Date(run.ended_at) - new Date(run.created_at)) : 'goes on'],
    ['Tokens', run.usage ? [number(run.usage.input_tokens), ' in, ', number(run.usage.output_tokens), ' out'] : '–'],
    ['Model', run.model || '–'],
    run.replay_of && ['Replay of', link(run.replay_of)],
    run.parent_run_id && ['Asked by run', link(run.parent_run_id)],
    run.sent_by && ['Sent for the owner by', run.sent_by],
    run.child_run_ids && run.child_run_ids.length && ['Asked the runs', run.child_run_ids.map((id) => [link(id), ' '])],
    run.unavailable_servers && ['Servers that were away', run.unavailable_servers.map((id) => [h('a', { href: `#/mcp-servers/${encodeURIComponent(id)}` }, id), ' '])],
  ]);
}

function ids(run, events) {
  const queued = events.find((event) => event.type === 'run.queued');
  const trace = queued && queued.data.trace_id;
  const query = `union requests, dependencies, traces, exceptions, customEvents | where operation_Id == "${trace}" | order by timestamp asc`;
  return facts([
    ['Run id', h('span', { class: 'mono small' }, run.run_id), ' ', copyButton(run.run_id, 'id')],
    trace && ['Trace id, in Application Insights the operation_Id', h('span', { class: 'mono small' }, trace), ' ', copyButton(trace, 'id'), ' ', copyButton(query, 'query')],
  ], { class: 'facts wide' });
}

// Bars: what took how long, from the events.
export function readSpans(events, end) {
  const spans = [], open = new Map();
  let turns = 0, last = null;
  const begin = (key, span) => { open.set(key, span); spans.push(span); };
  const close = (key, time, more = {}) => {
    const span = open.get(key);
    if (!span) return null;
    Object.assign(span, more, { to: time });
    open.delete(key);
    return span;
  };
  for (const event of events) {
    const { type, data, turn } = event, time = new Date(event.time).getTime();
    if (type !== 'run.retrying') close('retry', time);
    if (type === 'message.completed') turns = turn || turns + 1;
    switch (type) {
      case 'run.queued': begin('queue', { kind: 'queue', name: 'Queue', from: time, about: [] }); break;
      case 'run.started': close('queue', time); break;
      case 'turn.started':
        // A watched turn was told before it was saved, by its attempts.
        if (open.has('model') && open.get('model').turn === turn) break;
        close('model', time, { outcome: 'cut off' });
        begin('model', { kind: 'model', turn, name: `Turn ${turn}: model`, from: time, about: [] }); break;
      case 'attempt.started':
        close('model', time, data.reason ? { outcome: 'no answer', texts: [['Why', data.reason]] } : { outcome: 'cut off' });
        begin('model', { kind: 'model', turn, name: `Turn ${turn}: model${data.attempt > 1 ? `, attempt ${data.attempt}` : ''}`, from: time, about: [['Model', data.model]] }); break;
      case 'message.completed': {
        if (!open.has('model')) begin('model', { kind: 'model', name: `Turn ${turn}: model`, from: time - (data.milliseconds || 0), about: [] });
        const usage = data.usage || {};
        close('model', time, { ms: data.milliseconds, about: [['Model', data.model], ['Tokens', `${number(usage.input_tokens)} in, ${number(usage.output_tokens)} out`]],
          texts: [['Answer', data.content], ...(data.tool_calls || []).map((one) => [`Asks for ${one.name}`, pretty(one.arguments)])], side: usage.output_tokens !== undefined && `${number((usage.input_tokens || 0) + usage.output_tokens)} tokens` });
        break;
      }
      case 'tool.called': begin(data.tool_call_id, { kind: 'tool', name: data.name, from: time, about: [['Call', data.tool_call_id]], texts: [['Arguments', pretty(data.arguments)]] }); break;
      case 'tool.completed': {
        close(`ask:${data.tool_call_id}`, time);
        const was = open.get(data.tool_call_id);
        if (!was) begin(data.tool_call_id, { kind: 'tool', name: data.name, from: time - (data.milliseconds || 0), about: [], texts: [] });
        const span = open.get(data.tool_call_id);
        close(data.tool_call_id, time, { ms: data.milliseconds, outcome: data.outcome, texts: [...span.texts, ['Result', pretty(data.content)]] });
        break;
      }
      case 'approval.requested': begin(`ask:${data.tool_call_id}`, { kind: 'wait', name: `Approval of ${data.name}`, from: time, about: [['Expires', data.expires_at]], texts: [['Arguments', pretty(data.arguments)]] }); break;
      case 'input.requested': begin(`ask:${data.tool_call_id}`, { kind: 'wait', name: `Question of ${data.name}`, from: time, about: [['Expires', data.expires_at]], texts: [['Question', data.message]] }); break;
      case 'approval.decided': close(`ask:${data.tool_call_id}`, time, { outcome: data.decision === 'approve' ? 'approved' : 'denied' }); break;
      case 'input.answered': close(`ask:${data.tool_call_id}`, time, { outcome: 'answered' }); break;
      case 'run.retrying': close('model', time, { outcome: 'no answer' }); close('retry', time); begin('retry', { kind: 'retry', name: `Retry ${data.attempt}`, from: time, about: [['Next try', data.until]], texts: [['Why', data.reason]] }); break;
      default:
        if (isEnd(type)) {
          const outcome = type.slice(4).replace('_', ' '), cut = [...open.keys()].filter((key) => key !== 'queue' && key !== 'retry');
          // What failed may have told no event before, such as an ask that the model refused.
          if (data.error && !cut.length) spans.push({ ...nameFault(data.error, turns + 1), from: last ?? time, to: time, outcome });
          for (const key of [...open.keys()]) close(key, time, cut.includes(key) ? { outcome } : {});
        }
    }
    last = time;
  }
  for (const span of spans) if (span.to === undefined) Object.assign(span, { to: end, live: true });
  return spans;
}

function nameFault({ code, message }, turn) {
  const texts = [['Why', sentence(message)]], about = [['Code', code]];
  return code.startsWith('model_') ? { kind: 'model', name: `Turn ${turn}: model`, about, texts } : { kind: 'end', name: 'The end', about, texts };
}

const LEGEND = { queue: 'queue', model: 'model', tool: 'tool', wait: 'waits for a person', retry: 'waits for a retry' };

function timeline(events, run, open) {
  if (!events.length) return h('p', { class: 'quiet' }, 'Loading the events …');
  const end = run.ended_at ? new Date(run.ended_at).getTime() : Date.now();
  const spans = readSpans(events, end).sort((a, b) => a.from - b.from);
  const from = Math.min(...spans.map((span) => span.from)), whole = Math.max(1, Math.max(...spans.map((span) => span.to)) - from);
  const used = new Set(spans.map((span) => span.kind));
  return [
    h('div', { class: 'legend' }, Object.entries(LEGEND).filter(([kind]) => used.has(kind)).map(([kind, text]) => h('span', {}, h('i', { class: `c-${kind}` }), text)), h('span', { class: 'grow' }), h('span', {}, `0 to ${duration(whole)}`)),
    h('ol', { class: 'timeline' }, spans.map((span, at) => spanRow(span, { at, from, whole, open }))),
  ];
}

function spanRow(span, { at, from, whole, open }) {
  const took = span.ms ?? span.to - span.from;
  const bar = h('i', { class: `c-${span.kind}${span.live ? ' live' : ''}` });
  const left = Math.min(99.5, (100 * (span.from - from)) / whole);
  bar.style.left = `${left}%`;
  bar.style.width = `${Math.max(0.4, Math.min(100 - left, (100 * (span.to - span.from)) / whole))}%`;
  const cells = [
    h('span', { class: 'name' }, span.name, ' ', span.outcome && span.outcome !== 'ok' && pill(span.outcome, ['approved', 'answered'].includes(span.outcome) ? 'ok' : 'bad'), span.side && h('span', { class: 'quiet small' }, span.side)),
    h('span', { class: 'track', 'aria-hidden': 'true' }, bar), h('span', { class: 'ms' }, duration(took), span.live && ' …'),
  ];
  const about = (span.about || []).filter(([, value]) => value), texts = (span.texts || []).filter(([, text]) => text);
  if (!about.length && !texts.length) return h('li', {}, h('div', { class: 'bar' }, cells));
  const details = h('details', { open: open.has(at), ontoggle: () => (details.open ? open.add(at) : open.delete(at)) }, h('summary', {}, cells),
    h('div', { class: 'in' }, about.map(([name, value]) => h('p', { class: 'small' }, h('span', { class: 'quiet' }, `${name}: `), value)),
      texts.map(([name, text]) => [h('h3', {}, name), h('pre', { tabindex: '0', 'aria-label': name }, text)])));
  return h('li', {}, details);
}

function storyOf(run, events, path) {
  const first = events.length ? new Date(events[0].time) : 0;
  return [
    run.output && [h('h2', {}, 'Output'), h('pre', { tabindex: '0', 'aria-label': 'Output' }, pretty(run.output))],
    Object.keys(run.metadata || {}).length > 0 && [h('h2', {}, 'Metadata'), h('pre', { tabindex: '0', 'aria-label': 'Metadata' }, pretty(run.metadata))],
    h('div', { class: 'head' }, h('h2', {}, 'Events'), h('div', { class: 'actions' }, twin(`${path}/events`))),
    table('Events', [
      { title: 'Id', class: 'fit', cell: (event) => event.id },
      { title: 'After', class: 'num', cell: (event) => duration(new Date(event.time) - first) },
      { title: 'Event', class: 'fit', cell: (event) => h('code', {}, event.type) },
      { title: 'Data', cell: (event) => h('span', { class: 'mono small' }, brief(event.data)) },
    ], events),
  ];
}

function brief(data) {
  const text = JSON.stringify(data);
  return text === '{}' ? '' : text.length > 220 ? `${text.slice(0, 220)} …` : text;
}
