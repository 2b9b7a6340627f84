// The page's side of Stage (see _core.py): a picture, an SVG over it, and the pointer reported in picture pixels.
function render({ model, el }) {
  const NS = "http://www.w3.org/2000/svg";
  const box = document.createElement("div");
  box.className = "edu-stage";
  box.style.cssText = "position:relative;display:inline-block;line-height:0;touch-action:none;max-width:100%";
  const picture = document.createElement("img");
  picture.draggable = false;
  picture.style.cssText = "user-select:none;max-width:100%";
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.style.cssText = "position:absolute;inset:0;width:100%;height:100%";
  box.append(picture, svg);
  el.append(box);

  let url = null;
  function drawPicture() {
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    picture.src = url;
    picture.width = Math.round(model.get("width") * model.get("zoom"));
    picture.style.imageRendering = model.get("smooth") ? "auto" : "pixelated";
    picture.alt = model.get("description");
    svg.setAttribute("viewBox", `0 0 ${model.get("width")} ${model.get("height")}`);
    svg.style.cursor = model.get("pointing") ? "crosshair" : "default";
  }
  function drawOverlay() { svg.innerHTML = model.get("overlay"); }

  let pressed = false;
  function report(event) {
    if (!model.get("pointing")) return;
    const frame = svg.getBoundingClientRect();
    const inside = (value, limit) => Math.min(Math.max(value, 0), limit - 1e-6);
    model.set("pointer", [
      inside((event.clientX - frame.left) / frame.width * model.get("width"), model.get("width")),
      inside((event.clientY - frame.top) / frame.height * model.get("height"), model.get("height")),
    ]);
    model.save_changes();
  }
  svg.addEventListener("pointerdown", (event) => {
    pressed = true;
    svg.setPointerCapture(event.pointerId);
    report(event);
  });
  svg.addEventListener("pointermove", (event) => { if (pressed || model.get("hovering")) report(event); });
  svg.addEventListener("pointerup", () => { pressed = false; });
  for (const name of ["png", "width", "zoom", "pointing"]) model.on("change:" + name, drawPicture);
  model.on("change:overlay", drawOverlay);
  drawPicture(); drawOverlay();
  return () => { if (url) URL.revokeObjectURL(url); };
}
export default { render };
