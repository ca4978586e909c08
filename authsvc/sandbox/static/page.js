// Every value from the sandbox is shown through textContent: app ids, codes and requests come from strangers.
const api = '/sandbox/v1';
const $ = (id) => document.getElementById(id);
const state = {
  texts: {}, language: 'en', catalogue: {}, apps: [], rules: { faults: [] }, secrets: new Map(),
  after: 0, era: null, rows: new Map(),
};

const text = (key) => state.texts[state.language]?.[key] ?? key;

function element(tag, content, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...(Array.isArray(content) ? content : [content ?? '']));
  return made;
}

async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(api + path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error(text('unreachable'));
  }
  const fields = await answer.json();
  if (!answer.ok) throw new Error(fields.error);
  return fields;
}

function trouble(message) {
  $('trouble').textContent = message ?? '';
  $('trouble').hidden = !message;
}

const attempt = (work) => async (event) => {
  event?.preventDefault();
  try {
    await work(event);
    trouble();
  } catch (error) {
    trouble(error.message);
  }
};

const button = (key, work, pressed) => {
  const made = element('button', text(key), { type: 'button', onclick: attempt(work) });
  if (pressed !== undefined) made.setAttribute('aria-pressed', String(pressed));
  return made;
};

const spelt = (name, parameter) => (name && parameter.trim() ? `${name};${parameter.trim()}` : name);

// --- codes and encrypted data

function minted(kind, value) {
  const shown = element('code', value);
  const label = element('span', text(kind));
  label.dataset.text = kind;
  const copy = button('copy', async () => {
    try {
      await navigator.clipboard.writeText(value);
    } catch {  // no clipboard without permission: select it for the keyboard
      getSelection().selectAllChildren(shown);
    }
  });
  copy.dataset.text = 'copy';
  const item = element('li', [label, ' ', shown, ' ', copy]);
  item.dataset.kind = kind;
  $('minted').prepend(item);
  while ($('minted').children.length > 20) $('minted').lastChild.remove();
}

async function mint(path, kind) {
  const body = { app_id: $('mint-app').value, user: $('mint-user').value };
  const fault = spelt($('mint-fault').value, $('mint-parameter').value);
  if (fault) body.fault = fault;
  minted(kind, (await call('POST', path, body)).code);
}

async function encrypt() {
  const data = await call('POST', '/user-data', {
    app_id: $('mint-app').value, user: $('mint-user').value,
    kind: $('data-kind').value, variant: $('data-variant').value,
  });
  minted('encrypted_data', JSON.stringify(data));
}

// --- faults

async function switchOn() {
  const times = $('fault-times').value.trim();
  showRules(await call('PUT', '/faults', {
    fault: spelt($('fault-name').value, $('fault-parameter').value),
    app_id: $('fault-app').value || null,
    path: $('fault-path').value || null,
    times: times ? Number(times) : null,
  }));
}

function showRules(rules) {
  state.rules = rules;
  const items = rules.faults.map((rule) => element('li', [
    element('code', rule.fault), ' · ', rule.app_id ?? text('every_app'), ' · ', rule.path ?? text('every_path'),
    ' · ', rule.remaining === null ? text('until_cleared') : `${rule.remaining} ${text('more_times')}`,
  ]));
  $('rules').replaceChildren(...(items.length ? items : [element('li', text('no_rules'), { className: 'none' })]));
}

function describe() {
  const name = $('fault-name').value;
  const kind = state.catalogue[name];
  if (!kind) return;
  const unit = kind.parameter === 'none' ? '' : ` (${text('parameter')}: ${text(`parameter_${kind.parameter}`)})`;
  $('fault-meaning').textContent = text(`fault_${name}`) + unit;
}

// --- apps and settings

function showApps() {
  const items = state.apps.map((app) => {
    const path = `/apps/${encodeURIComponent(app.app_id)}`;
    const change = (body) => async () => { await call('PUT', path, body); await loadApps(); };
    const secret = state.secrets.get(app.app_id);
    const told = element('p', secret ? [`${text('new_secret')} `, element('code', secret)] : '', { className: 'hint' });
    const item = element('li', [
      element('code', app.app_id), ' · ', app.open_platform ?? text('unbound'), element('br'),
      button('rotate_secret', async () => {
        state.secrets.set(app.app_id, (await call('POST', `${path}/secret`)).secret);
        showApps();
      }),
      button('revoke_tokens', async () => {
        const { revoked } = await call('POST', `${path}/revoke-tokens`);
        told.textContent = `${text('revoked')} ${revoked}`;
      }),
      button('tokens_stuck', change({ tokens_stuck: !app.tokens_stuck }), app.tokens_stuck),
      button('frozen', change({ frozen: !app.frozen }), app.frozen),
      app.open_platform === null
        ? button('bind', change({ open_platform: 'op1' }))
        : button('unbind', change({ open_platform: null })),
      told,
    ]);
    item.dataset.app = app.app_id;
    return item;
  });
  $('apps').replaceChildren(...items);
}

async function loadApps() {
  state.apps = (await call('GET', '/apps')).apps;
  showApps();
}

