// The page's side of OrderPlayer (see context.py): runs of decoders, played side by side on one clock.
const BLOCK = 16, UNKNOWN = "#b8b8b8", NOW = "#E69F00", SEEN = "#009E73";
const PARTS = [["z, h_s", "#999999"], ["passes", "#0072B2"], ["g_s", "#56B4E9"]];

function make(tag, style, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.style.cssText = style;
  return element;
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const root = make("div", "max-width:100%");
  const bar = make("div", "display:flex;flex-wrap:wrap;align-items:center;gap:6px 10px;margin:4px 0 8px");
  const panels = make("div", "display:flex;flex-wrap:wrap;gap:14px 18px");
  root.append(bar, panels, make("div", "margin-top:8px;line-height:1.5", { innerHTML:
    "grey: not decoded yet; <b style='color:#B87A00'>orange</b>: being decoded now. Click a position: "
    + "<b style='color:#009E73'>green</b> is what the context model sees when it is decoded. The bars are to scale: "
    + PARTS.map(([name, color]) => `<span style="color:${color}">■</span> ${name}`).join(" ") }));
  el.append(root);

  // JupyterLab leaves the keys to elements with this attribute
  const control = (element, label) => {
    element.dataset.lmSuppressShortcuts = "true";
    element.setAttribute("aria-label", label);
    bar.append(element);
    return element;
  };
  const button = (text, label, style = "") => control(
    make("button", "width:auto;padding:0 12px;margin:0;" + style, { textContent: text, className: "jupyter-button widget-button", title: label }), label);
  const select = (choices, label, trait) => {
    const box = control(make("select", "height:28px"), label);
    for (const [value, text] of choices) box.append(new Option(text, value));
    box.onchange = () => { model.set(trait, isNaN(box.value) ? box.value : Number(box.value)); model.save_changes(); };
    return box;
  };
  const play = button("▶ play", "play or pause", "min-width:90px;");
  const first = button("start", "back to the beginning");
  const back = button("- 1 pass", "back by one pass");
  const next = button("+ 1 pass", "on by one pass");
  const slider = control(make("input", "width:170px;max-width:100%;accent-color:#0072B2", { type: "range", min: 0, step: "any" }), "clock");
  const clock = make("span", "min-width:115px;font-variant-numeric:tabular-nums");
  bar.append(clock);
  const by = select([["time", "one clock for all (ms)"], ["pass", "pass by pass"]], "what the clock counts", "by");
  const slower = select(get("slower_choices").map((k) => [k, k === 1 ? "at true speed" : `${k} times slower`]), "speed", "slower");
  const rate = select([1, 2, 5, 10, 20, 50].map((k) => [k, `${k} passes per second`]), "speed", "rate");

  let at = get("at"), shown = [], events = [0], frame = null, before = 0;
  const byTime = () => get("by") === "time";
  const end = () => Math.max(...get("orders").map((order) => byTime() ? order.total : order.passes), 0);

  function build() {
    const [width, height, rows, columns] = get("size");
    const longest = Math.max(...get("orders").map((order) => order.total));
    panels.replaceChildren();
    shown = get("orders").map((order) => {
      const panel = make("div", `width:${width}px;max-width:100%;line-height:1.45`, { className: "edu-order-panel" });
      const title = make("div", "", { innerHTML: `<b>${order.title}</b>: ${order.total.toFixed(0)} ms (passes ${(order.ended.at(-1) - order.begun).toFixed(0)} ms), ${order.bytes.toLocaleString("en")} bytes` });
      const canvas = make("canvas", "width:100%;display:block;cursor:crosshair", { width, height });
      canvas.setAttribute("role", "img");
      const parts = [order.begun, order.ended.at(-1) - order.begun, order.total - order.ended.at(-1)];
      const scale = make("div", "position:relative;height:10px;margin:3px 0;display:flex");
      parts.forEach((part, k) => scale.append(make("div", `width:${100 * part / longest}%;background:${PARTS[k][1]}`, { title: `${PARTS[k][0]}: ${part.toFixed(1)} ms` })));
      const marker = make("div", "position:absolute;top:-2px;bottom:-2px;width:2px;background:#D55E00");
      scale.append(marker);
      const text = make("div", "font-variant-numeric:tabular-nums", { className: "edu-order-text" });
      panel.append(title, canvas, scale, text);
      panels.append(panel);
      canvas.onclick = (event) => {
        const box = canvas.getBoundingClientRect();
        const place = (value, length, count) => Math.min(Math.max(Math.floor(value * length / BLOCK), 0), count - 1);
        model.set("position", [
          place((event.clientY - box.top) / box.height, height, rows),
          place((event.clientX - box.left) / box.width, width, columns),
        ]);
        model.save_changes();
      };
      const picture = new Image();
      picture.onload = draw;
      picture.src = URL.createObjectURL(new Blob([order.png], { type: "image/png" }));
      return { order, canvas, marker, text, picture, longest };
    });
    events = [...new Set(get("orders").flatMap((order) => [0, order.begun, ...order.ended, order.total]))].sort((a, b) => a - b);
    at = get("at");
    draw();
  }

  function draw() {
    slider.max = end();
    slider.value = at;
    clock.textContent = byTime() ? `${at.toFixed(1)} of ${end().toFixed(1)} ms` : `${Math.floor(at)} of ${end()} passes`;
    by.value = get("by");
    slower.value = get("slower");
    rate.value = get("rate");
    slower.hidden = !byTime();
    rate.hidden = byTime();
    play.textContent = get("playing") ? "❚❚ pause" : "▶ play";
    shown.forEach(drawOrder);
  }

  function drawOrder({ order, canvas, marker, text, picture, longest }) {
    const [width, height, rows, columns] = get("size"), pen = canvas.getContext("2d");
    let done = byTime() ? order.ended.findIndex((time) => time > at) : Math.min(Math.floor(at), order.passes);
    if (done < 0) done = order.passes;
    const waiting = byTime() && at < order.begun;
    const block = (k) => [k % columns * BLOCK, Math.floor(k / columns) * BLOCK, BLOCK, BLOCK];
    const fill = (chosen) => {
      pen.beginPath();
      order.passOf.forEach((pass, k) => { if (chosen(pass)) pen.rect(...block(k)); });
    };
    pen.fillStyle = UNKNOWN;
    pen.fillRect(0, 0, width, height);
    if (picture.complete && picture.naturalWidth) {
      pen.save();
      fill((pass) => pass < done);
      pen.clip();
      pen.drawImage(picture, 0, 0);
      pen.restore();
    }
    if (!waiting) {
      fill((pass) => pass === done);
      pen.fillStyle = NOW;
      pen.fill();
    }
    const [r, c] = get("position"), here = r * columns + c, seen = [];
    if (!order.blind[here]) {
      for (const [down, right] of order.sees) {
        if (r + down >= 0 && r + down < rows && c + right >= 0 && c + right < columns) seen.push(here + down * columns + right);
      }
    }
    const outline = (k, color) => {
      const [x, y] = block(k);
      pen.lineWidth = 3; pen.strokeStyle = "white"; pen.strokeRect(x + 1.5, y + 1.5, BLOCK - 3, BLOCK - 3);
      pen.lineWidth = 2; pen.strokeStyle = color; pen.strokeRect(x + 1, y + 1, BLOCK - 2, BLOCK - 2);
    };
    seen.forEach((k) => outline(k, SEEN));
    outline(here, "black");

    const known = order.passOf.filter((pass) => pass < done).length;
    const ready = byTime() ? at >= order.total : done === order.passes;
    const phase = waiting ? "z is decoded, h_s runs" : done < order.passes ? `pass ${done + 1} of ${order.passes}`
      : ready ? `ready after ${order.passes} pass${order.passes > 1 ? "es" : ""}` : "g_s makes the picture";
    marker.style.left = `${100 * Math.min(at, order.total) / longest}%`;
    marker.hidden = !byTime();
    text.innerHTML = `${phase}; ${known} of ${rows * columns} positions known<br>row ${r}, column ${c}: pass `
      + `${order.passOf[here] + 1}, sees z ${seen.length ? `and ${seen.length} neighbours` : "alone"}`;
    canvas.setAttribute("aria-label", `${order.title}: ${phase}`);
  }

  function move(to) {
    at = Math.min(Math.max(to, 0), end());
    model.set("at", at);
    model.save_changes();
  }
  function stop() { model.set("playing", false); move(at); }
  function step(direction) {
    if (get("playing")) stop();
    if (!byTime()) return move(Math.floor(at) + direction);
    const later = events.find((event) => event > at + 1e-6), earlier = events.findLast((event) => event < at - 1e-6);
    move((direction > 0 ? later : earlier) ?? at);
  }
  function tick(now) {
    frame = null;
    if (!get("playing")) return;
    at = Math.min(at + (now - before) * (byTime() ? 1 / get("slower") : get("rate") / 1000), end());
    before = now;
    if (at >= end()) return stop();
    draw();
    frame = requestAnimationFrame(tick);
  }
  function run() {
    if (get("playing") && frame === null) { before = performance.now(); frame = requestAnimationFrame(tick); }
    draw();
  }

  play.onclick = () => {
    if (get("playing")) return stop();
    if (at >= end()) move(0);
    model.set("playing", true);
    model.save_changes();
  };
  first.onclick = () => move(0);
  back.onclick = () => step(-1);
  next.onclick = () => step(1);
  slider.oninput = () => move(Number(slider.value));
  model.on("change:orders", build);
  model.on("change:at", () => { at = get("at"); draw(); });
  model.on("change:playing", run);
  model.on("change:by", () => { move(0); draw(); });
  for (const name of ["position", "slower", "rate"]) model.on("change:" + name, draw);
  build();
  run();
  return () => { if (frame !== null) cancelAnimationFrame(frame); for (const { picture } of shown) URL.revokeObjectURL(picture.src); };
}
export default { render };
