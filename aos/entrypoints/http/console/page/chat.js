// Chat with an agent: the answer as it comes, tool calls, decisions, and what a reload or a kill left.
import {
  API, ApiError, button, call, duration, empty, follow, h, heading, isEnd, list, number, openRun, pill, pretty,
  problem, replace, short, sleep, table, when,
} from './core.js';
import { approvalBox, questionBox } from './asks.js';

export async function chatView(main, { parts, signal }) {
  const agents = (await list(`${API}/agents`, { signal })).filter((agent) => agent.enabled && agent.serving_digest);
  if (!agents.length) return replace(main, heading('Chat', { path: `${API}/conversations` }), noAgents());
  let [agent, conversation] = parts;
  agent ||= agents[0].agent_id;
  const log = h('div', { class: 'log', id: 'log', role: 'log', 'aria-live': 'off', 'aria-label': 'Messages', tabindex: '0' });
  const heard = h('div', { class: 'heard', role: 'status', 'aria-live': 'polite' });
  const chat = { log, heard, signal, agent, conversation };
  const path = conversation ? `${API}/conversations/${encodeURIComponent(conversation)}/messages` : `${API}/conversations`;
  const choice = h('select', { 'aria-label': 'Agent', id: 'agent', onchange: () => { location.hash = `#/chat/${choice.value}`; } },
    agents.map((one) => h('option', { value: one.agent_id, selected: one.agent_id === agent }, one.agent_id)),
    agents.every((one) => one.agent_id !== agent) && h('option', { value: agent, selected: true }, agent));
  main.classList.add('full');
  signal.addEventListener('abort', () => main.classList.remove('full'));
  replace(main, h('div', { class: 'chat' },
    heading('Chat', { path, mark: choice, actions: [h('a', { class: 'button', href: `#/chat/${agent}` }, 'New chat')] }),
    h('h2', { class: 'unseen' }, 'Messages'), log, heard, compose(chat)));
  document.getElementById('message').focus();
  if (conversation) await resume(chat);
  else await showRecent(chat);
}

const noAgents = () => empty('There is no agent yet.',
  h('p', {}, 'An agent is a JSON card. Write one here, or upload it to ', h('code', {}, 'aos-config/agents/<id>.json'), '.'),
  h('p', {}, h('a', { class: 'button main', href: '#/agents/+new' }, 'Write the first agent')));

async function showRecent(chat) {
  const page = await call(`${API}/conversations?limit=20`, { signal: chat.signal });
  if (chat.conversation) return; // a message was sent meanwhile
  if (!page.items.length) {
    replace(chat.log, empty(`Ask ${chat.agent} something.`, h('p', {}, 'The answer comes here while it is written. You may close this page: the run goes on, and the address leads back to it.')));
    return;
  }
  replace(chat.log, h('p', { class: 'quiet' }, `Ask ${chat.agent} something new, or continue:`), table('Recent conversations', [
    { title: 'Conversation', cell: (one) => h('a', { href: `#/chat/${one.agent_id}/${encodeURIComponent(one.conversation_id)}` }, short(one.conversation_id)) },
    { title: 'Agent', class: 'name', cell: (one) => one.agent_id },
    { title: 'Begun', class: 'fit', cell: (one) => when(one.created_at) },
    { title: 'Messages', class: 'num', cell: (one) => number(one.messages) },
    { title: 'Now', cell: (one) => one.active_run_id && pill('in_progress') },
  ], page.items));
}

function compose(chat) {
  const text = h('textarea', { id: 'message', rows: '1', 'aria-label': `Message to ${chat.agent}`, placeholder: `Message to ${chat.agent}`,
    onkeydown: (event) => { if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); } } });
  const submit = () => {
    const message = text.value.trim();
    if (!message) return;
    text.value = '';
    ask(chat, message).catch((error) => { if (!chat.signal.aborted) { text.value ||= message; chat.log.append(problem(error, 'The message was not accepted')); } });
  };
  return h('form', { class: 'compose', onsubmit: (event) => { event.preventDefault(); submit(); } },
    text, h('button', { class: 'main' }, 'Send'));
}

async function ask(chat, message) {
  if (!chat.conversation) {
    chat.conversation = `chat-${makeId()}`;
    chat.log.replaceChildren();
    history.replaceState(null, '', `#/chat/${chat.agent}/${chat.conversation}`);
  }
  const block = new RunBlock(chat);
  block.showQuestion(message);
  const key = makeId();
  try {
    const answer = await start(chat, message, key);
    if ((answer.headers.get('Content-Type') || '').includes('event-stream')) return await block.follow({ first: answer });
    const run = await answer.json();
    if (!answer.ok) throw new ApiError(answer.status, run.error, 'run');
    return await block.follow({ runId: run.run_id });
  } catch (error) {
    block.fail();
    throw error;
  }
}

