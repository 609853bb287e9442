"use strict";
// Values at the pointer for the curves, and the browser of rollouts. What a model wrote reaches the
// page through textContent and write() only.
(() => {
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const number = value => Number.isNaN(value) || value == null ? "–"
  : String(Math.abs(value) < 1000 ? +value.toPrecision(4) : Math.round(10 * value) / 10);

// Hidden characters as what they are; the joiners belong to emoji and Indic scripts
const HIDDEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const BOXES = 2000;
function named(char) {
  const code = char.codePointAt(0);
  if (code < 32) return String.fromCharCode(0x2400 + code);
  return code === 127 ? "\u2421" : "U+" + code.toString(16).toUpperCase().padStart(4, "0");
}
const visible = text => text.replace(HIDDEN, named);
function write(parent, text) {
  let last = 0, boxes = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (++boxes > BOXES) break;
    const box = make("span", "ctl", named(found[0]));
    box.title = "code " + found[0].codePointAt(0).toString(16);
    parent.append(text.slice(last, found.index), box);
    last = found.index + found[0].length;
  }
  parent.append(boxes > BOXES ? visible(text.slice(last)) : text.slice(last));
  return parent;
}

// ---- curves: the values at the pointer, or at the arrow keys -----------------------------------
function nearest(steps, step) {
  let low = 0, high = steps.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle; else high = middle;
  }
  return Math.abs(steps[high] - step) < Math.abs(steps[low] - step) ? high : low;
}
function readable(figure) {
  const data = JSON.parse($(".readings", figure).textContent);
  const told = make("div", "readout");
  told.setAttribute("role", "status");
  figure.append(told);
  const longest = data.series.reduce((a, b) => b.x.length > a.x.length ? b : a);
  const value = y => y == null ? "–" : data.percent ? number(100 * y) + "%" : number(y);
  function show(svg, place) {
    const step = longest.x[place];
    const [left, right] = svg.dataset.box.split(" ").map(Number);
    const [first, last] = svg.dataset.steps.split(" ").map(Number);
    const x = left + (step - first) / (last - first) * (right - left);
    const cursor = $(".cursor", svg);
    for (const [name, value] of [["x1", x], ["x2", x], ["visibility", "visible"]]) cursor.setAttribute(name, value);
    told.replaceChildren(make("b", "", "step " + number(step)));
    for (const each of data.series) {
      const line = make("span");
      line.append(make("i", "swatch c" + each.look), each.name + " ",
        make("b", "", value(each.y[nearest(each.x, step)])));
      told.append(line);
    }
    told.classList.toggle("left", x > (left + right) / 2);
    told.classList.add("on");
    svg.dataset.place = place;
  }
  const hide = svg => { told.classList.remove("on"); $(".cursor", svg).setAttribute("visibility", "hidden"); };
  for (const svg of $$("svg[data-box]", figure)) {
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect();
      const [left, right] = svg.dataset.box.split(" ").map(Number);
      const [first, last] = svg.dataset.steps.split(" ").map(Number);
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      show(svg, nearest(longest.x, first + (x - left) / (right - left) * (last - first)));
    });
    svg.addEventListener("keydown", event => {
      const end = longest.x.length - 1, at = Number(svg.dataset.place ?? end);
      const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: end}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      show(svg, Math.max(0, Math.min(end, to)));
    });
    for (const name of ["pointerleave", "blur"]) svg.addEventListener(name, () => hide(svg));
  }
}
$$("figure.chart").forEach(readable);

// ---- rollouts -------------------------------------------------------------------------------------
if (!$("#rollouts")) return;
if (!window.DecompressionStream) {
  $("#plain").textContent = "This browser cannot unpack the completions; a newer one can.";
  return;
}
const RUNS = JSON.parse($("#rollouts .runs").textContent);
const form = $("#filters"), field = form.elements, rows = $("#rows"), sizer = $("#sizer");
const HEIGHT = 28, KEPT = 300, FEW = 3;
const NUMBERS = ["s", "p", "g", "t", "f", "l", "a", "k", "d", "x"];
const loaded = new Map();
let run, shown = new Int32Array(0), order = {key: "", down: false}, chosen = -1, pinned = null, turn = 0;

async function unpack(element) {
  const text = element.textContent;
  const raw = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), char => char.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}
