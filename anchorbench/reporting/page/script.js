"use strict";
// Sorts, filters, opens and draws what the page's records say; every statistic is in them already.
const one = (selector, at = document) => at.querySelector(selector);
const all = (selector, at = document) => [...at.querySelectorAll(selector)];
const safe = text => String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);

// The page's one rule for numbers (page/numbers.py).
function number(value, places, sign = false) {
  if (value == null) return "–";
  const size = Math.abs(value), digits = size >= 1e4 ? 0 : places;
  let text = size < 1e9 ? size.toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits}) : size.toExponential(1);
  text = text.replace(/^0\./, ".");
  return (!/[1-9]/.test(text) ? "" : value < 0 ? "−" : sign ? "+" : "") + text;
}
const interval = (estimate, low, high, places) => `${number(estimate, places, true)} [${low == null ? "−∞" : number(low, places, true)}, ${high == null ? "∞" : number(high, places, true)}]`;
const time = s => s == null ? "–" : s >= 3600 ? `${number(s / 3600, 1)} h` : s >= 60 ? `${number(s / 60, 1)} min` : s < .05 ? "< .1 s" : `${number(s, 1)} s`;
const arrow = metric => ({max: "↑", min: "↓"}[metric.direction] || "");

// ---- without records: the bar, the matrices, printing

const seen = new IntersectionObserver(entries => entries.filter(e => e.isIntersecting).forEach(e => {
  for (const link of all("nav li a")) link.toggleAttribute("aria-current", link.hash === `#${e.target.id}`);
}), {rootMargin: "-15% 0px -80% 0px"});
for (const section of all("main > section")) seen.observe(section);

for (const table of all(".matrix")) walk(table);
function walk(table) { // one stop for Tab; arrows move within
  const rows = all("tbody tr", table).map(row => [...row.cells].slice(1).map(cell => one("a", cell)));
  const links = rows.flat().filter(Boolean);
  const stop = link => links.forEach(other => { other.tabIndex = other === link ? 0 : -1; });
  if (links.length) stop(links[0]);
  table.addEventListener("keydown", event => {
    const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
    let i = rows.findIndex(row => row.includes(event.target));
    if (!step || i < 0) return;
    event.preventDefault();
    let j = rows[i].indexOf(event.target), next;
    do { i += step[0]; j += step[1]; next = rows[i]?.[j]; } while (rows[i] && j >= 0 && j < rows[i].length && !next?.offsetParent);
    if (next?.offsetParent) { stop(next); next.focus(); }
  });
}
for (const button of all("[data-more]")) button.addEventListener("click", () => {
  const open = button.closest(".matrix-of").classList.toggle("open");
  button.setAttribute("aria-expanded", open);
});
addEventListener("beforeprint", () => all("details").forEach(details => { details.open = true; }));

// ---- the records

function bytes(text) { // of base 85, a fifteenth shorter than base 64
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
  const value = new Uint8Array(128), length = Math.floor(text.length * 4 / 5), words = new DataView(new ArrayBuffer(length + 4));
  for (let i = 0; i < 85; i++) value[digits.charCodeAt(i)] = i;
  for (let at = 0, from = 0; from < text.length; at += 4, from += 5) {
    let word = 0;
    for (let i = from; i < from + 5; i++) word = 85 * word + (i < text.length ? value[text.charCodeAt(i)] : 84);
    words.setUint32(at, word);
  }
  return words.buffer.slice(0, length);
}