async function loadSettings() {
  const settings = await call('GET', '/settings');
  const items = Object.entries(settings).filter(([, value]) => typeof value === 'boolean').map(([name, value]) =>
    element('li', button(`setting_${name}`, async () => {
      await call('PUT', '/settings', { [name]: !value });
      await loadSettings();
    }, value)));
  $('settings').replaceChildren(...items);
}

// --- what arrives

function showRequest(request) {
  const cell = (key, value, properties) => {
    const made = element('td', value ?? '', properties);
    Object.assign(made.dataset, { key, label: text(key) });
    return made;
  };
  const refused = !['session', 'ok', 'pending'].includes(request.outcome);
  const row = element('tr', [
    cell('number', String(request.number)),
    cell('time', request.at.slice(11, 23)),
    cell('request', element('span', `${request.method} ${request.target}`, { className: 'mono' })),
    cell('app', request.app_id),
    cell('code', request.code),
    cell('fault', request.fault),
    cell('outcome', request.outcome, { className: refused ? 'refused' : '' }),
  ]);
  const old = state.rows.get(request.number);
  if (old) old.replaceWith(row);
  else $('requests').prepend(row);
  state.rows.set(request.number, row);
}

function forgetRequests() {
  state.after = 0;
  state.rows.clear();
  $('requests').replaceChildren();
}

async function poll() {
  const news = await call('GET', `/requests?after=${state.after}`);
  if (state.era !== null && news.era !== state.era) {
    state.era = news.era;
    forgetRequests();
    return poll();
  }
  state.era = news.era;
  for (const request of news.requests) showRequest(request);
  const pending = news.requests.find((request) => request.outcome === 'pending');
  state.after = pending ? pending.number - 1 : news.requests.at(-1)?.number ?? state.after;
  while (state.rows.size > 200) {
    const oldest = Math.min(...state.rows.keys());
    state.rows.get(oldest).remove();
    state.rows.delete(oldest);
  }
  $('request-count').textContent = `${state.rows.size}`;
  $('now').textContent = (await call('GET', '/clock')).now.slice(0, 19).replace('T', ' ') + ' UTC';
  showRules(await call('GET', '/faults'));
}

let lost = false;
async function watch() {
  try {
    await poll();
    if (lost) trouble();
    lost = false;
  } catch (error) {
    lost = true;
    trouble(error.message);
  }
  setTimeout(watch, 1000);
}

// --- language and start

function speak(language) {
  state.language = language;
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = text('title');
  for (const labelled of document.querySelectorAll('[data-text]')) labelled.textContent = text(labelled.dataset.text);
  for (const choice of document.querySelectorAll('[data-language]')) {
    choice.setAttribute('aria-pressed', String(choice.dataset.language === language));
  }
  for (const option of document.querySelectorAll('#data-variant option')) {
    option.textContent = `${option.value}: ${text(`variant_${option.value}`)}`;
  }
  for (const cell of document.querySelectorAll('td[data-key]')) cell.dataset.label = text(cell.dataset.key);
  describe();
  showApps();
  showRules(state.rules);
}

async function start() {
  const [texts, index, faults] = await Promise.all([
    fetch('/sandbox/texts.json').then((answer) => answer.json()),
    fetch('/').then((answer) => answer.json()),
    call('GET', '/faults'),
  ]);
  state.texts = texts;
  state.catalogue = faults.catalogue;
  await loadApps();
  const option = (value) => element('option', value, { value });
  for (const list of document.querySelectorAll('select.apps')) list.append(...state.apps.map((app) => option(app.app_id)));
  for (const list of document.querySelectorAll('select.faults')) list.append(...Object.keys(state.catalogue).map(option));
  $('fault-path').append(...index.endpoints.map(option));
  $('data-variant').append(...Object.keys(index.user_data_variants).map(option));

  let wanted = null;
  try { wanted = localStorage.getItem('language'); } catch { /* storage is switched off */ }
  wanted ??= new URLSearchParams(location.search).get('lang') ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');
  speak(wanted === 'zh' ? 'zh' : 'en');
  await loadSettings();

  $('mint').onsubmit = attempt(() => mint('/codes', 'login_code'));
  $('mint-phone').onclick = attempt(() => mint('/phone-codes', 'phone_code'));
  $('encrypt').onsubmit = attempt(encrypt);
  $('fault').onsubmit = attempt(switchOn);
  $('fault-name').onchange = describe;
  $('faults-clear').onclick = attempt(async () => showRules(await call('DELETE', '/faults')));
  $('refuse').onsubmit = attempt(() => call('POST', '/refuse', { seconds: Number($('refuse-seconds').value) }));
  $('close-idle').onclick = attempt(() => call('POST', '/close-idle'));
  $('requests-clear').onclick = attempt(async () => { await call('DELETE', '/requests'); forgetRequests(); });
  for (const chosen of document.querySelectorAll('[data-advance]')) {
    chosen.onclick = attempt(() => call('POST', '/clock', { seconds: Number(chosen.dataset.advance) }));
  }
  for (const chosen of document.querySelectorAll('[data-language]')) {
    chosen.onclick = attempt(async () => {
      try { localStorage.setItem('language', chosen.dataset.language); } catch { /* not kept, then */ }
      speak(chosen.dataset.language);
      await loadSettings();
    });
  }
  document.documentElement.dataset.ready = 'yes';
  watch();
}

attempt(start)();
