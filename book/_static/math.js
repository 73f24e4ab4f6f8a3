// A formula that is wider than its column is set smaller, down to a size that can still be read. This matters on phones.
(() => {
  "use strict";

  const SMALLEST = 0.65; // of the usual size; what is then still too wide scrolls

  // The block that a formula stands in: what it must not be wider than.
  function column(formula) {
    if (formula.hasAttribute("display")) return formula;
    let block = formula.parentElement;
    while (getComputedStyle(block).display.startsWith("inline")) block = block.parentElement;
    return block;
  }

  function room(block) {
    const { paddingLeft, paddingRight } = getComputedStyle(block);
    return block.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  }

  function fit(formulas) {
    for (const formula of formulas) formula.style.fontSize = formula.dataset.size ?? "";
    const sizes = formulas.map((formula) => {
      const wide = formula.querySelector("mjx-math")?.getBoundingClientRect().width;
      const share = wide ? (room(column(formula)) - 1) / wide : 1; // what is hidden has no width
      return share < 1 ? Math.max(share, SMALLEST) : 1;
    });
    formulas.forEach((formula, i) => {
      if (sizes[i] < 1) formula.style.fontSize = `calc(${formula.dataset.size || "100%"} * ${sizes[i].toFixed(3)})`;
    });
  }

  function watch() {
    const columns = new Map();
    for (const formula of document.querySelectorAll("mjx-container")) {
      formula.dataset.size = formula.style.fontSize; // the size that MathJax chose
      const block = column(formula);
      columns.set(block, [...(columns.get(block) ?? []), formula]);
    }
    // Told of every column at first, and again when one changes: a solution is opened, or a phone turned.
    const widths = new Map();
    const observer = new ResizeObserver((entries) => {
      const changed = entries.map(({ target }) => target).filter((block) => widths.get(block) !== block.clientWidth);
      for (const block of changed) widths.set(block, block.clientWidth);
      fit(changed.flatMap((block) => columns.get(block)));
    });
    for (const block of columns.keys()) observer.observe(block);
  }

  // This script is there before MathJax or after it.
  if (window.MathJax?.startup?.promise) MathJax.startup.promise.then(watch);
  else {
    window.MathJax ??= {};
    MathJax.startup = {
      ready() {
        MathJax.startup.defaultReady();
        MathJax.startup.promise.then(watch);
      },
    };
  }
})();