async function unpack() {
  const packed = new Blob([bytes(one("#records").textContent)]);
  return new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function read(records) {
  const datasets = records.datasets.map(([id, label, kind]) => ({id, label, unit: kind === "folds" ? "fold" : "draw"}));
  const methods = records.methods.map(([id, label, kind]) => ({id, label, kind}));
  const metrics = records.metrics.map(([id, label, direction]) => ({id, label, direction}));
  const cells = new Map();
  const add = (dataset, method, protocol, metric, values, mean = null, spread = null, n = null) => {
    const runs = records.runs[`${dataset.id}/${method.id}/shared`] || records.runs[`${dataset.id}/${method.id}/${protocol}`];
    const [kind, rope, best, entries] = records.standings[`${dataset.id}/${protocol}/${metric.id}`] || ["", 0, -1, {}];
    const [value, sd, low, high, group, sunk, unconverged, leader, word, difference] = entries[methods.indexOf(method)] || [];
    const key = [dataset.id, method.id, protocol, metric.id].join("/");
    const cell = {
      key, dataset, method, protocol, metric, values, kind, value: value ?? mean, sd: sd ?? spread, low, high, group: group || 0, sunk: Boolean(sunk), unconverged: unconverged || 0,
      leader: methods[leader], word, difference, leads: methods[best] === method, runs, n: n ?? values.filter(v => v != null).length, elsewhere: n != null, seconds: median(runs?.s),
      places: records.decimals[`${dataset.id}/${metric.id}`] ?? 3, shared: `${dataset.id}/${method.id}/shared` in records.runs,
    };
    cells.set(key, cell);
    return cell;
  };
  for (const [k, d, m, tag, middle, shifts, mean, spread] of records.cells) {
    const unit = 10 ** (records.decimals[`${datasets[d].id}/${metrics[k].id}`] ?? 3), counted = typeof shifts === "number"; // a brief page says how many
    const values = counted ? [] : shifts.map(v => v == null ? null : (middle + v) / unit);
    for (const protocol of tag === "shared" ? records.sharing : [tag]) add(datasets[d], methods[m], protocol, metrics[k], values, mean, spread, counted ? shifts : null);
  }
  const find = key => { // also a cell all of whose runs failed
    if (cells.has(key)) return cells.get(key);
    const [d, m, protocol, k] = key.split("/"), dataset = datasets.find(x => x.id === d), method = methods.find(x => x.id === m);
    const runs = records.runs[`${d}/${m}/shared`] || records.runs[`${d}/${m}/${protocol}`];
    if (!dataset || !method || !runs) return null;
    const metric = metrics.find(x => x.id === k) || {id: k, label: k, direction: ""};
    return add(dataset, method, protocol, metric, runs.r.map(() => null));
  };
  return {datasets, methods, metrics, cells: [...cells.values()], find, records};
}
const median = values => { const sorted = (values || []).filter(v => v != null).sort((a, b) => a - b); return sorted.length ? sorted[sorted.length >> 1] : null; };
const at = (column, i) => column.length > 1 ? column[i] : column[0];

// ---- dots: one scale for all cells of a column; what lies far out is counted at the edge

function scale(cells) {
  const values = cells.flatMap(c => c.values).filter(v => v != null).sort((a, b) => a - b);
  if (!values.length) return null;
  const part = q => values[Math.round(q * (values.length - 1))], middle = part(.5);
  const far = 5 * Math.max(part(.75) - part(.25), Math.abs(middle) * .01, 1e-9);
  let low = Math.max(values[0], middle - far), high = Math.min(values.at(-1), middle + far);
  if (high - low < 1e-9) { low -= .01; high += .01; }
  return {low, high, x: v => (3 + 94 * (v - low) / (high - low)).toFixed(1)};
}
function dots(cell, s, height) {
  const y = height / 2, inside = v => v != null && v >= s.low && v <= s.high;
  const under = cell.values.filter(v => v != null && v < s.low).length, over = cell.values.filter(v => v != null && v > s.high).length;
  return `<svg width="100%" height="${height}" aria-hidden="true"><line class="base" x1="0" x2="100%" y1="${y}" y2="${y}"/>`
    + cell.values.filter(inside).map(v => `<circle class="run" cx="${s.x(v)}%" cy="${y}" r="3.2"/>`).join("")
    + (inside(cell.value) ? `<line class="middle" x1="${s.x(cell.value)}%" x2="${s.x(cell.value)}%" y1="${y - 6}" y2="${y + 6}"/>` : "")
    + (under ? `<text class="out" x="0" y="${y + 4}">‹${under}</text>` : "") + (over ? `<text class="out" x="100%" y="${y + 4}" text-anchor="end">${over}›</text>` : "") + "</svg>";
}
const better = (a, b) => (a.value == null) - (b.value == null) || (a.metric.direction === "max" ? b.value - a.value : a.value - b.value);
const badge = cell => cell.group ? `<span class="group g${cell.group}">${cell.group}</span>` : cell.sunk ? "≤ floor" : "";

// ---- scores

const KINDS = ["method", "variant", "control", "quirk"];
const COLUMNS = [
  {id: "method", title: "Method", of: c => c.method.label},
  {id: "dataset", title: "Dataset", of: c => c.dataset.label},
  {id: "metric", title: "Metric", of: c => c.metric.label},
  {id: "protocol", title: "Protocol", of: c => c.protocol},
  {id: "value", title: "Value", of: c => c.value, style: "r value"},
  {id: "sd", title: "SD", of: c => c.sd, style: "r wide"},
  {id: "n", title: "Runs", of: c => c.n, style: "r wide"},
  {id: "group", title: "Group", of: c => c.group || 99},
  {id: "seconds", title: "Time a fit", of: c => c.seconds, style: "r wide"},
];

function scores(page, go) {
  const {datasets, metrics, cells, records} = page, fields = ["dataset", "metric", "protocol", "kind", "method"];
  const state = {dataset: datasets[0].id, metric: "", protocol: records.protocols[0], kind: "2", method: "", sort: "value", down: false, limit: 200};
  const fill = (field, list, every) => { one(`#f-${field}`).innerHTML = `<option value="">${every}</option>` + list.map(x => `<option value="${safe(x.id)}">${safe(x.label)}</option>`).join(""); };
  fill("dataset", datasets, "all");
  fill("protocol", records.protocols.map(id => ({id, label: id})), "all");
  const down = () => metrics.find(k => k.id === state.metric)?.direction === "max";
  function set(changes) {
    Object.assign(state, changes);
    const have = new Set(cells.filter(c => !state.dataset || c.dataset.id === state.dataset).map(c => c.metric));
    fill("metric", metrics.filter(k => have.has(k)), "all");
    if (![...have].some(k => k.id === state.metric) && state.metric !== "") state.metric = null;
    if (state.metric == null) state.metric = records.headline[`${state.dataset}/${state.protocol || records.protocols[0]}`] || "";
    if ("metric" in changes || "dataset" in changes) Object.assign(state, {sort: "value", down: down()});
    draw();
  }
  function chosen() {
    const allowed = {0: 1, 1: 2, 2: 3, 3: 4}[state.kind], part = state.method.trim().toLowerCase();
    return cells.filter(c => (!state.dataset || c.dataset.id === state.dataset) && (!state.metric || c.metric.id === state.metric) && (!state.protocol || c.protocol === state.protocol)
      && KINDS.indexOf(c.method.kind) < allowed && (!part || `${c.method.label} ${c.method.id}`.toLowerCase().includes(part)));
  }
  function draw() {
    for (const field of fields) if (one(`#f-${field}`).value !== state[field]) one(`#f-${field}`).value = state[field];
    const rows = chosen(), single = field => new Set(rows.map(c => c[field])).size < 2; // a filter's one value needs no column
    const columns = COLUMNS.filter(({id}) => !["dataset", "metric", "protocol"].includes(id) || !single(id));
    if (!columns.some(({id}) => id === state.sort)) Object.assign(state, {sort: "value", down: down()});
    const {of} = COLUMNS.find(({id}) => id === state.sort);
    rows.sort((a, b) => {
      if (state.sort === "value" && !single("metric")) { const by = a.metric.label.localeCompare(b.metric.label) || a.dataset.label.localeCompare(b.dataset.label); if (by) return by; }
      const x = of(a), y = of(b);
      if (x == null || y == null) return (x == null) - (y == null);
      return (typeof x === "string" ? x.localeCompare(y) : x - y) * (state.down ? -1 : 1) || better(a, b);
    });
    const s = rows.length && single("metric") && single("dataset") ? scale(rows.filter(c => c.method.kind !== "control")) || scale(rows) : null;
    one(".board thead").innerHTML = `<tr>${columns.map(({id, title, style}) => `<th scope="col" class="${style || ""}"${id === state.sort ? ` aria-sort="${state.down ? "descending" : "ascending"}"` : ""}><button type="button" data-sort="${id}">${title}</button></th>`).join("")}${s ? `<th scope="col" class="dots"><span class="ends-of"><span>${number(s.low, rows[0].places)}</span><span>each run</span><span>${number(s.high, rows[0].places)}</span></span></th>` : ""}</tr>`;
    one(".board tbody").innerHTML = rows.slice(0, state.limit).map(c => row(c, columns, s)).join("")
      + (rows.length > state.limit ? `<tr><td colspan="12"><button type="button" class="plain" data-all>All ${rows.length.toLocaleString("en")} rows</button></td></tr>` : rows.length ? "" : `<tr><td colspan="12">Nothing was run that fits these filters.</td></tr>`);
    const metric = single("metric") && rows[0]?.metric;
    one("#f-count").textContent = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "row" : "rows"}${metric && metric.direction ? `, ${metric.direction === "max" ? "higher" : "lower"} is better` : ""}`;
  }
  function row(c, columns, s) {
    const text = {value: () => number(c.value, c.places) + (c.n < (c.runs?.r.length ?? c.n) ? ` <i class="few">${c.n}/${c.runs.r.length}</i>` : ""), sd: () => number(c.sd, c.places), group: () => badge(c), seconds: () => time(c.seconds)};
    return `<tr data-cell="${safe(c.key)}">${columns.map(({id, of, style}) => id === "method" ? `<th scope="row"><a href="#${safe(c.key)}">${safe(c.method.label)}</a></th>` : `<td class="${style || ""}">${text[id] ? text[id]() : safe(of(c))}</td>`).join("")}${s ? `<td class="dots">${dots(c, s, 22)}</td>` : ""}</tr>`;
  }
  one(".filters").addEventListener("submit", event => event.preventDefault());
  for (const field of fields) one(`#f-${field}`).addEventListener(field === "method" ? "input" : "change", event => set({[field]: event.target.value, limit: 200}));
  one(".board").addEventListener("click", event => {
    const sort = event.target.closest("[data-sort]")?.dataset.sort, row = event.target.closest("tr[data-cell]");
    if (sort) { set({sort, down: state.sort === sort ? !state.down : sort === "value" && down()}); one(`[data-sort=${sort}]`).focus(); }
    else if (event.target.closest("[data-all]")) set({limit: Infinity});
    else if (row && !event.target.closest("a")) go(row.dataset.cell);
  });
  set({metric: null});
  for (const link of all("[data-column]")) {
    link.hash = "#scores";
    link.addEventListener("click", () => { const [dataset, protocol, metric] = link.dataset.column.split("/"); set({dataset, protocol, metric, method: "", limit: 200}); });
  }
}

// ---- comparisons

function comparisons({records}) {
  const a = one("#pair-a"), b = one("#pair-b"), flipped = {better: "worse", worse: "better"}, minus = v => v == null ? null : -v;
  const far = Math.log10(1 + Number(one(".forests")?.dataset.far)), place = units => 50 + 48 * Math.sign(units) * Math.min(1, Math.log10(1 + Math.abs(units)) / far);
  function marks([, shift, low, high], {unit, sign}) {
    const width = sign * (Number(unit) || Math.max(Math.abs(shift), 1e-12) / 10);
    return [shift, low ?? -Infinity, high ?? Infinity].map(v => place(v / width).toFixed(1));
  }
  function draw() {
    for (const table of all(".forest")) {
      const key = [table.dataset.protocol, a.value, b.value], back = [key[0], key[2], key[1]].join("/"), rows = records.pairs[key.join("/")] || records.pairs[back] || [];
      all("tbody tr", table).forEach((row, i) => {
        let found = rows[i];
        if (found && !(key.join("/") in records.pairs)) { const [word, shift, low, high] = found; found = [flipped[word] || word, -shift, minus(high), minus(low)]; }
        row.className = (row.classList.contains("first") ? "first " : "") + (found ? found[0].split(" ")[0] : "none");
        one(".says b", row).textContent = found ? found[0] : a.value === b.value ? "" : "not both run";
        one(".says span", row).textContent = found ? interval(...found.slice(1), Number(row.dataset.decimals)) : "";
        all(".ends, circle", row).forEach(mark => mark.remove());
        if (!found) return;
        const [at, from, to] = marks(found, row.dataset);
        one("svg", row).insertAdjacentHTML("beforeend", `<line class="ends" x1="${from}%" x2="${to}%" y1="11" y2="11"/><circle cx="${at}%" cy="11" r="4"/>`);
      });
    }
  }
  if (!a) return;
  for (const pick of [a, b]) pick.addEventListener("change", draw);
  draw();
}

// ---- factors

function factors({records}) {
  const pick = one("#factors-of");
  if (!pick) return;
  pick.addEventListener("change", () => all("article.factors").forEach(article => {
    const on = article.dataset.dataset === pick.value;
    article.classList.toggle("on", on);
    article.classList.toggle("off", !on);
  }));
  for (const select of all("[data-views]")) {
    const view = one(".view", select.closest("article"));
    records.views[select.value] = view.innerHTML;
    select.addEventListener("change", () => { view.innerHTML = records.views[select.value]; });
  }
}

// ---- a number's runs, a run's record; the address is #dataset/method/protocol/metric[/replicate]

function drill(page) {
  const panel = one("#panel"), {records, cells} = page;
  let open = null;
  const go = key => { if (decodeURIComponent(location.hash.slice(1)) === key) route(); else location.hash = key; };
  const address = key => history.replaceState(null, "", `#${key}`);
  panel.addEventListener("close", () => { if (location.hash.includes("/")) history.replaceState(null, "", location.href.split("#")[0]); });
  panel.addEventListener("click", event => {
    if (event.target === panel || event.target.closest(".close")) return panel.close();
    const copy = event.target.closest("[data-copy]");
    if (copy) return navigator.clipboard?.writeText(one("pre", copy.parentElement.parentElement).textContent).then(() => { copy.textContent = "copied"; });
    const row = event.target.closest("tr[data-at]");
    if (row) toggle(Number(row.dataset.at));
  });
  function route() {
    const parts = decodeURIComponent(location.hash.slice(1)).split("/");
    const cell = parts.length >= 4 && page.find(parts.slice(0, 4).join("/"));
    if (!cell) { if (panel.open) panel.close(); return; }
    open = cell;
    panel.innerHTML = body(cell);
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    const i = cell.runs && parts[4] !== undefined ? cell.runs.r.indexOf(Number(parts[4])) : -1;
    if (i >= 0) toggle(i, true);
  }
  function why(c) {
    if (c.method.kind === "control") return "A control: it bounds what the metric can say, and is in no group.";
    if (c.method.kind === "quirk") return "It switches a single quirk, and is in no group.";
    if (c.sunk) return "It predicts no better than the training mean: no verdict is spoken about it.";
    const lead = c.leader && cells.find(o => o.method === c.leader && o.dataset === c.dataset && o.metric === c.metric && o.protocol === c.protocol), same = lead && lead.group === c.group;
    const against = c.leader ? ` Against ${safe(c.leader.label)}, the best of ${same ? "it" : "the group before"}: ${c.difference}, <b>${safe(c.word)}</b>.` : "";
    if (!c.group) return (c.metric.direction ? "In no group: no test says where it belongs." : "A metric without a direction: no groups.") + against;
    if (c.leads) return "Better than every other.";
    const mates = cells.filter(o => o !== c && o.dataset === c.dataset && o.metric === c.metric && o.protocol === c.protocol && o.group === c.group).map(o => safe(o.method.label));
    return `In ${["", "the best group", "the second group"][c.group] || `group ${c.group}`}${mates.length ? ` with ${mates.join(", ")}` : " alone"}.${against}`;
  }
  function body(c) {
    const peers = cells.filter(o => o.dataset === c.dataset && o.metric === c.metric && o.protocol === c.protocol && (["method", "control"].includes(o.method.kind) || o === c)).sort(better);
    const s = scale(peers.filter(o => o.method.kind !== "control" || o === c)), runs = c.runs, total = runs?.r.length ?? c.values.length, seeds = runs?.seed.some(seed => seed != null);
    const centre = c.kind === "ranks" ? "median" : "mean", ends = c.low == null || c.high == null ? "" : `, 95 % [${number(c.low, c.places)}, ${number(c.high, c.places)}]`;
    return `<div class="inside"><header><div><h2 id="panel-title">${safe(c.method.label)} on ${safe(c.dataset.label)}</h2><div>${safe(c.metric.label)} ${arrow(c.metric)}, <b>${safe(c.protocol)}</b>${c.shared ? " <small>one fit serves all protocols</small>" : ""}</div></div><button class="close" type="button" autofocus>Close</button></header>
<p class="sum"><b>${number(c.value, c.places)}</b>${c.n ? `${centre} of ${c.n} ${c.dataset.unit}${c.n === 1 ? "" : "s"}${c.n > 1 ? `, sd ${number(c.sd, c.places)}${ends}` : ""}` : ""}${c.n < total ? ` <span class="bad">${total - c.n} of ${total} without a value</span>` : ""}${c.unconverged ? ` <span class="bad">${c.unconverged} had not converged</span>` : ""}</p><p class="why">${why(c)}</p>
${s ? `<h3>Beside the other methods</h3><div class="strip">${peers.map(o => { const me = o === c ? "me" : "other"; return `<a class="${me}" href="#${safe(o.key)}">${safe(o.method.label)}</a><span class="${me}">${dots(o, s, 18)}</span><span class="${me} value">${number(o.value, o.places)}</span>`; }).join("")}</div>` : ""}
<h3>Runs</h3>${c.elsewhere ? "<p>Their single values are in <code>scores.csv</code>.</p>" : ""}${runs ? `<table class="runs"><thead><tr><th scope="col">${c.dataset.unit === "draw" ? "Draw" : "Fold"}</th><th scope="col">Value</th><th scope="col" class="l">Status</th><th scope="col">Time</th>${seeds ? `<th scope="col" class="wide">Seed</th>` : ""}<th scope="col" class="l">Digest</th></tr></thead><tbody>${runs.r.map((r, i) => `<tr data-at="${i}"><th scope="row"><button type="button" class="plain" aria-expanded="false">${r}</button></th><td>${number(c.values[r] ?? null, c.places)}</td><td class="l ${runs.bad[r] ? "bad" : ""}">${safe(runs.bad[r]?.[0] ?? "done")}${at(runs.converged, i) === "no" ? ", not converged" : ""}</td><td>${time(at(runs.s, i))}</td>${seeds ? `<td class="wide">${safe(at(runs.seed, i) ?? "")}</td>` : ""}<td class="l"><code>${safe(runs.digest[i].slice(0, 10))}</code></td></tr>`).join("")}</tbody></table>` : "<p>runs.csv says nothing of them.</p>"}</div>`;
  }
  function toggle(i, always) {
    const row = one(`tr[data-at="${i}"]`, panel), was = row?.nextElementSibling?.classList.contains("record");
    if (!row) return;
    for (const record of all("tr.record", panel)) { one("button", record.previousElementSibling).setAttribute("aria-expanded", "false"); record.remove(); }
    if (was && !always) return address(open.key);
    one("button", row).setAttribute("aria-expanded", "true");
    row.insertAdjacentHTML("afterend", `<tr class="record"><td class="record" colspan="6">${record(open, i)}</td></tr>`);
    address(`${open.key}/${open.runs.r[i]}`);
    if (always) row.scrollIntoView({block: "center"});
  }
  function record(c, i) {
    const runs = c.runs, r = runs.r[i], digest = runs.digest[i], tag = c.shared ? "shared" : c.protocol, [params, commits] = records.settings[`${c.dataset.id}/${c.method.id}/${tag}`] || [{}, []];
    const block = records.blocks[c.dataset.id], first = Math.floor(r / block) * block, last = Math.min(first + block, Math.max(...runs.r) + 1) - 1, size = at(runs.size, i), mb = at(runs.mb, i), device = at(runs.device, i), said = at(runs.converged, i);
    const config = records.configs.length ? ` --configfile ${records.configs.join(" ")}` : "";
    const lines = [["Status", runs.bad[r] ? `<span class="bad">${safe(runs.bad[r].filter(Boolean).join(": "))}</span>` : "done"], at(runs.seed, i) == null ? null : ["Seed", safe(at(runs.seed, i))], ["Took", `${time(at(runs.s, i))}${device ? ` on ${safe(device)}` : ""}${mb == null ? "" : `, at most ${number(mb, 0)} MB`}`], size == null ? null : ["Parameters", number(size, 0)], said ? ["Converged", safe(said)] : null, ["Digest", `<code>${safe(digest)}</code>`], commits.length ? ["Code", commits.map(x => `<code>${safe(x)}</code>`).join(", ")] : null];
    const metrics = cells.filter(o => o.dataset === c.dataset && o.method === c.method && o.protocol === c.protocol && o.values[r] != null).sort((x, y) => x.metric.label.localeCompare(y.metric.label));
    const many = list => `<div class="many">${list.map(([name, text]) => `<div><span>${name}</span>${text}</div>`).join("")}</div>`;
    const log = records.logs[records.log_of[digest]];
    return `<dl>${lines.filter(Boolean).map(([name, text]) => `<dt>${name}</dt><dd>${text}</dd>`).join("")}</dl>
${records.curves[digest] ? `<h3>Bound on the training rows, per row, by epoch${said === "no" ? ": <span class='bad'>not converged</span>" : ""}</h3>${curve(records.curves[digest])}` : ""}
${metrics.length ? `<h3>All its metrics</h3>${many(metrics.map(o => [`${safe(o.metric.label)} ${arrow(o.metric)}`, number(o.values[r], o.places)]))}` : ""}
${Object.keys(params).length ? `<h3>Settings</h3>${many(Object.entries(params).map(([name, value]) => [safe(name), safe(typeof value === "object" ? JSON.stringify(value) : value)]))}` : ""}
<h3>The same run again <button type="button" class="plain copy" data-copy>copy</button></h3><pre>python -m anchorbench fit${safe(config)} --dataset ${safe(c.dataset.id)} --method ${safe(c.method.id)} --protocol ${safe(c.protocol)} --block ${first}-${last}</pre>
${log ? `<h3>The log’s end</h3><pre>${safe(log)}</pre>` : ""}`;
  }
  function curve([epochs, ...values]) {
    const late = values.slice(Math.floor(values.length * .1)), low = Math.min(...late), high = Math.max(...late), span = high - low || 1; // the first epochs would hide all others
    const points = values.map((v, i) => `${(100 * i / (values.length - 1)).toFixed(1)},${(60 - 56 * Math.max(0, (v - low) / span)).toFixed(1)}`).join(" ");
    return `<svg class="curve" viewBox="0 0 100 62" preserveAspectRatio="none" role="img" aria-label="From ${number(values[0], 3)} to ${number(values.at(-1), 3)} in ${epochs} epochs"><polyline points="${points}"/></svg><small>${epochs} epochs; from ${number(values[0], 3)} to ${number(values.at(-1), 3)}</small>`;
  }
  for (const link of all("[data-cell]")) if (link.tagName === "A") link.hash = `#${link.dataset.cell}`;
  for (const matrix of all("table.matrix")) {
    const columns = all("[data-column]", matrix).map(link => link.dataset.column.split("/"));
    for (const row of all("tr[data-method]", matrix)) all("td", row).forEach((cell, i) => {
      const link = one("a", cell), [dataset, protocol, metric] = columns[i];
      if (link) link.hash = `#${dataset}/${row.dataset.method}/${protocol}/${metric}`;
    });
  }
  addEventListener("hashchange", route);
  route();
  return go;
}

if (one("#records")) unpack().then(read).then(page => {
  let go;
  scores(page, key => go(key));
  comparisons(page);
  factors(page);
  for (const place of all("[data-packed]")) place.innerHTML = page.records.views[place.dataset.packed];
  go = drill(page);
  document.documentElement.dataset.ready = Math.round(performance.now());
}).catch(error => { // a browser without DecompressionStream has the static tables
  console.error(error);
  document.documentElement.classList.remove("js");
});