// Sends the same request until main answers: the key makes the repeats one run.
async function start(chat, message, key) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const body = { message, conversation_id: chat.conversation, wait_seconds: 0 };
      const answer = await openRun(chat.agent, body, { headers: { 'Idempotency-Key': key }, signal: chat.signal });
      if (answer.status !== 503 || attempt > 5) return answer;
    } catch (error) {
      if (error.status !== 0 || attempt > 8) throw error;
    }
    await sleep(1000, chat.signal);
  }
}

async function resume(chat) {
  const path = `${API}/conversations/${encodeURIComponent(chat.conversation)}`;
  let head, messages, runs;
  try {
    [head, messages, runs] = await Promise.all([
      call(path, { signal: chat.signal }), list(`${path}/messages`, { signal: chat.signal }),
      call(`${API}/runs?agent_id=${chat.agent}&limit=50`, { signal: chat.signal }),
    ]);
  } catch (error) {
    if (error.status === 404) return replace(chat.log, empty('Nothing was said here yet.', h('p', {}, 'Write the first message.')));
    throw error;
  }
  const open = [head.active_run_id, ...head.queued_run_ids].filter((id) => id);
  const blocks = new Map();
  const find = (id) => blocks.get(id) || blocks.set(id, new RunBlock(chat, id)).get(id);
  for (const message of messages) {
    const block = find(message.run_id);
    if (message.role === 'user') block.showQuestion(message.content);
    else if (!open.includes(message.run_id)) block.showMessage(message);
  }
  for (const run of runs.items.filter((one) => one.conversation_id === chat.conversation && one.error)) find(run.run_id).showEnd(run.status, run.error);
  await Promise.all(open.map((id) => find(id).follow({ runId: id })));
}

const makeId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');

// One run in the chat: the question, what the model says and does, and the end.
class RunBlock {
  constructor(chat, runId = null) {
    this.chat = chat;
    this.runId = runId;
    this.calls = new Map();
    this.asks = new Map();
    this.live = null;
    this.question = h('div', { class: 'say me' });
    this.body = h('div', { class: 'turn' });
    this.note = h('div', { class: 'meta' });
    this.answer = h('article', { class: 'say', 'aria-label': `Answer of ${chat.agent}` }, this.body, this.note);
    this.scroll(() => chat.log.append(this.question, this.answer));
  }