async function load(place) {
  const one = {place, count: RUNS[place].count, names: RUNS[place].rewards, rewards: {}, prompts: [],
    chunks: [], texts: new Map()};
  const columns = await Promise.all($$(`.columns[data-run="${place}"]`).map(unpack));
  for (const key of NUMBERS) one[key] = new Float64Array(one.count);
  for (const name of one.names) one.rewards[name] = new Float64Array(one.count).fill(NaN);
  const elements = $$(`.texts[data-run="${place}"]`);
  let start = 0;
  columns.forEach((part, chunk) => {
    const size = part.s.length;
    for (const key of NUMBERS) part[key].forEach((v, i) => { one[key][start + i] = v ?? NaN; });
    for (const [name, values] of Object.entries(part.rewards))
      values.forEach((v, i) => { one.rewards[name][start + i] = v ?? NaN; });
    part.prompts.forEach(([id, index], i) => one.prompts.push({id, index, chunk, place: i}));
    one.chunks.push({start, element: elements[chunk]});
    start += size;
  });
  return one;
}
function chunkOf(one, row) {
  let low = 0, high = one.chunks.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (one.chunks[middle].start <= row) low = middle; else high = middle;
  }
  return low;
}
async function words(one, chunk) {  // the newest KEPT chunks stay in memory
  let found = one.texts.get(chunk);
  one.texts.delete(chunk);
  found ??= await unpack(one.chunks[chunk].element);
  one.texts.set(chunk, found);
  if (one.texts.size > KEPT) one.texts.delete(one.texts.keys().next().value);
  return found;
}
async function textOf(one, row, chunk = chunkOf(one, row)) {
  return (await words(one, chunk)).texts[row - one.chunks[chunk].start];
}

// ---- filters and order
const bound = (name, missing) => field[name].value === "" ? missing : Number(field[name].value);
const within = (value, low, high) => low === -Infinity && high === Infinity || value >= low && value <= high;
const FATE = {kept: (r, i) => r.k[i], pruned: (r, i) => !r.k[i], dropped: (r, i) => r.d[i], failed: (r, i) => r.x[i]};
function byNumbers(one) {
  const ends = ["step", "total", "score"].map(n => [bound(n + "-low", -Infinity), bound(n + "-high", Infinity)]);
  const scores = one.rewards[field.name.value] ?? one.l;
  const finish = field.finish.value, fate = FATE[field.fate.value];
  const asked = field.prompt.value.trim().toLowerCase();
  const wanted = one.prompts.map(p => !asked || p.id.toLowerCase().includes(asked) || asked === "#" + p.index);
  const found = [];
  for (let i = 0; i < one.count; i++) {
    if (!wanted[one.p[i]] || !within(one.s[i], ...ends[0]) || !within(one.l[i], ...ends[1])) continue;
    if (!within(scores[i], ...ends[2]) || finish && one.f[i] !== +finish || fate && !fate(one, i)) continue;
    found.push(i);
  }
  return found;
}
async function byText(one, found, mine) {
  const text = field.text.value;
  if (!text) return found;
  const pattern = new RegExp(text.replace(/[\\^$.*+?()[\]{}|\/-]/g, "\\$&"), "iu");
  const kept = [];
  let chunk = -1, part, end = -1;
  for (const row of found) {
    if (row >= end || chunk < 0) {
      chunk = chunkOf(one, row);
      end = one.chunks[chunk + 1]?.start ?? one.count;
      part = (await words(one, chunk)).texts;
      if (mine !== turn) return null;
    }
    if (pattern.test(part[row - one.chunks[chunk].start])) kept.push(row);
  }
  return kept;
}
function ordered(one, found, rows = Int32Array.from(found)) {
  const values = one.rewards[order.key.slice(1)] && order.key[0] === "r" ? one.rewards[order.key.slice(1)]
    : order.key === "#" ? Float64Array.from(one.p, p => one.prompts[p].index) : one[order.key];
  if (!values) return rows;
  const sign = order.down ? -1 : 1;
  return rows.sort((a, b) => {
    const x = values[a], y = values[b];
    if (x !== x || y !== y) return (x !== x) - (y !== y) || a - b;  // what is missing comes last
    return sign * (x - y) || a - b;
  });
}
async function refresh() {
  const mine = ++turn, one = run;
  $("#rollouts").dataset.state = "busy";
  const found = await byText(one, byNumbers(one), mine);
  if (mine !== turn) return;
  shown = ordered(one, found);
  $("#count").textContent = `${shown.length.toLocaleString("en")} of ${one.count.toLocaleString("en")} completions`;
  sizer.style.height = shown.length * HEIGHT + "px";
  rows.scrollTop = 0;
  await paint();
  if (mine === turn) $("#rollouts").dataset.state = "ready";
}

// ---- the list: only rows in sight are in the document
const columns = () => [["step", "s"], ["prompt", "#"], ["reward", "l"], ["sample", "g"],
  ...run.names.slice(0, 6).map(name => [visible(name), "r" + name]), ["advantage", "a"], ["tokens", "t"], ["fate", "k"]];
