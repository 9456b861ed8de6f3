// A tool call that waits for a decision, and a tool's question: the same box in every view.
import { API, announceChange, call, button, h, pretty, replace, toast, when } from './core.js';

const where = (item) => `${API}/runs/${encodeURIComponent(item.run_id)}`;

// What was refused is said in the box, and stays until the next try.
function makeNote() {
  const note = h('div', { role: 'alert' });
  const attempt = async (work) => {
    note.replaceChildren();
    try { await work(); } catch (error) { replace(note, h('p', { class: 'small' }, h('strong', {}, 'Not accepted: '), error.message)); }
  };
  return { note, attempt };
}

export function approvalBox(item, done = () => {}) {
  const reason = h('input', { type: 'text', maxlength: '500' });
  const { note, attempt } = makeNote();
  const decide = (decision) => attempt(async () => {
    await call(`${where(item)}/approvals/${encodeURIComponent(item.tool_call_id)}`, {
      method: 'POST', body: { decision, reason: reason.value || null },
    });
    toast(decision === 'approve' ? 'Approved' : 'Denied');
    announceChange();
    done(decision);
  });
  return h('div', { class: 'ask', role: 'group', 'aria-label': `Approval of ${item.tool}` },
    h('h3', {}, 'May the agent call ', h('code', {}, item.tool), '?'),
    h('pre', { tabindex: '0', 'aria-label': 'Arguments' }, pretty(item.arguments)),
    item.expires_at && h('p', { class: 'small' }, 'Without a decision it is denied: ', when(item.expires_at)),
    h('label', { class: 'field' }, 'Reason (optional; the model reads it)', reason), note,
    h('div', { class: 'actions' },
      button('Approve', () => decide('approve'), { class: 'main' }),
      button('Deny', () => decide('deny'), { class: 'danger' })));
}

export function questionBox(item, done = () => {}) {
  const fields = item.requested_schema ? makeFields(item.requested_schema) : [];
  const { note, attempt } = makeNote();
  const answer = (action) => attempt(async () => {
    if (action === 'accept' && !fields.every((field) => field.check())) return;
    const content = action === 'accept' && !item.url ? Object.fromEntries(fields.flatMap((field) => field.read())) : null;
    await call(`${where(item)}/questions/${encodeURIComponent(item.question_id)}`, {
      method: 'POST', body: content === null ? { action } : { action, content },
    });
    toast('Answered');
    announceChange();
    done(action);
  });
  const link = item.url && /^https?:\/\//i.test(item.url);
  return h('div', { class: 'ask', role: 'group', 'aria-label': `Question of ${item.tool}` },
    h('h3', {}, h('code', {}, item.tool), ' asks'),
    h('p', {}, item.message),
    item.url && h('p', {}, link ? h('a', { href: item.url, target: '_blank', rel: 'noopener noreferrer' }, item.url) : h('code', {}, item.url)),
    fields.map((field) => field.element), note,
    item.expires_at && h('p', { class: 'small' }, 'Without an answer it is cancelled: ', when(item.expires_at)),
    h('div', { class: 'actions' },
      button(item.url ? 'I have done it' : 'Answer', () => answer('accept'), { class: 'main' }),
      button('Decline', () => answer('decline')),
      button('Cancel the call', () => answer('cancel'), { class: 'danger' })));
}

function makeFields(schema) {
  const required = schema.required || [];
  return Object.entries(schema.properties || {}).map(([name, rules]) => makeField(name, rules, required.includes(name)));
}

function makeField(name, rules, required) {
  const title = `${rules.title || name}${required ? '' : ' (optional)'}`;
  const about = rules.description && h('span', { class: 'small quiet' }, rules.description);
  if (rules.type === 'boolean') {
    const box = h('input', { type: 'checkbox', checked: Boolean(rules.default) });
    return { element: h('label', { class: 'line field' }, box, title, ' ', about), read: () => [[name, box.checked]], check: () => true };
  }
  if (rules.type === 'array') return makeChoices(name, title, about, rules);
  const options = rules.enum ? rules.enum.map((value, at) => [value, (rules.enumNames || [])[at] || value])
    : (rules.oneOf || rules.anyOf || []).filter((one) => 'const' in one).map((one) => [one.const, one.title || one.const]);
  const numeric = rules.type === 'number' || rules.type === 'integer';
  const kinds = { email: 'email', uri: 'url', date: 'date' };
  const input = options.length
    ? h('select', {}, required ? null : h('option', { value: '' }, '–'), options.map(([value, text]) => h('option', { value }, text)))
    : h('input', { type: numeric ? 'number' : kinds[rules.format] || 'text', step: rules.type === 'number' ? 'any' : null,
      min: rules.minimum, max: rules.maximum, minlength: rules.minLength, maxlength: rules.maxLength });
  input.required = required && (numeric || options.length > 0 || rules.minLength > 0 || Boolean(rules.format || rules.pattern));
  if (rules.default !== undefined) input.value = String(rules.default);
  return {
    element: h('label', { class: 'field' }, title, ' ', about, input),
    read: () => (input.value === '' && !required ? [] : [[name, numeric ? Number(input.value) : input.value]]),
    check: () => input.reportValidity(),
  };
}

function makeChoices(name, title, about, rules) {
  const items = rules.items || {};
  const options = items.enum || (items.anyOf || items.oneOf || []).map((one) => one.const);
  const boxes = options.map((value) => [value, h('input', { type: 'checkbox', checked: (rules.default || []).includes(value) })]);
  return {
    element: h('fieldset', {}, h('legend', {}, title, ' ', about), boxes.map(([value, box]) => h('label', { class: 'line' }, box, value))),
    read: () => [[name, boxes.filter(([, box]) => box.checked).map(([value]) => value)]],
    check: () => true,
  };
}
