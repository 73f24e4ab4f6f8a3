/* Pictures of GANs on a canvas. Real samples are blue discs, fakes orange triangles, D's answers green, as in all figures
   of the book, so that the three are told apart by shape too. Nothing here knows how a GAN is trained. */
Playground.define("drawing", [], () => {
  "use strict";

  /**
   * Return the colours that a part of the page has now, light or dark.
   * @param {Element} element
   * @returns {Palette}
   */
  function palette(element) {
    const style = getComputedStyle(element);
    const names = ["real", "fake", "judge", "ink", "faint", "line", "card"];
    return /** @type {any} */ (Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])));
  }

  /** How large each canvas is. To ask the page in each frame would have it laid out each time. @type {WeakMap<Element, number[]>} */
  const sizes = new WeakMap();
  const watcher = typeof ResizeObserver === "undefined" ? null : new ResizeObserver((entries) => {
    for (const { target, contentRect: { width, height } } of entries) sizes.set(target, [width, height]);
  });

  /** @param {HTMLCanvasElement} canvas @returns {number[]} */
  function size(canvas) {
    if (!sizes.has(canvas)) {
      sizes.set(canvas, [canvas.clientWidth, canvas.clientHeight]);
      watcher?.observe(canvas);
    }
    return (sizes.get(canvas) ?? []).map((length) => length || 100);
  }

  /**
   * Make a canvas as sharp as the screen and empty it.
   * @param {HTMLCanvasElement} canvas
   * @returns {{ctx: CanvasRenderingContext2D, width: number, height: number}} what draws, in the pixels of the page
   */
  function sheet(canvas) {
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = size(canvas);
    const wanted = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== wanted[0] || canvas.height !== wanted[1]) [canvas.width, canvas.height] = wanted;
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    return { ctx, width, height };
  }

  /**
   * Return the maps from the plane to a box of the page, which show the whole view and keep its shape.
   * @param {number[]} view left, right, bottom, top
   * @param {number[]} box left, top, width, height
   * @returns {{X: (x: number) => number, Y: (y: number) => number, unit: number}}
   */
  function fitted([x0, x1, y0, y1], [left, top, width, height]) {
    const unit = Math.min(width / (x1 - x0), height / (y1 - y0));
    const [midX, midY] = [left + width / 2, top + height / 2];
    return {
      unit,
      X: (x) => midX + (x - (x0 + x1) / 2) * unit,
      Y: (y) => midY - (y - (y0 + y1) / 2) * unit,
    };
  }

  const channels = (/** @type {string} */ colour) => {
    const hex = colour.replace("#", "");
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
  };

  /** @type {HTMLCanvasElement | undefined} */
  let tile; // what a surface is painted on before it is stretched

  /** Paint D's answers in the middles of its squares, the greener the surer that a point is real. */
  function surface(ctx, { columns, rows, view, values }, place, judge) {
    tile ??= document.createElement("canvas");
    [tile.width, tile.height] = [columns, rows];
    const pen = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    const image = pen.createImageData(columns, rows);
    const [r, g, b] = channels(judge);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const at = 4 * ((rows - 1 - row) * columns + column);
        image.data.set([r, g, b, 150 * values[row * columns + column]], at);
      }
    }
    pen.putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = true;
    const [left, right, top, bottom] = [place.X(view[0]), place.X(view[1]), place.Y(view[3]), place.Y(view[2])];
    ctx.drawImage(tile, left, top, right - left, bottom - top);
  }

  /** Draw where D says one half, by marching through the squares of its grid. */
  function undecided(ctx, { columns, rows, view, values }, place, colour) {
    const x = (c) => place.X(view[0] + ((view[1] - view[0]) * (c + 0.5)) / columns);
    const y = (r) => place.Y(view[2] + ((view[3] - view[2]) * (r + 0.5)) / rows);
    const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
    ctx.beginPath();
    for (let r = 0; r + 1 < rows; r++) {
      for (let c = 0; c + 1 < columns; c++) {
        const ends = [];
        const at = corners.map(([dc, dr]) => values[(r + dr) * columns + c + dc] - 0.5);
        for (let side = 0; side < 4; side++) {
          const [from, to] = [at[side], at[(side + 1) % 4]];
          if (from < 0 === to < 0) continue;
          const share = from / (from - to);
          const [[c0, r0], [c1, r1]] = [corners[side], corners[(side + 1) % 4]];
          ends.push([x(c + c0 + share * (c1 - c0)), y(r + r0 + share * (r1 - r0))]);
        }
        for (let i = 0; i + 1 < ends.length; i += 2) {
          ctx.moveTo(ends[i][0], ends[i][1]);
          ctx.lineTo(ends[i + 1][0], ends[i + 1][1]);
        }
      }
    }
    ctx.setLineDash([2, 3]);
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.5;
    ctx.stroke();
    ctx.setLineDash([]);
  }

  const KEPT = 4; // backgrounds: the large one, the small ones, and those of other sizes before them
  /** @type {{key: string, points: any, canvas: HTMLCanvasElement}[]} */
  const kept = [];

  /** Draw the real samples, which stay the same: they are drawn once, and then copied. */
  function background(ctx, points, place, colour, radius, [width, height]) {
    const scale = ctx.getTransform().a;
    const key = [place.X(0), place.Y(0), place.unit, colour, width, height, scale].join();
    let found = kept.find((one) => one.key === key && one.points === points);
    if (!found) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [width * scale, height * scale];
      const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      pen.scale(scale, scale);
      discs(pen, points, place, colour, radius, 0.55);
      found = { key, points, canvas };
      kept.unshift(found);
      kept.length = Math.min(kept.length, KEPT);
    }
    ctx.drawImage(found.canvas, 0, 0, width, height);
  }

  /** Draw points of (x, y, x, y, ...) as discs. */
  function discs(ctx, points, place, colour, radius, alpha = 1) {
    ctx.globalAlpha = alpha;
    ctx.fillStyle = colour;
    ctx.beginPath();
    for (let i = 0; i + 1 < points.length; i += 2) {
      const [x, y] = [place.X(points[i]), place.Y(points[i + 1])];
      ctx.moveTo(x + radius, y);
      ctx.arc(x, y, radius, 0, 7);
    }
    ctx.fill();
    ctx.globalAlpha = 1;
  }

  /** Draw points of (x, y, x, y, ...) as triangles. */
  function triangles(ctx, points, place, colour, radius, alpha = 1) {
    ctx.globalAlpha = alpha;
    ctx.fillStyle = colour;
    ctx.beginPath();
    for (let i = 0; i + 1 < points.length; i += 2) {
      const [x, y] = [place.X(points[i]), place.Y(points[i + 1])];
      ctx.moveTo(x, y - 1.2 * radius);
      ctx.lineTo(x + 1.1 * radius, y + 0.8 * radius);
      ctx.lineTo(x - 1.1 * radius, y + 0.8 * radius);
    }
    ctx.fill();
    ctx.globalAlpha = 1;
  }

  /** Draw the grid of the noise where G puts it: a fisherman's net. */
  function net(ctx, { columns, rows, points }, place, colour) {
    const at = (c, r) => [place.X(points[2 * (r * columns + c)]), place.Y(points[2 * (r * columns + c) + 1])];
    ctx.beginPath();
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) ctx[c ? "lineTo" : "moveTo"](...at(c, r));
    for (let c = 0; c < columns; c++) for (let r = 0; r < rows; r++) ctx[r ? "lineTo" : "moveTo"](...at(c, r));
    ctx.strokeStyle = colour;
    ctx.globalAlpha = 0.55;
    ctx.lineWidth = 0.8;
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  /** Draw one arrow. */
  function arrow(ctx, x, y, dx, dy) {
    const length = Math.hypot(dx, dy);
    if (length < 2) return;
    const [ux, uy] = [dx / length, dy / length];
    const head = Math.min(5, length / 2);
    ctx.moveTo(x, y);
    ctx.lineTo(x + dx, y + dy);
    ctx.moveTo(x + dx - head * (ux + 0.6 * uy), y + dy - head * (uy - 0.6 * ux));
    ctx.lineTo(x + dx, y + dy);
    ctx.lineTo(x + dx - head * (ux - 0.6 * uy), y + dy - head * (uy + 0.6 * ux));
  }

  /** Draw where D's slope would move the fakes. Their lengths are relative: the longest has some 40 pixels. */
  function arrows(ctx, { points, vectors }, features, place, colour, longest, level) {
    let most = 1e-12;
    for (let i = 0; i < vectors.length; i += features) {
      most = Math.max(most, Math.hypot(vectors[i], features > 1 ? vectors[i + 1] : 0));
    }
    ctx.beginPath();
    for (let i = 0; i < vectors.length; i += features) {
      const scale = longest / most;
      if (features > 1) {
        arrow(ctx, place.X(points[i]), place.Y(points[i + 1]), scale * vectors[i], -scale * vectors[i + 1]);
      } else arrow(ctx, place.X(points[i]), level, scale * vectors[i], 0);
    }
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.3;
    ctx.stroke();
  }

  /**
   * Return how many samples fall into each of so many equal bins, as a density.
   * @param {ArrayLike<number>} samples
   * @param {number} low
   * @param {number} high
   * @param {number} bins
   * @returns {number[]}
   */
  function histogram(samples, low, high, bins) {
    const heights = new Array(bins).fill(0);
    const each = bins / (high - low) / samples.length;
    for (let i = 0; i < samples.length; i++) {
      const bin = Math.floor(((samples[i] - low) / (high - low)) * bins);
      if (bin >= 0 && bin < bins) heights[bin] += each;
    }
    return heights;
  }

  /**
   * Draw a density on the line: what is real as a filled bell, or the fakes as dashed steps.
   * @param {CanvasRenderingContext2D} ctx
   * @param {number[]} heights
   * @param {number[]} box left, floor, width, height
   * @param {number} most the density that reaches the top
   * @param {string} colour
   * @param {boolean} filled
   */
  function steps(ctx, heights, [left, floor, width, height], most, colour, filled) {
    const each = width / heights.length;
    ctx.beginPath();
    ctx.moveTo(left, floor);
    heights.forEach((value, i) => {
      const y = floor - height * Math.min(1, value / most);
      if (filled) ctx.lineTo(left + (i + 0.5) * each, y); // a curve
      else {
        ctx.lineTo(left + i * each, y);
        ctx.lineTo(left + (i + 1) * each, y);
      }
    });
    ctx.lineTo(left + width, floor);
    ctx.fillStyle = ctx.strokeStyle = colour;
    ctx.globalAlpha = filled ? 0.25 : 0.12;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.lineWidth = filled ? 2 : 1.8;
    if (!filled) ctx.setLineDash([6, 3]);
    ctx.stroke();
    ctx.setLineDash([]);
  }

  const FONT = (size) => `${size}px system-ui, sans-serif`;

  /** Draw words with a rim in the colour of the ground, so that they can be read on anything. */
  function words(ctx, text, x, y, colours, align = "left", size = 13) {
    ctx.font = FONT(size);
    ctx.textAlign = /** @type {CanvasTextAlign} */ (align);
    ctx.lineWidth = 4;
    ctx.lineJoin = "round";
    ctx.strokeStyle = colours.card;
    ctx.strokeText(text, x, y);
    ctx.fillStyle = colours.ink;
    ctx.fillText(text, x, y);
  }

  /**
   * Return which shares of some samples lie beyond each edge of a window: left, right, below, above.
   * @param {ArrayLike<number>} samples
   * @param {number} features
   * @param {number[]} view
   * @returns {number[]}
   */
  function beyond(samples, features, view) {
    return view.slice(0, 2 * features).map((edge, side) => {
      let found = 0;
      for (let i = side >> 1; i < samples.length; i += features) if (side % 2 ? samples[i] > edge : samples[i] < edge) found += 1;
      return (found * features) / samples.length;
    });
  }

  /** Say at each edge which share of the fakes lies beyond it. */
  function lost(ctx, samples, features, view, [width, height], colours, size) {
    const places = [["← ", 4, height / 2, "left"], ["→ ", width - 4, height / 2, "right"], ["↓ ", width / 2, height - 5], ["↑ ", 4, size + 3, "left"]];
    beyond(samples, features, view).forEach((share, side) => {
      const [sign, x, y, align = "center"] = places[side];
      if (share >= 0.005) words(ctx, `${sign}${Math.round(100 * share)} %${size > 12 ? " of the fakes" : ""}`, x, y, colours, align, size);
    });
  }

  // The large picture.

  /** In the plane: D's surface, the real samples, the net, the fakes, the arrows. */
  function plane(canvas, scene, layers, colours) {
    const { ctx, width, height } = sheet(canvas);
    const { large, view, real } = scene;
    const place = fitted(view, [0, 0, width, height]);
    const dot = Math.max(1.6, Math.min(width, height) / 190);
    if (layers.surface && large.surface) {
      surface(ctx, large.surface, place, colours.judge);
      undecided(ctx, large.surface, place, colours.ink);
    }
    if (layers.real) background(ctx, real, place, colours.real, dot, [width, height]);
    if (layers.warp && large.warp) net(ctx, large.warp, place, colours.ink);
    if (layers.fakes) triangles(ctx, large.samples, place, colours.fake, 1.25 * dot, 0.8);
    if (layers.arrows && large.arrows) arrows(ctx, large.arrows, 2, place, colours.ink, 0.09 * width, 0);
    if (layers.fakes) lost(ctx, large.samples, 2, view, [width, height], colours, 13);
  }

  /** On the line: D's curve above, the two densities below it, and how G maps the noise at the foot. */
  function line(canvas, scene, layers, colours) {
    const { ctx, width, height } = sheet(canvas);
    const { large, view, density } = scene;
    const [low, high] = view;
    const X = (x) => ((x - low) / (high - low)) * width;
    const [top, middle, floor, foot] = [0.09, 0.34, layers.warp ? 0.78 : 0.93, 0.97].map((share) => share * height);
    const rule = (y) => {
      ctx.beginPath();
      ctx.moveTo(0, y);
      ctx.lineTo(width, y);
      ctx.strokeStyle = colours.line;
      ctx.lineWidth = 1;
      ctx.stroke();
    };
    if (layers.surface && large.surface) {
      [top, (top + middle) / 2, middle].forEach(rule);
      const { columns, values } = large.surface;
      ctx.beginPath();
      for (let c = 0; c < columns; c++) {
        ctx[c ? "lineTo" : "moveTo"]((width * (c + 0.5)) / columns, middle - (middle - top) * values[c]);
      }
      ctx.strokeStyle = colours.judge;
      ctx.lineWidth = 3.5;
      ctx.lineCap = "round";
      ctx.setLineDash([0.1, 5.5]);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.lineCap = "butt";
      words(ctx, scene.sure ? "D: surely real" : "D: high", 6, top - 5, colours);
      words(ctx, scene.sure ? "surely fake" : "low", 6, middle + 14, colours);
    }
    const bins = 80;
    const heights = histogram(large.samples, low, high, bins);
    const most = 1.15 * Math.max(...density, Math.min(Math.max(...heights), 2.2 * Math.max(...density)));
    const box = [0, floor, width, floor - middle - 18];
    if (layers.real) steps(ctx, density, box, most, colours.real, true);
    if (layers.fakes) steps(ctx, heights, box, most, colours.fake, false);
    if (layers.fakes) lost(ctx, large.samples, 1, view, [width, middle + floor], colours, 13);
    rule(floor);
    if (layers.warp && large.warp) {
      const { columns, points } = large.warp;
      ctx.beginPath();
      for (let c = 0; c < columns; c++) {
        ctx.moveTo(width * (0.25 + (0.5 * c) / (columns - 1)), foot);
        ctx.lineTo(X(points[c]), floor);
      }
      ctx.strokeStyle = colours.fake;
      ctx.globalAlpha = 0.5;
      ctx.lineWidth = 1;
      ctx.stroke();
      ctx.globalAlpha = 1;
      words(ctx, "noise", 0.75 * width + 8, foot, colours);
    }
    if (layers.arrows && large.arrows) arrows(ctx, large.arrows, 1, { X }, colours.ink, 0.09 * width, floor - 6);
    for (let x = Math.ceil(low); x <= high; x += 2) { // the first and the last stand at the edge
      words(ctx, String(x).replace("-", "−"), Math.min(width - 9, Math.max(9, X(x))), floor + 15, colours, "center", 12);
    }
  }

  /**
   * The smallest game: where the fakes are and how D slopes, and the way that they came.
   * @param {CanvasRenderingContext2D} ctx
   * @param {number[]} box left, top, width, height
   * @param {ArrayLike<number> & {slice: Function}} path
   * @param {number} limit of both weights, of what is shown
   * @param {Palette} colours
   * @param {boolean} thin
   */
  function phase(ctx, [left, top, width, height], path, limit, colours, thin) {
    const place = fitted([-limit, limit, -limit, limit], [left, top, width, height]);
    ctx.strokeStyle = colours.line;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(left, place.Y(0));
    ctx.lineTo(left + width, place.Y(0));
    ctx.moveTo(place.X(0), top);
    ctx.lineTo(place.X(0), top + height);
    ctx.stroke();
    discs(ctx, [0, 0], place, colours.real, thin ? 3 : 7);
    ctx.beginPath();
    for (let i = 0; i + 1 < path.length; i += 2) {
      if (!(Math.hypot(path[i], path[i + 1]) < 1e3 * limit)) break; // too far for a canvas
      ctx[i ? "lineTo" : "moveTo"](place.X(path[i]), place.Y(path[i + 1]));
    }
    ctx.strokeStyle = colours.fake;
    ctx.lineWidth = thin ? 1 : 1.6;
    ctx.stroke();
    triangles(ctx, path.slice(-2), place, colours.fake, thin ? 4 : 8);
    return place;
  }

  /** The smallest game, large. */
  function duel(canvas, scene, colours) {
    const { ctx, width, height } = sheet(canvas);
    phase(ctx, [0, 0, width, height], scene.path, scene.limit, colours, false);
    words(ctx, "G: where its fakes are →", width - 8, height / 2 - 8, colours, "right");
    words(ctx, "D: how it slopes ↑", width / 2 + 8, 18, colours);
  }

  /**
   * Draw the GAN that is looked at.
   * @param {HTMLCanvasElement} canvas
   * @param {any} scene the state of the large one, with the view, the real samples or their density
   * @param {Record<string, boolean>} layers which are shown: real, fakes, surface, arrows, warp
   * @param {Palette} colours
   */
  function large(canvas, scene, layers, colours) {
    if (scene.kind === "dirac") duel(canvas, scene, colours);
    else if (scene.kind === "line") line(canvas, scene, layers, colours);
    else plane(canvas, scene, layers, colours);
  }

  // The small ones.

  /**
   * Draw how a number went, from the start to the last step, with the floor of real samples.
   * @param {CanvasRenderingContext2D} ctx
   * @param {{at: number[], values: number[]}} course
   * @param {{range: number[], floor: number, last: number}} scale
   * @param {number[]} box left, top, width, height
   * @param {Palette} colours
   */
  function curve(ctx, { at, values }, { range, floor, last }, [left, top, width, height], colours) {
    const [low, high] = range;
    const X = (step) => left + (width * step) / Math.max(last, 1);
    const Y = (value) => top + height * (1 - Math.min(1, Math.max(0, (value - low) / (high - low))));
    if (Number.isFinite(floor)) {
      ctx.beginPath();
      ctx.moveTo(left, Y(floor));
      ctx.lineTo(left + width, Y(floor));
      ctx.strokeStyle = colours.real;
      ctx.lineWidth = 1.2;
      ctx.setLineDash([3, 2]);
      ctx.stroke();
      ctx.setLineDash([]);
    }
    ctx.beginPath();
    for (let i = 0; i < at.length; i++) ctx[i ? "lineTo" : "moveTo"](X(at[i]), Y(values[i]));
    ctx.strokeStyle = colours.fake;
    ctx.lineWidth = 1.5;
    ctx.stroke();
  }

  /**
   * Draw one of the sixteen: its samples, and below them its curve.
   * @param {HTMLCanvasElement} canvas
   * @param {any} scene kind, view, real samples or density, and the member's own state
   * @param {{range: number[], floor: number, last: number}} scale of the curve
   * @param {Palette} colours
   */
  function small(canvas, scene, scale, colours) {
    const { ctx, width, height } = sheet(canvas);
    const strip = 18;
    const box = [0, 0, width, height - strip - 4];
    const { member } = scene;
    if (scene.kind === "dirac") phase(ctx, box, member.path ?? [], scene.limit, colours, true);
    else if (scene.kind === "line") {
      const density = scene.density.filter((_, i) => i % 2 === 0);
      const most = 1.7 * Math.max(...density);
      const pane = [0, box[3], width, box[3]];
      steps(ctx, density, pane, most, colours.real, true);
      steps(ctx, histogram(member.samples, scene.view[0], scene.view[1], density.length), pane, most, colours.fake, false);
      lost(ctx, member.samples, 1, scene.view, [box[2], 1.3 * box[3]], colours, 11);
    } else {
      ctx.save();
      ctx.beginPath();
      ctx.rect(box[0], box[1], box[2], box[3]);
      ctx.clip();
      const place = fitted(scene.view, box);
      background(ctx, scene.real, place, colours.real, 1.1, [box[2], box[3]]);
      triangles(ctx, member.samples, place, colours.fake, 1.7, 0.85);
      lost(ctx, member.samples, 2, scene.view, [box[2], box[3]], colours, 11);
      ctx.restore();
    }
    curve(ctx, member.curve, scale, [1, height - strip, width - 2, strip - 2], colours);
  }

  /**
   * Draw all sixteen curves in one chart, with the one that is looked at on top.
   * @param {HTMLCanvasElement} canvas
   * @param {{at: number[], values: number[]}[]} curves
   * @param {number} chosen
   * @param {{range: number[], floor: number, last: number, format: (v: number) => string}} scale
   * @param {Palette} colours
   */
  function curves(canvas, curves, chosen, scale, colours) {
    const { ctx, width, height } = sheet(canvas);
    const [low, high] = scale.range;
    ctx.font = FONT(12);
    const widest = Math.max(...[low, (low + high) / 2, high].map((value) => ctx.measureText(scale.format(value)).width));
    const [left, top, right, bottom] = [Math.max(34, widest + 9), 8, width - 8, height - 20];
    const X = (step) => left + ((right - left) * step) / Math.max(scale.last, 1);
    const Y = (value) => top + (bottom - top) * (1 - Math.min(1, Math.max(0, (value - low) / (high - low))));
    for (const value of [low, (low + high) / 2, high]) {
      ctx.beginPath();
      ctx.moveTo(left, Y(value));
      ctx.lineTo(right, Y(value));
      ctx.strokeStyle = colours.line;
      ctx.lineWidth = 1;
      ctx.stroke();
      words(ctx, scale.format(value), left - 5, Y(value) + 4, colours, "right", 12);
    }
    const draw = ({ at, values }, width, alpha, colour) => {
      ctx.beginPath();
      for (let i = 0; i < at.length; i++) ctx[i ? "lineTo" : "moveTo"](X(at[i]), Y(values[i]));
      ctx.strokeStyle = colour;
      ctx.globalAlpha = alpha;
      ctx.lineWidth = width;
      ctx.stroke();
      ctx.globalAlpha = 1;
    };
    curves.forEach((one, i) => i !== chosen && draw(one, 1.2, 0.45, colours.fake));
    if (Number.isFinite(scale.floor)) {
      ctx.setLineDash([5, 3]);
      draw({ at: [0, scale.last], values: [scale.floor, scale.floor] }, 2, 1, colours.real);
      ctx.setLineDash([]);
    }
    if (curves[chosen]) {
      draw(curves[chosen], 5, 1, colours.card);
      draw(curves[chosen], 2.5, 1, colours.fake);
    }
    words(ctx, "0", left, height - 5, colours, "left", 12);
    words(ctx, `${scale.last.toLocaleString("en")} steps`, right, height - 5, colours, "right", 12);
  }

  return { palette, sheet, fitted, discs, triangles, words, beyond, large, small, curves };
});