function heads() {
  const list = columns();
  $("#list").style.setProperty("--columns", `repeat(${list.length}, 4.6rem) minmax(12rem, 1fr)`);
  $("#heads").replaceChildren(...list.map(([title, key], place) => {
    const sign = order.key !== key ? "" : order.down ? " ▾" : " ▴", sort = () => {
      order = {key, down: order.key === key ? !order.down : key !== "s"};
      heads();
      refresh();
    };
    return button(title + sign, sort, place < FEW ? "" : "extra");
  }), make("span", "", "completion"));
}
const fateOf = (one, i) => one.d[i] ? "dropped" : one.k[i] ? "trained" : "left out";
function paint() {
  const first = Math.max(0, Math.floor(rows.scrollTop / HEIGHT) - 4);
  const last = Math.min(shown.length, first + Math.ceil(rows.clientHeight / HEIGHT) + 8);
  const one = run, list = [], coming = [];
  for (let place = first; place < last; place++) {
    const i = shown[place], row = make("div", "row");
    row.id = "row-" + i;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", i === chosen);
    row.style.transform = `translateY(${place * HEIGHT}px)`;
    const cells = [one.s[i], "#" + one.prompts[one.p[i]].index, number(one.l[i]), one.g[i],
      ...one.names.slice(0, 6).map(name => number(one.rewards[name][i])), number(one.a[i]),
      one.t[i] + (one.f[i] ? " …" : ""), fateOf(one, i)];
    cells.forEach((cell, at) => row.append(make("span", at < FEW ? "num" : "num extra", String(cell))));
    const text = row.appendChild(make("span", "text"));
    coming.push(textOf(one, i).then(all => write(text, all.slice(0, 300).replace(/[ \n\t]+/gu, " "))));
    row.addEventListener("click", () => choose(place));
    list.push(row);
  }
  sizer.replaceChildren(...list);
  rows.setAttribute("aria-activedescendant", "row-" + chosen);
  return Promise.all(coming);
}
function choose(place) {
  if (place < 0 || place >= shown.length) return;
  chosen = shown[place];
  const top = place * HEIGHT;
  if (top < rows.scrollTop) rows.scrollTop = top;
  if (top + HEIGHT > rows.scrollTop + rows.clientHeight) rows.scrollTop = top + HEIGHT - rows.clientHeight;
  paint();
  detail();
}