  scroll(change) {
    const { log } = this.chat;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    change();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  showQuestion(text) {
    this.scroll(() => replace(this.question, h('div', { class: 'text' }, text)));
  }

  showMessage(message) {
    if (message.role === 'assistant') {
      this.addText(message.content);
      for (const one of message.tool_calls || []) this.showCall(one, 'called');
    } else if (message.role === 'tool') {
      this.showCall({ tool_call_id: message.tool_call_id }, 'completed', message.content);
    }
  }

  async follow({ runId = this.runId, first = null }) {
    this.runId = runId;
    const stop = button('Stop', () => call(`${API}/runs/${this.runId}/cancel`, { method: 'POST' }), { class: 'plain' });
    this.state = h('span', { class: 'quiet' }, 'Sent');
    replace(this.note, this.state, stop);
    const take = (event) => { this.runId = event.run_id; this.scroll(() => this.take(event)); };
    let answer = first, last = '';
    if (first && first.ok) {
      // The stream of the POST may be cut; then the run's own events go on after it.
      await new Promise((resolve) => {
        const known = new AbortController();
        this.chat.signal.addEventListener('abort', () => known.abort());
        follow('unknown', { first, signal: known.signal, onState: (state) => { if (state === 'cut') known.abort(); },
          onEvent: (event) => { last = event.id; take(event); } }).then(resolve, resolve);
      });
      answer = null;
    }
    if (this.ended || this.chat.signal.aborted || !this.runId) return;
    await follow(this.runId, {
      first: answer, after: last, signal: this.chat.signal, onEvent: take,
      onState: (state) => { this.state.textContent = state === 'cut' ? 'Connection lost; connecting again …' : 'Waiting for the answer …'; },
    });
  }

  take(event) {
    const { data, type } = event;
    if (isEnd(type)) return this.end(event);
    const said = {
      'run.queued': 'Accepted', 'run.started': 'Begun', 'turn.started': 'The model thinks …', 'attempt.started': data.attempt > 1 ? 'The model is asked again …' : 'The model thinks …',
      'tool.called': 'A tool works …', 'approval.requested': 'Waiting for your decision', 'input.requested': 'Waiting for your answer',
    }[type];
    // Until its first turn is saved, a run's question is not in the history.
    if (type === 'run.queued' && data.message && !this.question.firstChild) this.showQuestion(data.message);
    if (said) this.state.textContent = type === 'attempt.started' && data.reason ? `${said} ${data.reason}` : said;
    if (this.trouble && type !== 'run.retrying') { this.trouble.remove(); this.trouble = null; }
    switch (type) {
      case 'turn.started': case 'attempt.started': this.dropLive(); break;
      case 'message.delta': this.addDelta(data.text || ''); break;
      case 'message.completed':
        this.dropLive();
        this.addText(data.content);
        if (data.content) this.say(data.content);
        for (const one of data.tool_calls || []) this.showCall(one, 'asked');
        break;
      case 'tool.called': this.showCall(data, 'called'); break;
      case 'tool.completed': this.closeAsk(data.tool_call_id); this.showCall(data, data.outcome || 'completed', data.content, data.milliseconds); break;
      case 'approval.requested': this.openAsk(event, approvalBox); break;
      case 'input.requested': this.openAsk(event, questionBox); break;
      case 'approval.decided': this.closeAsk(data.tool_call_id); this.showCall(data, data.decision === 'approve' ? 'approved' : 'denied'); break;
      case 'input.answered': this.closeAsk(data.tool_call_id); break;
      case 'run.retrying': this.showTrouble(data); break;
      default:
    }
    return undefined;
  }

  showTrouble({ reason, until }) {
    this.state.textContent = 'Waiting for the next try …';
    if (this.trouble) this.trouble.remove();
    this.body.append(this.trouble = h('div', { class: 'box warn' }, h('p', {}, reason), h('p', { class: 'small' }, 'The next try: ', new Date(until).toLocaleTimeString('en-GB'))));
  }

  say(text) {
    this.chat.heard.textContent = text;
  }

  addText(text) {
    if (text) this.body.append(h('div', { class: 'text' }, text));
  }

  addDelta(text) {
    if (!this.live) this.body.append(this.live = h('div', { class: 'text busy' }));
    this.live.append(text);
    this.state.textContent = 'The model writes …';
  }

  dropLive() {
    if (this.live) this.live.remove();
    this.live = null;
  }

  showCall(data, state, content, milliseconds) {
    let one = this.calls.get(data.tool_call_id);
    if (!one) {
      one = { title: h('code', {}), state: h('span', {}), took: h('span', { class: 'quiet small' }), inside: h('div', {}) };
      this.calls.set(data.tool_call_id, one);
      this.body.append(h('details', { class: 'call' }, h('summary', {}, one.title, ' ', one.state, ' ', one.took), one.inside));
    }
    if (data.name) one.title.textContent = data.name;
    replace(one.state, pill(state, { ok: 'ok', completed: 'ok', approved: 'ok', denied: 'bad', error: 'bad' }[state] || 'info'));
    if (milliseconds !== undefined) one.took.textContent = duration(milliseconds);
    if (data.arguments !== undefined && !one.asked) { one.asked = true; one.inside.prepend(h('h3', {}, 'Arguments'), h('pre', { tabindex: '0', 'aria-label': 'Arguments' }, pretty(data.arguments))); }
    if (content !== undefined && !one.told) { one.told = true; one.inside.append(h('h3', {}, 'Result'), h('pre', { tabindex: '0', 'aria-label': 'Result' }, pretty(content))); }
  }

  openAsk(event, box) {
    const item = { ...event.data, run_id: event.run_id, tool: event.data.name };
    if (this.asks.has(item.tool_call_id)) return;
    const element = box(item, () => this.closeAsk(item.tool_call_id));
    this.asks.set(item.tool_call_id, element);
    this.showCall({ tool_call_id: item.tool_call_id, name: item.tool, arguments: event.data.arguments }, 'waits for you');
    this.body.append(element);
    this.say(`The agent asks for you: ${item.tool}`);
  }

  closeAsk(id) {
    const element = this.asks.get(id);
    if (element) element.remove();
    this.asks.delete(id);
  }

  end(event) {
    this.ended = true;
    this.dropLive();
    const { data } = event;
    if (data.output) this.addText(data.output);
    const usage = data.usage || {};
    this.showEnd(event.type.slice(4), data.error, [usage.total_tokens ? `${number(usage.total_tokens)} tokens` : '']);
  }

  showEnd(status, error, more = []) {
    for (const id of [...this.asks.keys()]) this.closeAsk(id);
    if (error) this.body.append(h('div', { class: 'box bad' }, h('h3', {}, error.code), h('p', {}, error.message)));
    else if (status !== 'completed') this.body.append(h('p', { class: 'quiet' }, `The run is ${status.replace('_', ' ')}.`));
    replace(this.note, more.filter((text) => text).map((text) => h('span', {}, text)), h('a', { href: `#/runs/${this.runId}` }, 'What happened'), status !== 'completed' && pill(status));
    if (error) this.say(`The run failed: ${error.message}`);
  }

  fail() {
    replace(this.note, pill('not sent', 'bad'));
  }
}
