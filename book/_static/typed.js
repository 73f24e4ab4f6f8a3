/* The figure of numbers that a reader types. In the built pages it has stored sheets of digits beside its picture, as
   <script type="application/json" class="sheets">: a PNG for each seed, whose last rows are drawings of each digit. This puts
   a field in the picture's place, and below it for each seed sixteen drawings of the number that stands in the field. */
(() => {
  "use strict";

  const SIDE = 28; // pixels of a digit
  const GAP = 10; // pixels between two numbers
  const MOST = 6; // digits of a number
  const DRAWINGS = 16; // in a row of a sheet

  const panelOf = (first, seeds) => `
    <p><label>A number of up to ${MOST} digits <input type="text" inputmode="numeric" autocomplete="off"
      maxlength="${MOST}" value="${first}"></label></p>
    <p role="status"></p>
    ${seeds.map(({ words }) => `<p class="typed-seed">${words}</p><canvas role="img"></canvas>`).join("")}`;

  // What is wrong with what was typed, or nothing.
  function fault(text) {
    if (!text) return `Type a number: up to ${MOST} digits from 0 to 9. Below is what was typed before.`;
    const other = [...text].find((letter) => !/[0-9]/.test(letter));
    return other && `“${other}” is no digit: only 0 to 9 can be drawn. Below is what was typed before.`;
  }

  // Where each drawing stands: as many beside each other as there is room for, in full rows if it can be.
  function places(width, digits) {
    const wide = digits * SIDE + GAP;
    const room = Math.max(1, Math.floor((width + GAP) / wide));
    const columns = [16, 8, 4, 2, 1].find((n) => n <= room);
    return Array.from({ length: DRAWINGS }, (_, i) => [(i % columns) * wide, Math.floor(i / columns) * (SIDE + GAP)]);
  }

  function draw(canvas, sheet, number) {
    const width = Math.max(canvas.clientWidth, MOST * SIDE);
    const at = places(width, number.length);
    canvas.width = width;
    canvas.height = at.at(-1)[1] + SIDE;
    canvas.style.height = `${canvas.height}px`;
    const ink = canvas.getContext("2d");
    const top = sheet.naturalHeight - 10 * SIDE; // above it is what was drawn early on
    at.forEach(([x, y], drawing) => [...number].forEach((digit, i) =>
      ink.drawImage(sheet, drawing * SIDE, top + digit * SIDE, SIDE, SIDE, x + i * SIDE, y, SIDE, SIDE)));
  }

  async function build(source) {
    const { first, seeds } = JSON.parse(source.textContent);
    const sheets = seeds.map(({ png }) => Object.assign(new Image(), { src: `data:image/png;base64,${png}` }));
    await Promise.all(sheets.map((sheet) => sheet.decode()));
    const panel = document.createElement("div");
    panel.className = "typed";
    panel.innerHTML = panelOf(first, seeds);
    const [input, status] = [panel.querySelector("input"), panel.querySelector("[role=status]")];
    const canvases = [...panel.querySelectorAll("canvas")];
    let number = first;

    const drawAll = () => canvases.forEach((canvas, k) => draw(canvas, sheets[k], number));

    function show() {
      const text = input.value.trim();
      const wrong = fault(text);
      input.setAttribute("aria-invalid", Boolean(wrong));
      if (!wrong) number = text;
      status.textContent = wrong ||
        `${number}, drawn ${DRAWINGS} times by each of ${seeds.length} generators. All digits of a drawing come from the same noise.`;
      canvases.forEach((canvas, k) =>
        canvas.setAttribute("aria-label", `${DRAWINGS} drawings of the number ${number}: ${seeds[k].words}`));
      drawAll();
    }

    input.addEventListener("input", show);
    source.parentElement.querySelector("img").replaceWith(panel);
    show();
    new ResizeObserver(() => requestAnimationFrame(drawAll)).observe(panel);
  }

  document.querySelectorAll("script.sheets").forEach(build);
})();