// ---- one completion, or the difference of two
const TOKEN = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;
const CELLS = 9e6;
function difference(left, right) {  // longest common subsequence of words
  const a = left.match(TOKEN) ?? [], b = right.match(TOKEN) ?? [];
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const n = a.length - start - end, m = b.length - start - end, wide = m + 1;
  const same = [a.map((_, i) => i < start || i >= start + n), b.map((_, i) => i < start || i >= start + m)];
  if ((n + 1) * wide <= CELLS) {
    const best = new Uint16Array((n + 1) * wide);
    for (let i = n - 1; i >= 0; i--)
      for (let j = m - 1; j >= 0; j--)
        best[i * wide + j] = a[start + i] === b[start + j] ? best[(i + 1) * wide + j + 1] + 1
          : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
    for (let i = 0, j = 0; i < n && j < m;) {
      if (a[start + i] === b[start + j]) same[0][start + i++] = same[1][start + j++] = true;
      else if (best[(i + 1) * wide + j] >= best[i * wide + j + 1]) i++;
      else j++;
    }
  }
  return [[a, same[0]], [b, same[1]]];
}
function marked(parent, [tokens, same], name) {
  for (let i = 0; i < tokens.length;) {
    let j = i;
    while (j < tokens.length && same[j] === same[i]) j++;
    const text = tokens.slice(i, j).join("");
    if (same[i]) write(parent, text); else parent.append(write(make(name), text));
    i = j;
  }
}
function story(title, one, i, part, fill) {
  const card = make("article", "rollout"), prompt = one.prompts[one.p[i]];
  const several = RUNS.length > 1 ? RUNS[one.place].name + ", " : "";
  card.append(make("h4", "", `${title}${several}step ${one.s[i]}, prompt #${prompt.index}, sample ${one.g[i]}`));
  const scores = one.names.map(name => `${visible(name)} ${number(one.rewards[name][i])}`).join(", ");
  card.append(make("p", "note", `reward ${number(one.l[i])} (${scores}), advantage ${number(one.a[i])}, ` +
    `${one.t[i]} tokens, ${one.f[i] ? "cut at the length limit" : "ended by itself"}, ${fateOf(one, i)}`));
  for (const [name, told] of Object.entries(part.errors[i - one.chunks[chunkOf(one, i)].start] ?? {}))
    card.append(write(make("p", "note bad"), `${name}: ${told}`));
  const text = card.appendChild(make("pre", "text"));
  fill(text);
  if (!text.textContent) text.append(make("i", "", "(empty)"));
  return card;
}
async function parts(one, i) {
  const prompt = one.prompts[one.p[i]];
  const [part, asked] = await Promise.all([words(one, chunkOf(one, i)), words(one, prompt.chunk)]);
  return {part, text: part.texts[i - one.chunks[chunkOf(one, i)].start], asked: asked.prompts[prompt.place]};
}
function relatives(one, i) {  // other completions of the same prompt, of any step
  const list = make("select");
  list.setAttribute("aria-label", "Compare with the same prompt at another step");
  list.append(new Option("compare with the same prompt at …", ""));
  for (let j = 0; j < one.count && list.length < 500; j++)
    if (one.p[j] === one.p[i] && j !== i)
      list.append(new Option(`step ${one.s[j]}, sample ${one.g[j]}, reward ${number(one.l[j])}`, j));
  list.addEventListener("change", () => { pinned = {one, i: Number(list.value)}; detail(); });
  return list;
}
const button = (title, act, className = "") => {
  const found = make("button", className, title);
  found.type = "button";
  found.addEventListener("click", act);
  return found;
};
async function detail() {
  const one = run, i = chosen, against = pinned, box = $("#detail");
  const mine = await parts(one, i), other = against && await parts(against.one, against.i);
  if (i !== chosen || against !== pinned) return;
  const tools = make("div", "tools");
  tools.append(button("Keep as A", () => { pinned = {one, i}; detail(); }));
  if (against) tools.append(button("Forget A", () => { pinned = null; detail(); }));
  const only = () => { field.prompt.value = one.prompts[one.p[i]].id; refresh(); };
  tools.append(relatives(one, i), button("Only this prompt", only));
  const prompt = make("details", "prompt");
  prompt.append(make("summary", "", "Prompt and answer"));
  for (const [role, content] of mine.asked[0]) {
    const message = prompt.appendChild(make("div", "message"));
    write(message.appendChild(make("b")), role);
    write(message.appendChild(make("pre", "text")), content);
  }
  if (mine.asked[1] !== null) write(prompt.appendChild(make("p")), "answer: " + mine.asked[1]);
  const cards = make("div", "pair");
  const compared = against && (against.one !== one || against.i !== i);
  if (compared) {
    const [left, right] = difference(other.text, mine.text);
    cards.append(story("A: ", against.one, against.i, other.part, el => marked(el, left, "del")),
      story("B: ", one, i, mine.part, el => marked(el, right, "ins")));
  } else cards.append(story(against ? "A: " : "", one, i, mine.part, el => write(el, mine.text)));
  box.replaceChildren(tools, cards, prompt);
  box.dataset.row = "row-" + i;
  box.hidden = false;
}

// ---- events
async function open(place) {
  if (!loaded.has(place)) loaded.set(place, load(place));
  run = await loaded.get(place);
  chosen = -1;
  field.name.replaceChildren(...run.names.map(name => new Option(visible(name), name)));
  heads();
  await refresh();
}
let waiting = 0;
const soon = (act, delay) => {
  $("#rollouts").dataset.state = "busy";
  clearTimeout(waiting);
  waiting = setTimeout(act, delay);
};
const reopen = () => open(Number(field.run.value));
form.addEventListener("input", event => soon(event.target.name === "run" ? reopen : refresh, 60));
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("reset", () => soon(reopen, 0));
rows.addEventListener("scroll", () => requestAnimationFrame(paint), {passive: true});
window.addEventListener("resize", paint);
rows.addEventListener("keydown", event => {
  const at = shown.indexOf(chosen), page = Math.floor(rows.clientHeight / HEIGHT) - 1;
  const to = {ArrowDown: at + 1, ArrowUp: at - 1, PageDown: Math.min(at + page, shown.length - 1),
    PageUp: Math.max(at - page, 0), Home: 0, End: shown.length - 1}[event.key];
  if (event.key === "a" && chosen >= 0) { pinned = {one: run, i: chosen}; detail(); }
  if (to === undefined) return;
  event.preventDefault();
  choose(to);
});
for (const see of $$(".see")) {
  if (!RUNS[see.dataset.run].count) continue;
  see.hidden = false;
  see.addEventListener("click", () => {
    form.reset();
    field.run.value = see.dataset.run;
    field["step-low"].value = see.dataset.first;
    field["step-high"].value = see.dataset.last;
    $("#rollouts").scrollIntoView();
  });
}
$("#plain").hidden = !(form.hidden = $("#list").hidden = false);
open(Number(field.run.value));
})();
