import { Rollcall } from './rollcall.js';

const texts = {
  en: {
    title: 'Who is online?', now: 'In the crowd it is', online: 'online', other: '中文',
    intro: 'Fifty people live a day in minutes: log in, lose their signal, switch phones, open two tabs. One list asks getOnOffStatus every 3 s, as an app on LeanCloud does; the other watches.',
    try: 'Try it', jerryKill: 'Kill jerry’s process', jerryStart: 'Start it again', tomPhone: 'Log tom in on another phone',
    tomLogout: 'Log tom out', spikeOpen: 'Open one more tab for spike', spikeClose: 'Close a tab of spike',
    friend: 'Friend', polled: 'Polled', live: 'Live', why: 'Why, in the server’s words',
    status: { online: 'online', offline: 'offline', unknown: 'unknown' }, done: 'done', lost: 'The server does not answer.',
  },
  zh: {
    title: '谁在线？', now: '人群里现在是', online: '人在线', other: 'English',
    intro: '五十个用户在几分钟里过完一天：登录、断网、换手机、开两个标签页。一列像 LeanCloud 应用那样每 3 秒查询 getOnOffStatus，另一列实时订阅。',
    try: '试一试', jerryKill: '杀掉 jerry 的进程', jerryStart: '重新启动', tomPhone: 'tom 在另一部手机登录',
    tomLogout: 'tom 退出登录', spikeOpen: 'spike 再开一个标签页', spikeClose: 'spike 关闭一个标签页',
    friend: '好友', polled: '轮询', live: '实时', why: '原因（服务器原文）',
    status: { online: '在线', offline: '离线', unknown: '未知' }, done: '完成', lost: '服务器没有响应。',
  },
};
let language = navigator.language.startsWith('zh') ? 'zh' : 'en';
const rows = new Map(); // id → its cells
const $ = (id) => document.getElementById(id);

function show(cell, status) {
  cell.classList.toggle('changed', cell.dataset.status !== undefined && cell.dataset.status !== status);
  cell.dataset.status = status;
  cell.classList.toggle('online', status === 'online');
  cell.textContent = texts[language].status[status];
}

function speak() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const e of document.querySelectorAll('[data-t]')) e.textContent = texts[language][e.dataset.t];
  for (const { polled, live } of rows.values()) {
    for (const cell of [polled, live]) if (cell.dataset.status) cell.textContent = texts[language].status[cell.dataset.status];
  }
  $('language').textContent = texts[language].other;
  $('said').textContent = '';
}

function row(id) {
  const tr = document.createElement('tr');
  tr.id = `friend-${id}`;
  const name = document.createElement('th');
  name.scope = 'row';
  name.textContent = id;
  tr.append(name);
  const cells = {};
  for (const key of ['polled', 'live', 'why']) {
    cells[key] = document.createElement('td');
    cells[key].className = key === 'why' ? 'why' : `status ${key}`;
    tr.append(cells[key]);
  }
  cells.why.lang = 'en';
  $('friends').append(tr);
  return cells;
}

async function state() {
  const answer = await fetch('state');
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}

/** Asks as the guide of LeanCloud does: "1", "0", or null for a peer that was not seen. */
async function poll({ app, key }) {
  const ids = [...rows.keys()];
  const answer = await fetch('/1.1/functions/getOnOffStatus', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-LC-Id': app, 'X-LC-Key': key },
    body: JSON.stringify({ peerIds: ids }),
  });
  if (!answer.ok) throw new Error(answer.status);
  const { result } = await answer.json();
  const words = { 1: 'online', 0: 'offline' };
  ids.forEach((id, i) => show(rows.get(id).polled, words[result[i]] ?? 'unknown'));
}

async function explain() {
  const { hour, people } = await state();
  const minutes = Math.floor(hour * 60);
  $('clock').textContent = [Math.floor(minutes / 60), minutes % 60].map((n) => String(n).padStart(2, '0')).join(':');
  for (const { id, why } of people) rows.get(id).why.textContent = why;
}

/** Repeats what every so often; a failure is shown until the next success. */
async function every(seconds, what) {
  for (;;) {
    try {
      await what();
      if ($('said').textContent === texts[language].lost) $('said').textContent = '';
    } catch {
      $('said').textContent = texts[language].lost;
    }
    await new Promise((next) => { setTimeout(next, seconds * 1000); });
  }
}

async function main() {
  speak();
  $('language').onclick = () => { language = language === 'en' ? 'zh' : 'en'; speak(); };
  for (const button of document.querySelectorAll('[data-do]')) {
    button.onclick = async () => {
      try {
        const answer = await fetch(`do/${button.dataset.do}`, { method: 'POST' });
        const { error } = await answer.json();
        $('said').textContent = `${button.textContent}: ${error ?? texts[language].done}`;
      } catch {
        $('said').textContent = texts[language].lost;
      }
    };
  }
  const first = await state();
  for (const { id } of first.people) rows.set(id, row(id));
  every(3, () => poll(first));
  every(2, explain);
  new Rollcall({ url: location.origin, app: first.app, key: first.key }).watch([...rows.keys()], ({ peer, status }) => {
    show(rows.get(peer).live, status);
    $('count').textContent = [...rows.values()].filter(({ live }) => live.dataset.status === 'online').length;
  });
}

main().catch((err) => { $('said').textContent = `${texts[language].lost} ${err.message}`; });
